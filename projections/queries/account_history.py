"""Account histories of a whole ledger: accounts, lots and statement lines of every holder, as known at a position.

1. Rows of holders without later changes are read as stored.
2. Holders that later events changed are folded again from the facts known at the position. Normally they are few.
   So are holders whose rows still wait for new terms of their programme.
3. Memory does not grow with the ledger. All reads use one database snapshot.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from ledger.background import give_way
from ledger.database import Connection
from projections.accounts import ACCOUNTS
from projections.engine.groups import connected_components, groups_of
from projections.engine.parked import TERMS_REASON
from projections.queries.as_of import AsOf, KnownSubject, fold_known, load_known
from projections.queries.holder_history import AccountHistory, HistoryLine, HolderHistory, LotHistory
from projections.queries.policies_as_of import resolve_as_of
from projections.tables import Row, row_from

ROWS_PER_FETCH = 500  # other tasks of the event loop run between two fetches
HOLDERS_PER_FOLD = 100
HOLDERS_PER_TURN = 20  # other tasks of the event loop run after each turn

# Columns of our own row types.
ACCOUNT_ROWS, LOT_ROWS, LINE_ROWS = (
    f"SELECT subject, {', '.join(row_type._fields)} FROM {table} WHERE ledger_id = $1 ORDER BY subject"  # noqa: S608
    for table, row_type in (("accounts", AccountHistory), ("lots", LotHistory), ("statement", HistoryLine))
)
MERGED_ROOTS = "SELECT DISTINCT root FROM links WHERE ledger_id = $1 AND subject_kind = 'account'"
WITHDRAWN_SINCE = """
    SELECT DISTINCT subject FROM withdrawn
     WHERE ledger_id = $1 AND subject_kind = 'account' AND position <= $2 AND until_position > $2
"""
HOLDERS_OF = """
    SELECT subject FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND position = ANY ($2)
    UNION
    SELECT subject FROM withdrawn WHERE ledger_id = $1 AND subject_kind = 'account' AND position = ANY ($2)
"""
HAS_LATER_FACTS = """
    SELECT EXISTS (SELECT FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = ANY ($2)
                      AND position > $3)
"""
# Of all holders, if none is named.
WAITS_FOR_TERMS = """
    SELECT EXISTS (SELECT FROM subjects WHERE ledger_id = $1 AND subject_kind = 'account' AND parked = $2
                      AND ($3::text IS NULL OR subject = $3))
"""
TERMS_SINCE = """
    SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = 'programme' AND position > $2
"""


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """Open a read-only transaction. All its reads use one database snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def histories(connection: Connection, ledger_id: int, position: int | None) -> AsyncIterator[HolderHistory]:
    """Yield the history of every holder, as known at a position. None: everything. Call it inside `snapshot`."""
    changed: list[str] = []
    async for item in _unchanged_or_changed(connection, ledger_id, position):
        if isinstance(item, HolderHistory):
            yield item
            continue
        changed += item
        if len(changed) >= HOLDERS_PER_FOLD:
            async for history in load_histories(connection, ledger_id, changed, position):
                yield history
            changed.clear()
    async for history in load_histories(connection, ledger_id, changed, position):
        yield history


async def changed_since(connection: Connection, ledger_id: int, position: int) -> AsyncIterator[Sequence[str]]:
    """Yield the groups of holders that changed after a position. A group holds all holders merged then or now.

    Call it inside `snapshot`.
    """
    async for item in _unchanged_or_changed(connection, ledger_id, position):
        if not isinstance(item, HolderHistory):
            yield item


async def _unchanged_or_changed(
    connection: Connection, ledger_id: int, position: int | None
) -> AsyncIterator[HolderHistory | Sequence[str]]:
    """Yield the history of each holder without changes after a position. For each other holder, yield the group of
    holders.
    """
    changed = _Changes((), frozenset(), frozenset())
    if position is not None:
        changed = await _load_changes(connection, ledger_id, position)
        for group in changed.groups:
            yield group
    joined = {row["root"] for row in await connection.fetch(MERGED_ROOTS, ledger_id)} if position is not None else set()
    some_wait = await _wait_for_terms(connection, ledger_id)
    count = 0
    async for subject, history in _read_stored(connection, ledger_id):
        count += 1
        if count % HOLDERS_PER_TURN == 0:
            await give_way()
        members = await _members(connection, ledger_id, subject) if subject in joined else [subject]
        if not changed.holders.isdisjoint(members):
            continue  # the holder belongs to one of the changed groups
        if (some_wait and await _wait_for_terms(connection, ledger_id, subject)) or (
            position is not None and await _has_changed(connection, ledger_id, history, members, changed, position)
        ):
            yield members
        else:
            yield history


class _Changes(NamedTuple):
    """Changes after a position by conflicts and terms: groups of holders merged then or now, and programmes."""

    groups: Sequence[Sequence[str]]
    holders: frozenset[str]
    programmes: frozenset[str]


async def _load_changes(connection: Connection, ledger_id: int, position: int) -> _Changes:
    withdrawn = [row["subject"] for row in await connection.fetch(WITHDRAWN_SINCE, ledger_id, position)]
    withdrawn += await _holders_with_other_policy(connection, ledger_id, position, withdrawn)
    groups = await _group_holders(connection, ledger_id, withdrawn, position)
    programmes = frozenset(row["subject"] for row in await connection.fetch(TERMS_SINCE, ledger_id, position))
    return _Changes(groups, frozenset(holder for group in groups for holder in group), programmes)


