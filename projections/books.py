"""All the books of a ledger: every wallet with the lines of its accounts, one after the other, as known at a position.

What was told beyond the position concerns few holders as a rule: those are folded again from what was known, all others
are read as they stand. Memory does not grow with the ledger. One snapshot of the database is read from first to last.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection
from projections import store
from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.lots import Account, pass_time
from projections.as_of import AsOf, Known, fold_known, known_of
from projections.joined import groups_of
from projections.terms import programme_of

WALLETS_PER_FETCH = 200
LINES_PER_FETCH = 5_000
HOLDERS_PER_FOLD = 100
WALLETS_PER_TURN = 20  # then others on the event loop get theirs

WALLETS = """
    SELECT s.subject, s.state, EXISTS (SELECT FROM links l WHERE l.ledger_id = $1 AND l.subject_kind = 'account'
                                          AND l.root = s.subject) AS joined
      FROM subjects s WHERE s.ledger_id = $1 AND s.subject_kind = 'account' ORDER BY s.subject
"""
LINES = """
    SELECT subject, account_id, line, occurred_at, kind, points, balance, postings, position, reference FROM statement
     WHERE ledger_id = $1 ORDER BY subject
"""
WITHDRAWN_SINCE = """
    SELECT DISTINCT subject FROM withdrawn
     WHERE ledger_id = $1 AND subject_kind = 'account' AND position <= $2 AND until_position > $2
"""
TOLD_SINCE = """
    SELECT EXISTS (SELECT FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = ANY ($2)
                      AND position > $3)
"""
TERMS_SINCE = """
    SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = 'programme' AND position > $2
"""


class Line(NamedTuple):
    """What the books need of one line of a statement."""

    account_id: str
    line: int
    occurred_at: datetime
    kind: str
    points: Decimal
    balance: Decimal
    postings: str
    position: int | None
    reference: str | None


class Book(NamedTuple):
    """One wallet, and all lines of its accounts; those of one account in order."""

    wallet: Wallet
    lines: Sequence[Line]


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """Read one state of the database until the end."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def books(connection: Connection, ledger_id: int, position: int | None) -> AsyncIterator[Book]:
    """Give the book of every holder, as known at a position, or of all that was told. Call inside a snapshot."""
    changed = _Changed(set(), set())
    if position is not None:
        changed = await _changed(connection, ledger_id, position)
        async for book in _folded(connection, ledger_id, sorted(changed.holders), position):
            yield book
    again: list[str] = []
    count = 0
    async for subject, state, joined, lines in _stored(connection, ledger_id):
        count += 1
        if count % WALLETS_PER_TURN == 0:
            await asyncio.sleep(0)
        members = await _members(connection, ledger_id, subject) if joined and position is not None else [subject]
        if changed.holders and not changed.holders.isdisjoint(members):
            again += [member for member in members if member not in changed.holders]
            continue
        wallet = store.decode_state(ACCOUNTS, state)
        assert isinstance(wallet, Wallet)
        if position is None or not await _is_told_since(connection, ledger_id, wallet, members, changed, position):
            yield Book(wallet, lines)
            continue
        again += members
        if len(again) >= HOLDERS_PER_FOLD:
            async for book in _folded(connection, ledger_id, again, position):
                yield book
            again.clear()
    if position is not None:
        async for book in _folded(connection, ledger_id, again, position):
            yield book


class _Changed(NamedTuple):
    """What conflicts and terms told since a position changed: holders with all they were joined with, programmes."""

    holders: Set[str]
    programmes: Set[str]


async def _changed(connection: Connection, ledger_id: int, position: int) -> _Changed:
    withdrawn = [row["subject"] for row in await connection.fetch(WITHDRAWN_SINCE, ledger_id, position)]
    groups = await known_of(connection, ledger_id, ACCOUNTS, withdrawn, AsOf(None, position)) if withdrawn else []
    holders = {one.fact.subject for known in groups for one in known.told}
    programmes = {row["subject"] for row in await connection.fetch(TERMS_SINCE, ledger_id, position)}
    return _Changed(holders, programmes)


async def _members(connection: Connection, ledger_id: int, root: str) -> Sequence[str]:
    groups = await groups_of(connection, ledger_id, ACCOUNTS, [root])
    return groups.members.get(root, [root])


async def _is_told_since(
    connection: Connection, ledger_id: int, wallet: Wallet, members: Sequence[str], changed: _Changed, position: int
) -> bool:
    """Say whether anything beyond a position has a part in a wallet. Each fact writes a line with its position; only a
    merge of a holder without an account does not, so joined holders' facts are looked at."""
    accounts = wallet.accounts.values()
    if any(account.last_position > position for account in accounts):
        return True
    if changed.programmes and any(_programme(account) in changed.programmes for account in accounts):
        return True
    return len(members) > 1 and bool(await connection.fetchval(TOLD_SINCE, ledger_id, members, position))


def _programme(account: Account) -> str:
    return programme_of(account.account_id, account.programme)


async def _folded(connection: Connection, ledger_id: int, holders: Sequence[str], position: int) -> AsyncIterator[Book]:
    """Fold some holders, and all they were joined with then, from what was known."""
    for start in range(0, len(holders), HOLDERS_PER_FOLD):
        asked = holders[start : start + HOLDERS_PER_FOLD]
        for known in await known_of(connection, ledger_id, ACCOUNTS, asked, AsOf(None, position)):
            yield folded(known)
            await asyncio.sleep(0)


def folded(known: Known) -> Book:
    """Fold one holder's facts into a book."""
    wallet: Wallet = fold_known(ACCOUNTS, known).state
    lines = [Line(*(getattr(line, name) for name in Line._fields)) for line in wallet.lines]
    wallet.lines.clear()
    return Book(wallet, lines)


async def _stored(connection: Connection, ledger_id: int) -> AsyncIterator[tuple[str, bytes, bool, list[Line]]]:
    """Read wallets and lines side by side, both in the order of their subjects."""
    wallets = await connection.cursor(WALLETS, ledger_id)
    lines = _Lines(await connection.cursor(LINES, ledger_id))
    while rows := await wallets.fetch(WALLETS_PER_FETCH):
        for row in rows:
            yield row["subject"], row["state"], row["joined"], await lines.of(row["subject"])


class _Lines:
    """Lines of one subject after the other, from a cursor."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._read: list[Any] = []
        self._next = 0

    async def of(self, subject: str) -> list[Line]:
        """Give all lines of a subject; it comes after those asked for before."""
        found: list[Line] = []
        while True:
            if self._next == len(self._read):
                self._read, self._next = await self._cursor.fetch(LINES_PER_FETCH), 0
                if not self._read:
                    break
            row = self._read[self._next]
            if row[0] > subject:
                break
            self._next += 1
            if row[0] == subject:
                found.append(Line(*row[1:]))
        found.sort(key=lambda line: (line.account_id, line.line))
        return found


def lapse(book: Book, until: datetime) -> list[Line]:
    """Let time pass in a wallet up to a time, and give a line for each lot that lapses: no event tells of them."""
    lapses = []
    for account in book.wallet.accounts.values():
        for lot in pass_time(account, until):
            assert lot.lapses_at is not None
            [(_, _, points, lot_id)] = account.postings
            account.postings.clear()
            postings = f'[["available","lapsed","{points}","{lot_id}"]]'
            lapses.append(
                Line(
                    account.account_id,
                    account.lines + 1,
                    lot.lapses_at,
                    "Lapsed",
                    -points,
                    account.available,
                    postings,
                    None,
                    None,
                )
            )
            account.lines += 1
    return lapses
