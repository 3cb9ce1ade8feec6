"""Reads accounting periods. A closed month is answered as known at its closing, and never changes.

Later reports of a closed month do not change it. The next period shows their sum as `prior_period`, so each opening
equals the previous closing. prior_period_items() lists the accounts.
"""

from calendar import monthrange
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.background import give_way
from ledger.database import Connection
from projections.accounts import ACCOUNTS
from projections.accounts.account import ZERO
from projections.engine.programme_terms import load_terms
from projections.programme_terms import Terms
from projections.queries.account_history import changed_since, load_histories, snapshot
from projections.queries.holder_history import HistoryLine, HolderHistory, lapses_until
from projections.queries.roll_forward import (
    BEFORE,
    ClosingsByVintage,
    ProgrammeUnit,
    RollForward,
    RollForwardKey,
    RollForwardQuery,
    RollForwardRow,
    TieOut,
    last_instant,
    row_order,
    sum_vintages,
)
from service.finance.liability import Liability, roll_forward

CLOSED = """
    SELECT subject, first_day, last_day, known_position FROM periods
     WHERE ledger_id = $1 AND status = 'closed' ORDER BY last_day
"""
ITEMS_MAX = 10_000


class ClosedPeriod(NamedTuple):
    """A closed period. Its figures are as known at `known_position`."""

    period: str
    first_day: date
    last_day: date
    known_position: int


class PriorPeriodItem(NamedTuple):
    """A change of a closed period reported after its closing: the difference of an account's balance at the period's
    end, and the lines reported since. A lapse that follows from them has no line here.
    """

    account: str
    programme: str
    unit: str
    points: Decimal
    first_position: int | None
    lines: Sequence[Mapping[str, Any]]


async def closed_periods(connection: Connection, ledger_id: int) -> list[ClosedPeriod]:
    """Return the closed periods, in order."""
    return [ClosedPeriod(*row) for row in await connection.fetch(CLOSED, ledger_id)]


class RollForwardSegment(NamedTuple):
    """Days as known at one position. `carried` are the closings of the segment before it; None for the first."""

    rolled: RollForward
    carried: Mapping[ProgrammeUnit, ClosingsByVintage] | None


class RollForwardPage(NamedTuple):
    """Rows of a roll-forward in order, and the totals of the periods that begin among them. `more` is True if rows
    follow.
    """

    rows: list[RollForwardRow]
    totals: list[RollForwardRow]
    more: bool


class PeriodRollForward(NamedTuple):
    """A roll-forward over segments of days. Rows are computed on demand."""

    stretches: Sequence[RollForwardSegment]

    @property
    def ties(self) -> list[TieOut]:
        return self.stretches[-1].rolled.ties()

    def rows(self, since: RollForwardKey | None = None) -> Iterator[RollForwardRow | None]:
        """Yield the rows in order, starting with the period of a key. None is yielded between periods, so that callers
        can let other tasks run.
        """
        kinds = {kind for rolled, carried in self.stretches for kind in (*rolled.kinds(), *(carried or ()))}
        for kind in sorted(kinds):
            if since is not None and kind < (since.programme, since.unit):
                continue
            first = since.period if since is not None and kind == (since.programme, since.unit) else BEFORE
            for rolled, carried in self.stretches:
                yield from rolled.rows_of(kind, first, None if carried is None else carried.get(kind, {}))

    async def page(self, after: RollForwardKey | None, limit: int) -> RollForwardPage:
        """Return at most `limit` rows after a key. Other tasks of the event loop run between periods."""
        page: list[RollForwardRow] = []
        of_totals: list[RollForwardRow] = []
        counted = None if after is None else after.without_vintage  # its total is on an earlier page
        more = False
        for row in self.rows(after):
            if row is None:
                await give_way()
                continue
            if after is not None and row_order(row.key) <= row_order(after):
                continue
            group = row.key.without_vintage
            if len(page) == limit:
                more = True
                if group == counted or group != page[-1].key.without_vintage:
                    break
            else:
                page.append(row)
            if group != counted:
                of_totals.append(row)
        return RollForwardPage(page, sum_vintages(of_totals), more)


async def read_liability(
    connection: Connection, ledger_id: int, query: RollForwardQuery, position: int | None, *, now: int | None = None
) -> Liability:
    """Return all rows of a roll-forward; see `roll_forward_periods`."""
    done = await roll_forward_periods(connection, ledger_id, query, position, now=now)
    rows: list[RollForwardRow] = []
    for row in done.rows():
        if row is None:
            await give_way()
        else:
            rows.append(row)
    return Liability(rows, sum_vintages(rows), done.ties)


