"""What moved the points outstanding: postings of every account as a roll-forward by day or month, and by vintage. Pure.

Outstanding is what may be spent minus the debt. Each posting that takes from it or gives to it is a movement, named by
the class on its other side; one between two such classes is both movements, and changes no sum: what was redeemed and
is taken back counts as not redeemed but reversed. A vintage is the month in which a lot was earned; what stands in no
lot has none: debt, promised points, points in transit or held. Days and months are those of the programme's time zone.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from projections.accounts.lots import ZERO, Posting
from projections.books import Account, Book, lapse
from projections.terms import Terms, Worth

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
PRIOR_PERIOD = "prior_period"  # what was told of a closed period after it was closed: see service/closing.py
NAMES = (*dict.fromkeys(name for name, _ in MOVEMENTS.values()), SETTLED, PRIOR_PERIOD)
TAKEN = frozenset(name for name, taken in MOVEMENTS.values() if taken)
STATES = ("promised", "available", "held", "in_transit", "debt")
BEFORE = date.min  # stands for all days before the first that is asked for


class Ask(NamedTuple):
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


class Key(NamedTuple):
    """What a row of the roll-forward is about."""

    programme: str
    unit: str
    period: date
    vintage: date | None


class Row(NamedTuple):
    """One row: opening + issued + converted + transfers_in + merged + adjusted + openings + unseen + settled +
    prior_period - redeemed - lapsed - reversed - transfers_out - held = closing. `states` are those at the end of the
    period, `worth` is what a point is worth then."""

    key: Key
    last_day: date
    opening: Decimal
    movements: dict[str, Decimal]
    closing: Decimal
    states: dict[str, Decimal]
    worth: Worth | None = None


class Tie(NamedTuple):
    """The roll-forward's closing of a programme and unit beside the sum of its accounts' balances."""

    programme: str
    unit: str
    closing: Decimal
    accounts: Decimal

    @property
    def difference(self) -> Decimal:
        return self.closing - self.accounts


class RollForward:
    """Adds up books. What it remembers grows with days, vintages and programmes, not with accounts."""

    def __init__(self, ask: Ask, terms: Terms) -> None:
        self._ask = ask
        self._terms = terms
        self._moved: dict[tuple[Key, str], Decimal] = defaultdict(Decimal)
        self._states: dict[tuple[Key, str], Decimal] = defaultdict(Decimal)
        self._balances: dict[tuple[str, str], Decimal] = defaultdict(Decimal)

    def add(self, book: Book) -> None:
        """Add one holder's book, and let the time pass until the last day is over."""
        ends = {id_: self._end(account) for id_, account in book.accounts.items() if self._asked(account)}
        lapses = lapse(book, max(ends.values())) if ends else []
        balances: dict[str, Decimal] = {}
        for line in [*book.lines, *lapses]:
            if line.account_id not in ends or line.occurred_at > ends[line.account_id]:
                continue
            account = book.accounts[line.account_id]
            balances[line.account_id] = line.balance
            programme = account.programme_ref
            period = self._ask.period(self._day(programme, line.occurred_at))
            for source, target, points, lot_id in decode_postings(line.postings):
                lot = book.lots.get(lot_id or "")
                vintage = self._day(programme, lot.earned_at).replace(day=1) if lot is not None else None
                self._post(Key(programme, account.unit, period, vintage), source, target, points)
        for account_id, balance in balances.items():
            account = book.accounts[account_id]
            self._balances[account.programme_ref, account.unit] += balance

    def _asked(self, account: Account) -> bool:
        programme, unit = self._ask.programme, self._ask.unit
        return (programme is None or account.programme_ref == programme) and (unit is None or account.unit == unit)

    def _end(self, account: Account) -> datetime:
        """Give the last instant of the last day in the account's programme."""
        noon = datetime(self._ask.last.year, self._ask.last.month, self._ask.last.day, 12, tzinfo=UTC)
        return last_instant(self._ask.last, self._terms.zone(account.programme_ref, noon))

    def _day(self, programme: str, time: datetime) -> date:
        return day_in(time, self._terms.zone(programme, time))

    def _post(self, key: Key, source: str, target: str, points: Decimal) -> None:
        for name, change in ((source, -points), (target, points)):
            if name in STATES:
                self._states[key if name == "available" else key._replace(vintage=None), name] += change
        gives, takes = target in OUTSTANDING, source in OUTSTANDING
        without = key._replace(vintage=None)
        if gives and takes:
            self._moved[key if source == "available" else without, SETTLED] -= points
            self._moved[key if target == "available" else without, SETTLED] += points
            return
        if "promised" in (source, target) and not gives:  # nothing of it is outstanding before it is converted
            return
        key = without if "debt" in (source, target) else key
        if not takes:
            self._moved[key, MOVEMENTS[source][0]] += points
        if not gives:
            self._moved[key, MOVEMENTS[target][0]] -= points

    def rows(self) -> list[Row]:
        """Give a row for each programme, unit, period and vintage in which something moved or stood, in that order."""
        rows = []
        periods = self._periods()
        kinds = sorted(
            {(key.programme, key.unit, key.vintage) for key, _ in [*self._moved, *self._states]},
            key=lambda kind: (kind[0], kind[1], kind[2] is None, kind[2] or BEFORE),
        )
        for programme, unit, vintage in kinds:
            if self._ask.vintage is not None and vintage != self._ask.vintage:
                continue
            rows += self._roll(programme, unit, vintage, periods)
        return sorted(rows, key=_order)

    def _roll(self, programme: str, unit: str, vintage: date | None, periods: list[tuple[date, date]]) -> list[Row]:
        before = Key(programme, unit, BEFORE, vintage)
        opening = sum((self._moved.get((before, name), ZERO) for name in NAMES), ZERO)
        states = {name: self._states.get((before, name), ZERO) for name in STATES}
        rows = []
        for period, last_day in periods:
            key = Key(programme, unit, period, vintage)
            moved = {name: self._moved.get((key, name), ZERO) for name in NAMES}
            closing = opening + sum(moved.values(), ZERO)
            states = {name: states[name] + self._states.get((key, name), ZERO) for name in STATES}
            if opening or closing or any(moved.values()) or any(states.values()):
                shown = {name: -points if name in TAKEN else points for name, points in moved.items()}
                worth = self._terms.ratio(programme, last_day)
                rows.append(Row(key, last_day, opening, shown, closing, {**states, "debt": -states["debt"]}, worth))
            opening = closing
        return rows

    def _periods(self) -> list[tuple[date, date]]:
        """Give the first and last day of each period, in order."""
        days = [self._ask.first + timedelta(days=n) for n in range((self._ask.last - self._ask.first).days + 1)]
        last_days: dict[date, date] = {}
        for day in days:
            last_days[self._ask.period(day)] = day
        return list(last_days.items())

    def ties(self) -> list[Tie]:
        """Compare the closing of each programme and unit with the sum of its accounts' balances."""
        closings: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for (key, _), points in self._moved.items():
            closings[key.programme, key.unit] += points
        both = sorted(closings.keys() | self._balances.keys())
        return [Tie(*of, closings.get(of, ZERO), self._balances.get(of, ZERO)) for of in both]


def totals(rows: Iterable[Row]) -> list[Row]:
    """Add up the vintages of each programme, unit and period."""
    found: dict[Key, Row] = {}
    for row in rows:
        key = row.key._replace(vintage=None)
        so_far = found.get(key)
        found[key] = row._replace(key=key) if so_far is None else _sum(so_far, row)
    return sorted(found.values(), key=_order)


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


def _order(row: Row) -> tuple[str, str, date, bool, date]:
    key = row.key
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
    """Read what tables.encode_postings wrote."""
    decoded: list[Posting] = _POSTINGS.decode(postings)
    return decoded


_POSTINGS: Any = msgspec.json.Decoder(list[Posting])
