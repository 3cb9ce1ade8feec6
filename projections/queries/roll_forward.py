"""What moved the points outstanding: postings of every account as a roll-forward by day or month, and by vintage. Pure.

Outstanding is what may be spent minus the debt. Each posting that takes from it or gives to it is a movement, named by
the class on its other side; one between two such classes is both movements, and changes no sum: what was redeemed and
is taken back counts as not redeemed but reversed. A vintage is the month in which a lot was earned; what stands in no
lot has none: debt, promised points, points in transit or held. Days and months are those of the programme's time zone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from projections.accounts.lots import OF_PROMISES, ZERO, Posting
from projections.programme_terms import Terms, Worth
from projections.queries.account_history import AccountHistory, HolderHistory, lapses_until

OUTSTANDING = ("available", "debt")
# The movement that the class on the other side of a posting means, and whether it is shown as what was taken away.
MOVEMENTS: dict[str, tuple[str, bool]] = {
    "issued": ("issued", False),
    "promised": ("converted", False),
    "received": ("transfers_in", False),
    "redeemed": ("redeemed", True),
    "lapsed": ("lapsed", True),
    "expired": ("lapsed", True),
    "reversed": ("reversed", True),
    "in_transit": ("transfers_out", True),
    "sent": ("transfers_out", True),
    "held": ("held", True),
    "merged": ("merged", False),
    "adjusted": ("adjusted", False),
    "opening": ("openings", False),
    "unseen": ("unseen", False),
}
SETTLED = "settled"  # debt paid from a lot: moves points between vintages, and changes no sum
PRIOR_PERIOD = "prior_period"  # what was told of a closed period after it was closed: see service/finance/periods.py
NAMES = (*dict.fromkeys(name for name, _ in MOVEMENTS.values()), SETTLED, PRIOR_PERIOD)
TAKEN = frozenset(name for name, taken in MOVEMENTS.values() if taken)
STATES = ("promised", "available", "held", "in_transit", "debt")
LINES_PER_STEP = 100
BEFORE = date.min  # stands for all days before the first that is asked for


class RollForwardQuery(NamedTuple):
    """Which days, both of them in; whether by month; which programme (source:org:programme), unit and vintage, None for
    all."""

    first: date
    last: date
    monthly: bool = False
    programme: str | None = None
    unit: str | None = None
    vintage: date | None = None

    def period(self, day: date) -> date:
        """Give the first day of the period that a day is in."""
        if day < self.first:
            return BEFORE
        return max(self.first, day.replace(day=1)) if self.monthly else day


class RollForwardKey(NamedTuple):
    """What a row of the roll-forward is about."""

    programme: str
    unit: str
    period: date
    vintage: date | None

    @property
    def without_vintage(self) -> "RollForwardKey":
        return self._replace(vintage=None)


class Row(NamedTuple):
    """One row: opening + issued + converted + transfers_in + merged + adjusted + openings + unseen + settled +
    prior_period - redeemed - lapsed - reversed - transfers_out - held = closing. `states` are those at the end of the
    period, `worth` is what a point is worth then."""

    key: RollForwardKey
    last_day: date
    opening: Decimal
    movements: dict[str, Decimal]
    closing: Decimal
    states: dict[str, Decimal]
    worth: Worth | None = None


class TieOut(NamedTuple):
    """The roll-forward's closing of a programme and unit beside the sum of its accounts' balances."""

    programme: str
    unit: str
    closing: Decimal
    accounts: Decimal

    @property
    def difference(self) -> Decimal:
        return self.closing - self.accounts


class MovementSums:
    """What moved in one period of one vintage, and how the states changed."""

    __slots__ = ("moved", "states")

    def __init__(self) -> None:
        self.moved: dict[str, Decimal] = {}
        self.states: dict[str, Decimal] = {}


Kind = tuple[str, str]  # programme and unit
Closings = Mapping[date | None, Decimal]  # what stands at the end, by vintage


class RollForward:
    """Adds up books. What it remembers grows with days, vintages and programmes, not with accounts."""

    def __init__(self, ask: RollForwardQuery, terms: Terms) -> None:
        self._ask = ask
        self._terms = terms
        self._sums: dict[Kind, dict[date, dict[date | None, MovementSums]]] = {}
        self._balances: dict[Kind, Decimal] = defaultdict(Decimal)

    def add(self, book: HolderHistory) -> None:
        """Add one holder's book, and let the time pass until the last day is over."""
        for _ in self.adding(book):
            pass

    def adding(self, book: HolderHistory) -> Iterator[None]:
        """Add one holder's book in steps of a bounded number of lines."""
        ends = {id_: self._end(account) for id_, account in book.accounts.items() if self._asked(account)}
        lapses = lapses_until(book, max(ends.values())) if ends else []
        balances: dict[str, Decimal] = {}
        for n, line in enumerate(chain(book.lines, lapses), 1):
            if n % LINES_PER_STEP == 0:
                yield
            if line.account_id not in ends or line.occurred_at > ends[line.account_id]:
                continue
            account = book.accounts[line.account_id]
            balances[line.account_id] = line.balance
            programme = account.programme_ref
            period = self._ask.period(self._day(programme, line.occurred_at))
            for source, target, points, lot_id in decode_postings(line.postings):
                lot = book.lots.get(lot_id or "")
                vintage = self._day(programme, lot.earned_at).replace(day=1) if lot is not None else None
                self._post(RollForwardKey(programme, account.unit, period, vintage), source, target, points)
        for account_id, balance in balances.items():
            account = book.accounts[account_id]
            self._balances[account.programme_ref, account.unit] += balance

    def _asked(self, account: AccountHistory) -> bool:
        programme, unit = self._ask.programme, self._ask.unit
        return (programme is None or account.programme_ref == programme) and (unit is None or account.unit == unit)

    def _end(self, account: AccountHistory) -> datetime:
        """Give the last instant of the last day in the account's programme."""
        noon = datetime(self._ask.last.year, self._ask.last.month, self._ask.last.day, 12, tzinfo=UTC)
        return last_instant(self._ask.last, self._terms.zone(account.programme_ref, noon))

    def _day(self, programme: str, time: datetime) -> date:
        return day_in(time, self._terms.zone(programme, time))

    def _post(self, key: RollForwardKey, source: str, target: str, points: Decimal) -> None:
        for name, change in ((source, -points), (target, points)):
            if name in STATES:
                _add(self._of(key if name == "available" else key._replace(vintage=None)).states, name, change)
        gives, takes = target in OUTSTANDING, source in OUTSTANDING
        without = key._replace(vintage=None)
        if gives and takes:
            _add(self._of(key if source == "available" else without).moved, SETTLED, -points)
            _add(self._of(key if target == "available" else without).moved, SETTLED, points)
            return
        if target == "promised" or (source == "promised" and target in OF_PROMISES.values()):
            return  # nothing of it is outstanding before it is converted
        key = without if "debt" in (source, target) else key
        if not takes:
            _add(self._of(key).moved, MOVEMENTS[source][0], points)
        if not gives:
            _add(self._of(key).moved, MOVEMENTS[target][0], -points)

    def _of(self, key: RollForwardKey) -> MovementSums:
        periods = self._sums.setdefault((key.programme, key.unit), {})
        return periods.setdefault(key.period, {}).setdefault(key.vintage, MovementSums())

    def kinds(self) -> list[Kind]:
        """List the programmes and units in which something moved or stood, in order."""
        return sorted(self._sums)

    def closings(self, kind: Kind) -> Closings:
        """Return what stands at the end of the last day, by vintage."""
        found: dict[date | None, Decimal] = defaultdict(Decimal)
        for vintages in self._sums.get(kind, {}).values():
            for vintage, sums in vintages.items():
                found[vintage] += sum(sums.moved.values(), ZERO)
        return found

    def rows(self) -> list[Row]:
        """Give a row for each programme, unit, period and vintage in which something moved or stood, in that order."""
        return [row for kind in self.kinds() for row in self.rows_of(kind) if row is not None]

    def rows_of(self, kind: Kind, since: date = BEFORE, carried: Closings | None = None) -> Iterator[Row | None]:
        """Yield the rows of one programme and unit, from the period that begins on `since` on, in order.

        Each row is made when it is asked for, and None is yielded between periods, so that a caller who wants few rows
        pays for few and can give way to others. `carried` is what the stretch before was closed with: the first
        period opens with it, and shows what is otherwise by now as a prior-period movement.
        """
        periods = self._sums.get(kind, {})
        openings: dict[date | None, Decimal] = defaultdict(Decimal)
        states: dict[date | None, dict[str, Decimal]] = {}
        for vintage, sums in periods.get(BEFORE, {}).items():
            _carry_on(openings, states, vintage, sums)
        prior: dict[date | None, Decimal] = {}
        if carried is not None:
            prior = {one: openings.get(one, ZERO) - carried.get(one, ZERO) for one in {*openings, *carried}}
        for period, last_day in self._periods():
            moved = periods.get(period, {})
            if period >= since:
                yield from self._rows_in(kind, period, last_day, moved, openings, states, prior)
                yield None
            for vintage, sums in moved.items():
                _carry_on(openings, states, vintage, sums)
            prior = {}

    def _rows_in(
        self,
        kind: Kind,
        period: date,
        last_day: date,
        moved: Mapping[date | None, MovementSums],
        openings: Mapping[date | None, Decimal],
        states: Mapping[date | None, Mapping[str, Decimal]],
        prior: Mapping[date | None, Decimal],
    ) -> Iterator[Row]:
        """Yield the rows of one period, by vintage, no vintage last."""
        standing = {one for one, points in openings.items() if points}
        standing |= {one for one, of in states.items() if any(of.values())}
        worth = self._terms.ratio(kind[0], last_day)
        for vintage in sorted(standing.union(moved, prior), key=lambda one: (one is None, one or BEFORE)):
            if self._ask.vintage is not None and vintage != self._ask.vintage:
                continue
            sums = moved.get(vintage) or MovementSums()
            movements = {name: sums.moved.get(name, ZERO) for name in NAMES}
            opening = openings.get(vintage, ZERO)
            closing = opening + sum(movements.values(), ZERO)
            movements[PRIOR_PERIOD] = prior.get(vintage, ZERO)
            opening -= movements[PRIOR_PERIOD]
            before = states.get(vintage, {})
            now = {name: before.get(name, ZERO) + sums.states.get(name, ZERO) for name in STATES}
            if opening or closing or any(movements.values()) or any(now.values()):
                shown = {name: -points if name in TAKEN else points for name, points in movements.items()}
                now["debt"] = -now["debt"]
                yield Row(RollForwardKey(*kind, period, vintage), last_day, opening, shown, closing, now, worth)

    def _periods(self) -> list[tuple[date, date]]:
        """Give the first and last day of each period, in order."""
        days = [self._ask.first + timedelta(days=n) for n in range((self._ask.last - self._ask.first).days + 1)]
        last_days: dict[date, date] = {}
        for day in days:
            last_days[self._ask.period(day)] = day
        return list(last_days.items())

    def ties(self) -> list[TieOut]:
        """Compare the closing of each programme and unit with the sum of its accounts' balances."""
        closings = {kind: sum(self.closings(kind).values(), ZERO) for kind in self._sums}
        both = sorted(closings.keys() | self._balances.keys())
        return [TieOut(*of, closings.get(of, ZERO), self._balances.get(of, ZERO)) for of in both]


