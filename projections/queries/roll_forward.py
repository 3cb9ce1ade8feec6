"""Roll-forward: opening, movements and closing of outstanding points, by day or month and by vintage. Pure.

1. Outstanding points are the spendable points minus the debt.
2. A posting from or to these classes is a movement. The class on the other side gives its name.
3. A posting between two of these classes is both movements, and changes no sum.
4. Redeemed points that are taken back count as reversed, not as redeemed.
5. A vintage is the month when a lot was earned. Points outside lots have none: debt, promised, in transit, held.
6. Days and months are in the programme's time zone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
from zoneinfo import ZoneInfo

from projections.accounts.account import ZERO
from projections.accounts.classes import MOVEMENTS, OUTSTANDING, PROMISE_CLASS_OF, SETTLED, TAKING_MOVEMENTS
from projections.accounts.statement import decode_postings
from projections.programme_terms import Terms, Worth
from projections.queries.holder_history import AccountHistory, HolderHistory, lapses_until

PRIOR_PERIOD = "prior_period"  # reported of a closed period after its close: see service/finance/periods.py
MOVEMENT_NAMES = (*dict.fromkeys(MOVEMENTS.values()), SETTLED, PRIOR_PERIOD)
STATE_CLASSES = ("promised", "available", "held", "in_transit", "debt")
LINES_PER_STEP = 100
BEFORE = date.min  # stands for all days before the first day of the query


class RollForwardQuery(NamedTuple):
    """Parameters of a roll-forward: first and last day (both included), by month or by day, and filters.

    `programme` has the form source:org:programme. A filter of None selects all.
    """

    first: date
    last: date
    monthly: bool = False
    programme: str | None = None
    unit: str | None = None
    vintage: date | None = None

    def period(self, day: date) -> date:
        """Return the first day of the period that contains a day. BEFORE for days before the first."""
        if day < self.first:
            return BEFORE
        return max(self.first, day.replace(day=1)) if self.monthly else day


class RollForwardKey(NamedTuple):
    """Key of one roll-forward row."""

    programme: str
    unit: str
    period: date
    vintage: date | None

    @property
    def without_vintage(self) -> "RollForwardKey":
        return self._replace(vintage=None)


class RollForwardRow(NamedTuple):
    """One row of a roll-forward.

    closing = opening + issued + converted + transfers_in + merged + adjusted + openings + unseen + settled +
    prior_period - redeemed - lapsed - reversed - transfers_out - held. `states` and `worth` (the worth of one point)
    are those at the end of the period.
    """

    key: RollForwardKey
    last_day: date
    opening: Decimal
    movements: dict[str, Decimal]
    closing: Decimal
    states: dict[str, Decimal]
    worth: Worth | None = None


class TieOut(NamedTuple):
    """Closing of one programme and unit in the roll-forward, compared with the sum of its accounts' balances."""

    programme: str
    unit: str
    closing: Decimal
    accounts_total: Decimal

    @property
    def difference(self) -> Decimal:
        return self.closing - self.accounts_total


class MovementSums:
    """Sums of movements in one period and vintage, and the changes of the states."""

    __slots__ = ("moved", "states")

    def __init__(self) -> None:
        self.moved: dict[str, Decimal] = {}
        self.states: dict[str, Decimal] = {}


ProgrammeUnit = tuple[str, str]  # programme and unit
ClosingsByVintage = Mapping[date | None, Decimal]  # outstanding points at the end, by vintage