async def _group_holders(
    connection: Connection, ledger_id: int, holders: Sequence[str], position: int
) -> Sequence[Sequence[str]]:
    """Group holders with all holders merged with them at the position or now.

    Holders that were separate then may be merged now. They are compared as one group, once.
    """
    found = set(holders)
    pairs: set[tuple[str, str]] = set()
    asked: set[str] = set()
    while asked != found:
        asked = set(found)
        known_then = await load_known(connection, ledger_id, ACCOUNTS, sorted(asked), AsOf(None, position))
        groups_now = await groups_of(connection, ledger_id, ACCOUNTS, sorted(asked))
        for group in [
            *({known.root, *(fact.subject for fact, _ in known.facts)} for known in known_then),
            *groups_now.members.values(),
        ]:
            found.update(group)
            pairs.update((min(group), holder) for holder in group)
    groups = connected_components(pairs)
    grouped = {holder for group in groups.values() for holder in group}
    return [*groups.values(), *([holder] for holder in sorted(found - grouped))]


async def _holders_with_other_policy(
    connection: Connection, ledger_id: int, position: int, besides: Sequence[str]
) -> Sequence[str]:
    """Return the holders whose facts differ because other policies were in effect then, except those in `besides`."""
    difference = await resolve_as_of(connection, ledger_id, position)
    if not difference.removed and not difference.added:
        return []
    rows = await connection.fetch(HOLDERS_OF, ledger_id, sorted(difference.removed))
    added = {fact.subject for fact, _ in difference.added if fact.subject_kind == ACCOUNTS.subject}
    return sorted(added.union(row["subject"] for row in rows).difference(besides))


async def _wait_for_terms(connection: Connection, ledger_id: int, subject: str | None = None) -> bool:
    """Return True if a holder, or any holder, has rows from before terms that are still being applied."""
    return bool(await connection.fetchval(WAITS_FOR_TERMS, ledger_id, TERMS_REASON, subject))


async def _members(connection: Connection, ledger_id: int, root: str) -> Sequence[str]:
    groups = await groups_of(connection, ledger_id, ACCOUNTS, [root])
    return groups.members.get(root, [root])


async def _has_changed(
    connection: Connection,
    ledger_id: int,
    history: HolderHistory,
    members: Sequence[str],
    changed: _Changes,
    position: int,
) -> bool:
    """Return True if an event after the position contributes to a history.

    Each fact writes a line with its position, so `last_position` is enough. The exception is a merge of a holder
    without accounts. For merged holders the facts are read too.
    """
    accounts = history.accounts.values()
    if any(account.last_position > position for account in accounts):
        return True
    if changed.programmes and any(account.programme_ref in changed.programmes for account in accounts):
        return True
    return len(members) > 1 and bool(await connection.fetchval(HAS_LATER_FACTS, ledger_id, members, position))


async def load_histories(
    connection: Connection, ledger_id: int, holders: Sequence[str], position: int | None
) -> AsyncIterator[HolderHistory]:
    """Fold some holders, and all holders merged with them, from the facts known at a position.

    Pass all merged holders in one call, or only one of them.
    """
    if not holders:
        return
    for known in await load_known(connection, ledger_id, ACCOUNTS, holders, AsOf(None, position)):
        yield fold_history(known)
        await give_way()


def fold_history(known: KnownSubject) -> HolderHistory:
    """Fold the known facts of one holder into a history."""
    return history_of_rows(fold_known(ACCOUNTS, known).rows)


def history_of_rows(rows: Mapping[str, Sequence[Row]]) -> HolderHistory:
    """Return the history that the folded rows of one holder show."""
    return _holder_history(
        [row_from(row, AccountHistory) for row in rows["accounts"]],
        [row_from(row, LotHistory) for row in rows["lots"]],
        [row_from(row, HistoryLine) for row in rows["statement"]],
    )


def _holder_history(
    accounts: Sequence[AccountHistory], lots: Sequence[LotHistory], lines: list[HistoryLine]
) -> HolderHistory:
    lines.sort(key=lambda line: (line.account_id, line.line))
    return HolderHistory(
        {account.account_id: account for account in accounts}, {lot.lot_id: lot for lot in lots}, lines
    )


async def _read_stored(connection: Connection, ledger_id: int) -> AsyncIterator[tuple[str, HolderHistory]]:
    """Read stored accounts, lots and lines in parallel, all sorted by subject."""
    accounts = _Rows(await connection.cursor(ACCOUNT_ROWS, ledger_id))
    lots = _Rows(await connection.cursor(LOT_ROWS, ledger_id))
    lines = _Rows(await connection.cursor(LINE_ROWS, ledger_id))
    while (subject := await accounts.subject()) is not None:
        yield (
            subject,
            _holder_history(
                [AccountHistory(*row) for row in await accounts.of(subject)],
                [LotHistory(*row) for row in await lots.of(subject)],
                [HistoryLine(*row) for row in await lines.of(subject)],
            ),
        )


class _Rows:
    """Rows from a cursor, taken subject by subject. The first column is the subject."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._read: list[Any] = []
        self._next = 0

    async def subject(self) -> str | None:
        """Return the subject of the next row, None after the last row."""
        if self._next == len(self._read):
            self._read, self._next = await self._cursor.fetch(ROWS_PER_FETCH), 0
        return self._read[self._next][0] if self._read else None

    async def of(self, subject: str) -> list[tuple[Any, ...]]:
        """Return all rows of a subject without that column. Subjects must be requested in ascending order."""
        found = []
        while (at := await self.subject()) is not None and at <= subject:
            row = self._read[self._next]
            self._next += 1
            if at == subject:
                found.append(tuple(row)[1:])
        return found
