"""All the books of a ledger: every holder's accounts and lots with their statements, as known at a position.

What was told beyond the position concerns few holders as a rule: those are folded again from what was known, the rows
of all others are read as they stand. Memory does not grow with the ledger. One snapshot of the database is read.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.decimals import format_decimal
from projections.accounts import ACCOUNTS
from projections.engine.groups import connected_components, groups_of
from projections.programme_terms import programme_of
from projections.queries.as_of import AsOf, Known, fold_known, known_of
from projections.queries.policies_as_of import resolve_as_of

ROWS_PER_FETCH = 500  # others on the event loop have their turn between two
HOLDERS_PER_FOLD = 100
BOOKS_PER_TURN = 20  # then others on the event loop get theirs

ACCOUNT_ROWS = """
    SELECT a.subject, a.account_id, a.programme, a.unit, a.available, a.promised, a.debt, a.opening, a.unseen, a.issued,
           a.converted, a.redeemed, a.expired, a.lapsed, a.reversed, a.sent, a.received, a.in_transit, a.held,
           a.merged, a.adjusted, a.last_at, a.last_position
      FROM accounts a WHERE a.ledger_id = $1 ORDER BY a.subject
"""
LOT_ROWS = """
    SELECT subject, account_id, lot_id, earned_at, lapses_at, remaining FROM lots WHERE ledger_id = $1 ORDER BY subject
"""
LINE_ROWS = """
    SELECT subject, account_id, line, occurred_at, kind, points, balance, postings, position, reference FROM statement
     WHERE ledger_id = $1 ORDER BY subject
"""
JOINED = "SELECT DISTINCT root FROM links WHERE ledger_id = $1 AND subject_kind = 'account'"
WITHDRAWN_SINCE = """
    SELECT DISTINCT subject FROM withdrawn
     WHERE ledger_id = $1 AND subject_kind = 'account' AND position <= $2 AND until_position > $2
"""
HOLDERS_OF = """
    SELECT subject FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND position = ANY ($2)
    UNION
    SELECT subject FROM withdrawn WHERE ledger_id = $1 AND subject_kind = 'account' AND position = ANY ($2)
"""
TOLD_SINCE = """
    SELECT EXISTS (SELECT FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = ANY ($2)
                      AND position > $3)
"""
TERMS_SINCE = """
    SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = 'programme' AND position > $2