class RollForward:
    """Sums histories into a roll-forward. Memory grows with days, vintages and programmes, not with accounts."""

    def __init__(self, query: RollForwardQuery, terms: Terms) -> None:
        self._query = query
        self._terms = terms
        self._sums: dict[ProgrammeUnit, dict[date, dict[date | None, MovementSums]]] = {}
        self._balances: dict[ProgrammeUnit, Decimal] = defaultdict(Decimal)

    def add(self, history: HolderHistory) -> None:
        """Add one holder's history. Lots lapse until the end of the last day."""
        for _ in self.adding(history):
            pass

    def adding(self, history: HolderHistory) -> Iterator[None]:
        """Add one holder's history; yield after every LINES_PER_STEP lines."""
        ends = {id_: self._end(account) for id_, account in history.accounts.items() if self._selected(account)}
        lapses = lapses_until(history, max(ends.values())) if ends else []
        balances: dict[str, Decimal] = {}
        for n, line in enumerate(chain(history.lines, lapses), 1):
            if n % LINES_PER_STEP == 0:
                yield
            if line.account_id not in ends or line.occurred_at > ends[line.account_id]:
                continue
            account = history.accounts[line.account_id]
            balances[line.account_id] = line.balance
            programme = account.programme_ref
            period = self._query.period(self._day(programme, line.occurred_at))
            for source, target, points, lot_id in decode_postings(line.postings):
                lot = history.lots.get(lot_id or "")
                vintage = self._day(programme, lot.earned_at).replace(day=1) if lot is not None else None
                self._post(RollForwardKey(programme, account.unit, period, vintage), source, target, points)
        for account_id, balance in balances.items():
            account = history.accounts[account_id]
            self._balances[account.programme_ref, account.unit] += balance

    def _selected(self, account: AccountHistory) -> bool:
        programme, unit = self._query.programme, self._query.unit
        return (programme is None or account.programme_ref == programme) and (unit is None or account.unit == unit)

    def _end(self, account: AccountHistory) -> datetime:
        """Return the last instant of the last day in the account's programme."""
        noon = datetime(self._query.last.year, self._query.last.month, self._query.last.day, 12, tzinfo=UTC)
        return last_instant(self._query.last, self._terms.zone(account.programme_ref, noon))

    def _day(self, programme: str, time: datetime) -> date:
        return day_in(time, self._terms.zone(programme, time))

    def _post(self, key: RollForwardKey, source: str, target: str, points: Decimal) -> None:
        for name, change in ((source, -points), (target, points)):
            if name in STATE_CLASSES:
                _add_points(self._of(key if name == "available" else key._replace(vintage=None)).states, name, change)
        gives, takes = target in OUTSTANDING, source in OUTSTANDING
        without = key._replace(vintage=None)
        if gives and takes:
            _add_points(self._of(key if source == "available" else without).moved, SETTLED, -points)
            _add_points(self._of(key if target == "available" else without).moved, SETTLED, points)
            return
        if target == "promised" or (source == "promised" and target in PROMISE_CLASS_OF.values()):
            return  # promised points are not outstanding before they are converted
        key = without if "debt" in (source, target) else key
        if not takes:
            _add_points(self._of(key).moved, MOVEMENTS[source], points)
        if not gives:
            _add_points(self._of(key).moved, MOVEMENTS[target], -points)

    def _of(self, key: RollForwardKey) -> MovementSums:
        periods = self._sums.setdefault((key.programme, key.unit), {})
        return periods.setdefault(key.period, {}).setdefault(key.vintage, MovementSums())

    def kinds(self) -> list[ProgrammeUnit]:
        """Return the programmes and units with movements or points, sorted."""
        return sorted(self._sums)

    def closings(self, kind: ProgrammeUnit) -> ClosingsByVintage:
        """Return the outstanding points at the end of the last day, by vintage."""
        found: dict[date | None, Decimal] = defaultdict(Decimal)
        for vintages in self._sums.get(kind, {}).values():
            for vintage, sums in vintages.items():
                found[vintage] += sum(sums.moved.values(), ZERO)
        return found

    def rows(self) -> list[RollForwardRow]:
        """Return all rows with movements or points, sorted by programme, unit, period and vintage."""
        return [row for kind in self.kinds() for row in self.rows_of(kind) if row is not None]

    def totals(self) -> dict[str, Decimal]:
        """Return the opening, each movement and the closing of all rows together."""
        totals = dict.fromkeys(("opening", *MOVEMENT_NAMES, "closing"), ZERO)
        for periods in self._sums.values():
            for period, vintages in periods.items():
                for vintage, sums in vintages.items():
                    if self._query.vintage in (None, vintage):
                        _add_to_totals(totals, sums.moved, is_before=period == BEFORE)
        return totals

    def rows_of(
        self, kind: ProgrammeUnit, since: date = BEFORE, carried: ClosingsByVintage | None = None
    ) -> Iterator[RollForwardRow | None]:
        """Yield the rows of one programme and unit in order, beginning with the period that starts on `since`.

        Rows are made on demand. None is yielded between periods, so that the caller can let other tasks run. `carried`
        is the closing of the range before. The first period opens with it. A difference to today's figures appears
        there as a prior-period movement.
        """
        periods = self._sums.get(kind, {})
        openings: dict[date | None, Decimal] = defaultdict(Decimal)
        states: dict[date | None, dict[str, Decimal]] = {}
        for vintage, sums in periods.get(BEFORE, {}).items():
            _carry_forward(openings, states, vintage, sums)
        prior: dict[date | None, Decimal] = {}
        if carried is not None:
            prior = {
                vintage: openings.get(vintage, ZERO) - carried.get(vintage, ZERO) for vintage in {*openings, *carried}
            }
        for period, last_day in self._periods():
            moved = periods.get(period, {})
            if period >= since:
                yield from self._rows_in(kind, period, last_day, moved, openings, states, prior)
                yield None
            for vintage, sums in moved.items():
                _carry_forward(openings, states, vintage, sums)
            prior = {}

    def _rows_in(
        self,
        kind: ProgrammeUnit,
        period: date,
        last_day: date,
        moved: Mapping[date | None, MovementSums],
        openings: Mapping[date | None, Decimal],
        states: Mapping[date | None, Mapping[str, Decimal]],
        prior: Mapping[date | None, Decimal],
    ) -> Iterator[RollForwardRow]:
        """Yield the rows of one period, sorted by vintage. The row without a vintage is last."""
        standing = {vintage for vintage, points in openings.items() if points}
        standing |= {vintage for vintage, classes in states.items() if any(classes.values())}
        worth = self._terms.ratio(kind[0], last_day)
        for vintage in sorted(standing.union(moved, prior), key=lambda vintage: (vintage is None, vintage or BEFORE)):
            if self._query.vintage is not None and vintage != self._query.vintage:
                continue
            sums = moved.get(vintage) or MovementSums()
            movements = {name: sums.moved.get(name, ZERO) for name in MOVEMENT_NAMES}
            opening = openings.get(vintage, ZERO)
            closing = opening + sum(movements.values(), ZERO)
            movements[PRIOR_PERIOD] = prior.get(vintage, ZERO)
            opening -= movements[PRIOR_PERIOD]
            before = states.get(vintage, {})
            now = {name: before.get(name, ZERO) + sums.states.get(name, ZERO) for name in STATE_CLASSES}
            if opening or closing or any(movements.values()) or any(now.values()):
                shown = {name: -points if name in TAKING_MOVEMENTS else points for name, points in movements.items()}
                now["debt"] = -now["debt"]
                yield RollForwardRow(
                    RollForwardKey(*kind, period, vintage), last_day, opening, shown, closing, now, worth
                )

    def _periods(self) -> list[tuple[date, date]]:
        """Return the first and last day of each period, in order."""
        days = [self._query.first + timedelta(days=n) for n in range((self._query.last - self._query.first).days + 1)]
        last_days: dict[date, date] = {}
        for day in days:
            last_days[self._query.period(day)] = day
        return list(last_days.items())

    def ties(self) -> list[TieOut]:
        """Compare the closing of each programme and unit with the sum of its accounts' balances."""
        closings = {kind: sum(self.closings(kind).values(), ZERO) for kind in self._sums}
        kinds = sorted(closings.keys() | self._balances.keys())
        return [TieOut(*kind, closings.get(kind, ZERO), self._balances.get(kind, ZERO)) for kind in kinds]