async def roll_forward_periods(
    connection: Connection, ledger_id: int, query: RollForwardQuery, position: int | None, *, now: int | None = None
) -> PeriodRollForward:
    """Roll the outstanding points forward.

    Without `position`, closed days are as known at their closing. Other days are as known now, or at the position
    `now`. With `position`, all days are as known at it.
    """
    if position is not None:
        return PeriodRollForward([RollForwardSegment(await roll_forward(connection, ledger_id, query, position), None)])
    closed = await closed_periods(connection, ledger_id)
    last = period_closed_before(closed, query.first)
    carried: dict[ProgrammeUnit, ClosingsByVintage] | None = None
    if last is not None:
        eve = query._replace(first=last.last_day, last=last.last_day)
        carried = _closings_of(await roll_forward(connection, ledger_id, eve, last.known_position))
    stretches = []
    for first, last_day, known in split_by_closing(query, closed, now):
        rolled = await roll_forward(connection, ledger_id, query._replace(first=first, last=last_day), known)
        stretches.append(RollForwardSegment(rolled, carried))
        carried = _closings_of(rolled)
    return PeriodRollForward(stretches)


def _closings_of(rolled: RollForward) -> dict[ProgrammeUnit, ClosingsByVintage]:
    return {kind: rolled.closings(kind) for kind in rolled.kinds()}


def period_closed_before(closed: Sequence[ClosedPeriod], first: date) -> ClosedPeriod | None:
    """Return the period closed up to the day before `first`. Only the day after it shows later reports of the period.
    On any later day they are part of the opening.
    """
    return next(
        (closed_period for closed_period in closed if closed_period.last_day.toordinal() + 1 == first.toordinal()), None
    )


def split_by_closing(
    query: RollForwardQuery, closed: Sequence[ClosedPeriod], now: int | None
) -> list[tuple[date, date, int | None]]:
    """Split days into segments: each up to the end of a closed period as known at its closing, the rest as known at
    `now`.
    """
    found: list[tuple[date, date, int | None]] = []
    first = query.first
    for closed_period in closed:
        if closed_period.last_day >= first and first <= query.last:
            last = min(closed_period.last_day, query.last)
            found.append((first, last, closed_period.known_position))
            first = date.fromordinal(last.toordinal() + 1)
    if first <= query.last:
        found.append((first, query.last, now))
    return found


async def prior_period_items(
    connection: Connection, ledger_id: int, last: date, known: int, now: int | None = None
) -> AsyncGenerator[PriorPeriodItem, None]:
    """Yield the accounts whose balance at the end of a day has changed between two known positions. `now` None means
    the last position.
    """
    terms = await load_terms(connection, ledger_id, ACCOUNTS, now)
    async with snapshot(connection):
        async for holders in changed_since(connection, ledger_id, known):
            known_histories = [history async for history in load_histories(connection, ledger_id, holders, known)]
            later_histories = [history async for history in load_histories(connection, ledger_id, holders, now)]
            for item in _find_items(known_histories, later_histories, last, known, terms):
                yield item


def _find_items(
    known_histories: Sequence[HolderHistory],
    later_histories: Sequence[HolderHistory],
    last: date,
    known: int,
    terms: Terms,
) -> list[PriorPeriodItem]:
    before = {
        account: balance for history in known_histories for account, balance in _balances(history, last, terms).items()
    }
    after = {
        account: balance for history in later_histories for account, balance in _balances(history, last, terms).items()
    }
    accounts = {id_: one for history in [*known_histories, *later_histories] for id_, one in history.accounts.items()}
    items = []
    for account_id in sorted(before.keys() | after.keys()):
        amount = after.get(account_id, ZERO) - before.get(account_id, ZERO)
        account = accounts[account_id]
        programme = account.programme_ref
        end = _end_of_day(last, programme, terms)
        lines = [
            line
            for history in later_histories
            for line in history.lines
            if line.account_id == account_id and (line.position or 0) > known and line.occurred_at <= end
        ]
        if amount:
            first = min((line.position for line in lines if line.position), default=None)
            items.append(
                PriorPeriodItem(
                    account_id, programme, account.unit, amount, first, [_line_json(line) for line in lines]
                )
            )
    return items


def _line_json(line: HistoryLine) -> dict[str, Any]:
    shown = ("position", "occurred_at", "kind", "points", "reference")
    return {name: getattr(line, name) for name in shown}


def _balances(history: HolderHistory, last: date, terms: Terms) -> dict[str, Decimal]:
    """Return each account's balance at the end of a day."""
    ends = {id_: _end_of_day(last, account.programme_ref, terms) for id_, account in history.accounts.items()}
    lapses = lapses_until(history, max(ends.values())) if ends else []
    return {
        line.account_id: line.balance for line in [*history.lines, *lapses] if line.occurred_at <= ends[line.account_id]
    }


def _end_of_day(last: date, programme: str, terms: Terms) -> datetime:
    return last_instant(last, terms.zone(programme, datetime(last.year, last.month, last.day, 12, tzinfo=UTC)))


def month_bounds(period: str) -> tuple[date, date]:
    """Return the first and the last day of a month, such as "2026-03"."""
    first = date(int(period[:4]), int(period[5:]), 1)
    return first, _last_day(first)


def _last_day(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])