"""


class HistoryLine(NamedTuple):
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


class LotHistory(NamedTuple):
    """What the books need of one lot."""

    account_id: str
    lot_id: str
    earned_at: datetime
    lapses_at: datetime | None
    remaining: Decimal


class AccountHistory(NamedTuple):
    """What the books need of one account: its classes as its row shows them, after its last fact."""

    account_id: str
    programme: str
    unit: str
    available: Decimal
    promised: Decimal
    debt: Decimal
    opening: Decimal
    unseen: Decimal
    issued: Decimal
    converted: Decimal
    redeemed: Decimal
    expired: Decimal
    lapsed: Decimal
    reversed: Decimal
    sent: Decimal
    received: Decimal
    in_transit: Decimal
    held: Decimal
    merged: Decimal
    adjusted: Decimal
    last_at: datetime
    last_position: int

    @property
    def programme_ref(self) -> str:
        """Name the programme with source and organisation."""
        return programme_of(self.account_id, self.programme)


class HolderHistory(NamedTuple):
    """The accounts of one holder and of those joined with it, their lots, and all lines; an account's are in order."""

    accounts: Mapping[str, AccountHistory]
    lots: Mapping[str, LotHistory]
    lines: Sequence[HistoryLine]


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """Read one state of the database until the end."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def histories(connection: Connection, ledger_id: int, position: int | None) -> AsyncIterator[HolderHistory]:
    """Give the book of every holder, as known at a position, or of all that was told. Call inside a snapshot."""
    again: list[str] = []
    async for one in _sifted(connection, ledger_id, position):
        if isinstance(one, HolderHistory):
            yield one
            continue
        again += one
        if len(again) >= HOLDERS_PER_FOLD:
            async for book in books_of(connection, ledger_id, again, position):
                yield book
            again.clear()
    async for book in books_of(connection, ledger_id, again, position):
        yield book


async def changed_since(connection: Connection, ledger_id: int, position: int) -> AsyncIterator[Sequence[str]]:
    """Give the holders whose books are no longer what was known at a position, those joined then or now together. Call
    inside a snapshot."""
    async for one in _sifted(connection, ledger_id, position):
        if not isinstance(one, HolderHistory):
            yield one


async def _sifted(
    connection: Connection, ledger_id: int, position: int | None
) -> AsyncIterator[HolderHistory | Sequence[str]]:
    """Give every book that stands as it was known at a position, and the holders of every one that does not."""
    changed = _Changed((), frozenset(), frozenset())
    if position is not None:
        changed = await _changed(connection, ledger_id, position)
        for group in changed.groups:
            yield group
    joined = {row["root"] for row in await connection.fetch(JOINED, ledger_id)} if position is not None else set()
    count = 0
    async for subject, book in _stored(connection, ledger_id):
        count += 1
        if count % BOOKS_PER_TURN == 0:
            await asyncio.sleep(0)
        members = await _members(connection, ledger_id, subject) if subject in joined else [subject]
        if not changed.holders.isdisjoint(members):
            continue  # all of them are in a group of those
        if position is None or not await _is_told_since(connection, ledger_id, book, members, changed, position):
            yield book
        else:
            yield members


class _Changed(NamedTuple):
    """What conflicts and terms told since a position changed: holders, by those joined then or now, and programmes."""

    groups: Sequence[Sequence[str]]
    holders: frozenset[str]
    programmes: frozenset[str]


async def _changed(connection: Connection, ledger_id: int, position: int) -> _Changed:
    withdrawn = [row["subject"] for row in await connection.fetch(WITHDRAWN_SINCE, ledger_id, position)]
    withdrawn += await _settled_otherwise(connection, ledger_id, position, withdrawn)
    groups = await _together(connection, ledger_id, withdrawn, position)
    programmes = frozenset(row["subject"] for row in await connection.fetch(TERMS_SINCE, ledger_id, position))
    return _Changed(groups, frozenset(one for group in groups for one in group), programmes)


async def _together(
    connection: Connection, ledger_id: int, holders: Sequence[str], position: int
) -> Sequence[Sequence[str]]:
    """Group holders with all that they were joined with then, or are now: who was apart then may be one by now, and
    what both have is compared once."""
    found = set(holders)
    pairs: set[tuple[str, str]] = set()
    asked: set[str] = set()
    while asked != found:
        asked = set(found)
        then = await known_of(connection, ledger_id, ACCOUNTS, sorted(asked), AsOf(None, position))
        now = await groups_of(connection, ledger_id, ACCOUNTS, sorted(asked))
        for group in [
            *({known.root, *(one.fact.subject for one in known.told)} for known in then),
            *now.members.values(),
        ]:
            found.update(group)
            pairs.update((min(group), one) for one in group)
    groups = connected_components(pairs)
    joined = {one for group in groups.values() for one in group}
    return [*groups.values(), *([one] for one in sorted(found - joined))]


async def _settled_otherwise(
    connection: Connection, ledger_id: int, position: int, besides: Sequence[str]
) -> Sequence[str]:
    """Give the holders of whom something was known otherwise by the policies of then, besides some."""
    otherwise = await resolve_as_of(connection, ledger_id, position)
    if not otherwise.gone and not otherwise.back:
        return []
    rows = await connection.fetch(HOLDERS_OF, ledger_id, sorted(otherwise.gone))
    back = {one.fact.subject for one in otherwise.back if one.fact.subject_kind == ACCOUNTS.subject}
    return sorted(back.union(row["subject"] for row in rows).difference(besides))


async def _members(connection: Connection, ledger_id: int, root: str) -> Sequence[str]:
    groups = await groups_of(connection, ledger_id, ACCOUNTS, [root])
    return groups.members.get(root, [root])


async def _is_told_since(
    connection: Connection,
    ledger_id: int,
    book: HolderHistory,
    members: Sequence[str],
    changed: _Changed,
    position: int,
) -> bool:
    """Say whether anything beyond a position has a part in a book. Each fact writes a line with its position; only a
    merge of a holder without an account does not, so joined holders' facts are looked at."""
    accounts = book.accounts.values()
    if any(account.last_position > position for account in accounts):
        return True
    if changed.programmes and any(account.programme_ref in changed.programmes for account in accounts):
        return True
    return len(members) > 1 and bool(await connection.fetchval(TOLD_SINCE, ledger_id, members, position))