def _add_points(sums: dict[str, Decimal], name: str, points: Decimal) -> None:
    """Add points to one entry of `sums`, in place."""
    sums[name] = sums.get(name, ZERO) + points


def _add_to_totals(totals: dict[str, Decimal], moved: Mapping[str, Decimal], *, is_before: bool) -> None:
    """Add the movements of one period and vintage to `totals`, in place."""
    points = sum(moved.values(), ZERO)
    totals["closing"] += points
    if is_before:
        totals["opening"] += points
        return
    for name, change in moved.items():
        totals[name] += -change if name in TAKING_MOVEMENTS else change


def _carry_forward(
    openings: dict[date | None, Decimal],
    states: dict[date | None, dict[str, Decimal]],
    vintage: date | None,
    sums: MovementSums,
) -> None:
    """Add the movements of a period to `openings` and `states` of the next one, in place."""
    openings[vintage] += sum(sums.moved.values(), ZERO)
    for name, points in sums.states.items():
        _add_points(states.setdefault(vintage, {}), name, points)


def sum_vintages(rows: Iterable[RollForwardRow]) -> list[RollForwardRow]:
    """Sum the vintages of each programme, unit and period."""
    found: dict[RollForwardKey, RollForwardRow] = {}
    for row in rows:
        key = row.key._replace(vintage=None)
        so_far = found.get(key)
        found[key] = row._replace(key=key) if so_far is None else _sum_rows(so_far, row)
    return sorted(found.values(), key=lambda row: row_order(row.key))


def _sum_rows(row: RollForwardRow, other: RollForwardRow) -> RollForwardRow:
    return RollForwardRow(
        row.key,
        row.last_day,
        row.opening + other.opening,
        {name: row.movements[name] + other.movements[name] for name in MOVEMENT_NAMES},
        row.closing + other.closing,
        {name: row.states[name] + other.states[name] for name in STATE_CLASSES},
        row.worth,
    )


def row_order(key: RollForwardKey) -> tuple[str, str, date, bool, date]:
    """Return the sort key of a row. The row without a vintage is last."""
    return (key.programme, key.unit, key.period, key.vintage is None, key.vintage or BEFORE)


@lru_cache(maxsize=4096)
def last_instant(day: date, time_zone: str) -> datetime:
    """Return the last instant of a day in a time zone."""
    after = day + timedelta(days=1)
    midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(time_zone))
    return midnight.astimezone(UTC) - timedelta(microseconds=1)


def day_in(time: datetime, time_zone: str) -> date:
    """Return the day that contains a time in a time zone."""
    return time.date() if time_zone == "UTC" else time.astimezone(ZoneInfo(time_zone)).date()