def _add(sums: dict[str, Decimal], name: str, points: Decimal) -> None:
    """Add points to one of the sums, which this changes."""
    sums[name] = sums.get(name, ZERO) + points


def _carry_on(
    openings: dict[date | None, Decimal],
    states: dict[date | None, dict[str, Decimal]],
    vintage: date | None,
    sums: MovementSums,
) -> None:
    """Take what moved in a period into the openings and states of the next, which this changes."""
    openings[vintage] += sum(sums.moved.values(), ZERO)
    for name, points in sums.states.items():
        _add(states.setdefault(vintage, {}), name, points)


def totals(rows: Iterable[Row]) -> list[Row]:
    """Add up the vintages of each programme, unit and period."""
    found: dict[RollForwardKey, Row] = {}
    for row in rows:
        key = row.key._replace(vintage=None)
        so_far = found.get(key)
        found[key] = row._replace(key=key) if so_far is None else _sum(so_far, row)
    return sorted(found.values(), key=lambda row: order_of(row.key))


def _sum(one: Row, other: Row) -> Row:
    return Row(
        one.key,
        one.last_day,
        one.opening + other.opening,
        {name: one.movements[name] + other.movements[name] for name in NAMES},
        one.closing + other.closing,
        {name: one.states[name] + other.states[name] for name in STATES},
        one.worth,
    )


def order_of(key: RollForwardKey) -> tuple[str, str, date, bool, date]:
    """Return the place of a key in the order of the rows; no vintage comes last."""
    return (key.programme, key.unit, key.period, key.vintage is None, key.vintage or BEFORE)


@lru_cache(maxsize=4096)
def last_instant(day: date, time_zone: str) -> datetime:
    """Give the last instant of a day in a time zone."""
    after = day + timedelta(days=1)
    midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(time_zone))
    return midnight.astimezone(UTC) - timedelta(microseconds=1)


def day_in(time: datetime, time_zone: str) -> date:
    """Give the day that a time is in, in a time zone."""
    return time.date() if time_zone == "UTC" else time.astimezone(ZoneInfo(time_zone)).date()


def decode_postings(postings: str) -> list[Posting]:
    """Read what statement.encode_postings wrote."""
    decoded: list[Posting] = _POSTINGS.decode(postings)
    return decoded


_POSTINGS: Any = msgspec.json.Decoder(list[Posting])