async def books_of(
    connection: Connection, ledger_id: int, holders: Sequence[str], position: int | None
) -> AsyncIterator[HolderHistory]:
    """Fold some holders, and all they were joined with then, from what was known at a position. Holders who were joined
    must be given in one call, or none but one of them."""
    if not holders:
        return
    for known in await known_of(connection, ledger_id, ACCOUNTS, holders, AsOf(None, position)):
        yield folded(known)
        await asyncio.sleep(0)


def folded(known: Known) -> HolderHistory:
    """Fold one holder's facts into a book."""
    rows = fold_known(ACCOUNTS, known).rows
    accounts = [AccountHistory(*(getattr(row, name) for name in AccountHistory._fields)) for row in rows["accounts"]]
    lots = [LotHistory(*(getattr(row, name) for name in LotHistory._fields)) for row in rows["lots"]]
    return _book(
        accounts,
        lots,
        [HistoryLine(*(getattr(line, name) for name in HistoryLine._fields)) for line in rows["statement"]],
    )


def _book(accounts: Sequence[AccountHistory], lots: Sequence[LotHistory], lines: list[HistoryLine]) -> HolderHistory:
    lines.sort(key=lambda line: (line.account_id, line.line))
    return HolderHistory({one.account_id: one for one in accounts}, {lot.lot_id: lot for lot in lots}, lines)


async def _stored(connection: Connection, ledger_id: int) -> AsyncIterator[tuple[str, HolderHistory]]:
    """Read accounts, lots and lines side by side, all in the order of their subjects."""
    accounts = _Rows(await connection.cursor(ACCOUNT_ROWS, ledger_id))
    lots = _Rows(await connection.cursor(LOT_ROWS, ledger_id))
    lines = _Rows(await connection.cursor(LINE_ROWS, ledger_id))
    while (subject := await accounts.subject()) is not None:
        yield (
            subject,
            _book(
                [AccountHistory(*row) for row in await accounts.of(subject)],
                [LotHistory(*row) for row in await lots.of(subject)],
                [HistoryLine(*row) for row in await lines.of(subject)],
            ),
        )


class _Rows:
    """The rows of one subject after the other, from a cursor; the subject is their first column."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._read: list[Any] = []
        self._next = 0

    async def subject(self) -> str | None:
        """Name the subject of the next row, None after the last."""
        if self._next == len(self._read):
            self._read, self._next = await self._cursor.fetch(ROWS_PER_FETCH), 0
        return self._read[self._next][0] if self._read else None

    async def of(self, subject: str) -> list[tuple[Any, ...]]:
        """Give all rows of a subject, without it; it comes after those asked for before."""
        found = []
        while (at := await self.subject()) is not None and at <= subject:
            row = self._read[self._next]
            self._next += 1
            if at == subject:
                found.append(tuple(row)[1:])
        return found


def lapses_until(book: HolderHistory, until: datetime) -> list[HistoryLine]:
    """Give a line for each lot that has lapsed by a time since its account's last fact: no event tells of them."""
    balances = {account.account_id: account.available for account in book.accounts.values()}
    due = [
        (lot.lapses_at, lot)
        for lot in book.lots.values()
        if lot.lapses_at is not None
        and lot.remaining
        and book.accounts[lot.account_id].last_at < lot.lapses_at <= until
    ]
    lapses = []
    for lapses_at, (account_id, lot_id, _, _, points) in sorted(due, key=lambda one: (one[0], one[1].lot_id)):
        balances[account_id] -= points
        postings = f'[["available","lapsed","{format_decimal(points)}","{lot_id}"]]'
        lapses.append(
            HistoryLine(account_id, 0, lapses_at, "Lapsed", -points, balances[account_id], postings, None, None)
        )
    return lapses
