"""Forecast of breakage: the outstanding points that will lapse unused. Pure and exact; the same history gives the same
figures.

Words: a vintage is the month in which points were earned. Its age is the number of months since then, 0 in that month.
Breakage are the points that customers never use (IFRS 15, B44 to B47; ASC 606-10-55-46 to 49 use the same words).

Theory, for each programme and unit:

1. For each age: the points used during that age, over the points that were exposed to use. All vintages are added up
   that have completed the age. The same for points that were removed: taken back, transferred away, adjusted.
2. An open lot meets these rates, age by age, up to the last day on which its points can be used. The rest lapses.
3. An age is covered if VINTAGES_MIN vintages have completed it. Points that reach an age beyond that, or that never
   lapse, are undetermined from there on. They are no breakage.
4. The interval is the estimate plus and minus 1.645 standard errors of the jackknife: the forecast is made again
   without each vintage in turn. It shows how much the figures depend on single vintages, not how behaviour may change.

Invariants: used + removed + breakage + undetermined = outstanding, and none is below zero.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from typing import NamedTuple

ZERO, ONE = Decimal(0), Decimal(1)
VINTAGES_MIN = 3  # that have completed an age
HISTORY_MONTHS_MIN = 6  # completed vintages; below there is no figure
STANDARD_ERRORS = Decimal("1.645")  # of a 90 % interval
DIGITS = 60  # of intermediate results: more than any exact sum of points has
PLACES = Decimal("0.000001")  # of figures and shares

ASSUMPTIONS = (
    "Each vintage is used at each age as earlier vintages were, weighted by their points.",
    "Open points lapse on the days that their lots have now; later changes of terms are not foreseen.",
    "Points that are taken back, transferred or adjusted away are no breakage.",
    f"An age counts if {VINTAGES_MIN} vintages have completed it; beyond it, points are undetermined.",
    "Points without a day of lapse are undetermined after the last age that counts.",
    "The interval is 90 % by the jackknife over vintages; it assumes that behaviour does not change.",
)


class Flow(NamedTuple):
    """Points of one vintage that moved during one month, all above zero unless they were given back."""

    vintage: date
    month: date
    credited: Decimal = ZERO
    used: Decimal = ZERO
    lapsed: Decimal = ZERO
    removed: Decimal = ZERO


class OpenPoints(NamedTuple):
    """Outstanding points of one vintage. `last_month` is the month of their last day; None: they never lapse."""

    vintage: date
    last_month: date | None
    points: Decimal


class Rates(NamedTuple):
    """Shares of the exposed points that are used and removed during one age."""

    used: Decimal
    removed: Decimal


class Fate(NamedTuple):
    """Outstanding points by their expected fate."""

    used: Decimal
    removed: Decimal
    breakage: Decimal
    undetermined: Decimal


class VintageForecast(NamedTuple):
    """One vintage: what happened, and what is expected of the rest."""

    vintage: date
    credited: Decimal
    used: Decimal
    lapsed: Decimal
    removed: Decimal
    outstanding: Decimal
    expected: Fate


class CurvePoint(NamedTuple):
    """Shares of a vintage's credited points at the end of one age. They add up to 1."""

    vintage: date
    age: int
    used: Decimal
    lapsed: Decimal
    removed: Decimal
    left: Decimal


class BreakageForecast(NamedTuple):
    """The forecast of one programme and unit at the end of a month. Without enough history it has a reason instead."""

    month: date
    outstanding: Decimal
    expected: Fate | None
    low: Decimal | None  # of the expected breakage
    high: Decimal | None
    reason: str | None
    ages_covered: int
    rates: Sequence[Rates]
    vintages: Sequence[VintageForecast]
    curves: Sequence[CurvePoint]

    @property
    def rate(self) -> Decimal | None:
        """Expected breakage over the outstanding points: the expected breakage rate."""
        if self.expected is None or not self.outstanding:
            return None
        return (self.expected.breakage / self.outstanding).quantize(PLACES, ROUND_HALF_EVEN)


def forecast_breakage(flows: Iterable[Flow], outstanding: Iterable[OpenPoints], month: date) -> BreakageForecast:
    """Forecast the breakage of one programme and unit, as of the end of a month."""
    with localcontext(prec=DIGITS):
        history = _History(flows, month)
        groups = sorted(outstanding, key=lambda group: (group.vintage, group.last_month or date.max))
        rates = history.rates()
        total = sum((group.points for group in groups), ZERO)
        reason = _missing_history(history, rates, groups)
        expected = low = high = None
        if reason is None:
            exact = _add_up(_fate(group, rates, month) for group in groups)
            expected = _rounded(exact, total)
            most = expected.breakage + expected.used + expected.removed  # undetermined points are no breakage
            error = STANDARD_ERRORS * _standard_error(history, groups, month, len(rates))
            low, high = max(ZERO, exact.breakage - error), min(most, exact.breakage + error)
            low, high = (bound.quantize(PLACES, ROUND_HALF_EVEN) for bound in (low, high))
        vintages = _vintages(history, groups, rates, month) if reason is None else ()
        return BreakageForecast(
            month, total, expected, low, high, reason, len(rates), rates, vintages, history.curves()
        )


class _History:
    """Flows of all vintages up to the end of a month."""

    def __init__(self, flows: Iterable[Flow], month: date) -> None:
        self.month = month
        self.flows: dict[date, dict[int, Flow]] = defaultdict(dict)
        for flow in flows:
            age = age_of(flow.vintage, flow.month)
            if age >= 0 and flow.month <= month:
                before = self.flows[flow.vintage].get(age, Flow(flow.vintage, flow.month))
                sums = (one + other for one, other in zip(before[2:], flow[2:], strict=True))
                self.flows[flow.vintage][age] = Flow(flow.vintage, flow.month, *sums)
        self.exposed = {vintage: self._exposures(vintage) for vintage in sorted(self.flows)}

    def _exposures(self, vintage: date) -> list[Decimal]:
        """Return the points exposed at each age: outstanding at its begin, and credited during it."""
        exposed, left = [], ZERO
        for age in range(age_of(vintage, self.month) + 1):
            flow = self.flow(vintage, age)
            exposed.append(max(ZERO, left + flow.credited))
            left += flow.credited - flow.used - flow.lapsed - flow.removed
        return exposed

    def flow(self, vintage: date, age: int) -> Flow:
        return self.flows[vintage].get(age) or Flow(vintage, vintage)

    def rates(self, without: date | None = None, ages: int | None = None) -> list[Rates]:
        """Return the rates of the covered ages, or of the first `ages`. `without` leaves one vintage out."""
        rates: list[Rates] = []
        while ages is None or len(rates) < ages:
            age = len(rates)
            vintages = [
                vintage
                for vintage, exposed in self.exposed.items()
                if vintage != without and age < len(exposed) and exposed[age] > ZERO
            ]
            if not vintages or (ages is None and len(vintages) < VINTAGES_MIN):
                break
            exposure = sum((self.exposed[vintage][age] for vintage in vintages), ZERO)
            used = sum((self.flow(vintage, age).used for vintage in vintages), ZERO)
            removed = sum((self.flow(vintage, age).removed for vintage in vintages), ZERO)
            used_share = min(ONE, max(ZERO, used / exposure))
            rates.append(Rates(used_share, min(ONE - used_share, max(ZERO, removed / exposure))))
        return rates

    def curves(self) -> list[CurvePoint]:
        """Return the shares of each vintage at each completed age, until nothing is left and moves any more."""
        points = []
        for vintage, exposed in self.exposed.items():
            credited, used, lapsed, removed = ZERO, ZERO, ZERO, ZERO
            last = max(self.flows[vintage])
            for age in range(len(exposed)):
                if age > last and credited == used + lapsed + removed:
                    break
                flow = self.flow(vintage, age)
                credited, used = credited + flow.credited, used + flow.used
                lapsed, removed = lapsed + flow.lapsed, removed + flow.removed
                if credited > ZERO:
                    parts = (used, lapsed, removed)
                    shares = tuple((part / credited).quantize(PLACES, ROUND_HALF_EVEN) for part in parts)
                    points.append(CurvePoint(vintage, age, shares[0], shares[1], shares[2], ONE - sum(shares, ZERO)))
        return points

    def totals(self, vintage: date) -> Flow:
        """Return the sums of a vintage over all ages."""
        sums = (sum(parts, ZERO) for parts in zip(*(flow[2:] for flow in self.flows[vintage].values()), strict=True))
        return Flow(vintage, self.month, *sums) if self.flows.get(vintage) else Flow(vintage, self.month)


def age_of(vintage: date, month: date) -> int:
    """Return the number of months from a vintage to a month."""
    return (month.year - vintage.year) * 12 + month.month - vintage.month


def _fate(group: OpenPoints, rates: Sequence[Rates], month: date) -> Fate:
    """Carry open points through the ages that follow the month, up to the month of their last day."""
    left, used, removed = group.points, ZERO, ZERO
    first = age_of(group.vintage, month) + 1
    last = None if group.last_month is None else age_of(group.vintage, group.last_month)
    for rate in rates[first : None if last is None else max(first, last + 1)]:
        used, removed = used + left * rate.used, removed + left * rate.removed
        left *= ONE - rate.used - rate.removed
    if last is not None and last < max(first, len(rates)):
        return Fate(used, removed, left, ZERO)
    return Fate(used, removed, ZERO, left)


def _add_up(fates: Iterable[Fate]) -> Fate:
    sums = Fate(ZERO, ZERO, ZERO, ZERO)
    for fate in fates:
        sums = Fate(*(one + other for one, other in zip(sums, fate, strict=True)))
    return sums


def _rounded(fate: Fate, total: Decimal) -> Fate:
    """Round all parts down but the used points, which take the rest. So the parts add up to the total exactly."""
    removed, breakage, undetermined = (part.quantize(PLACES, ROUND_FLOOR) for part in fate[1:])
    return Fate(total - removed - breakage - undetermined, removed, breakage, undetermined)


def _standard_error(history: _History, groups: Sequence[OpenPoints], month: date, ages: int) -> Decimal:
    """Return the jackknife's standard error of the breakage: sqrt((n - 1) / n * sum of squared deviations)."""
    estimates = [
        sum((_fate(group, rates, month).breakage for group in groups), ZERO)
        for rates in (history.rates(vintage, ages) for vintage in history.exposed)
        if len(rates) == ages
    ]
    count = Decimal(len(estimates))
    if count < 2:
        return ZERO
    mean = sum(estimates, ZERO) / count
    squares = sum(((estimate - mean) ** 2 for estimate in estimates), ZERO)
    return ((count - ONE) / count * squares).sqrt()


def _missing_history(history: _History, rates: Collection[Rates], groups: Sequence[OpenPoints]) -> str | None:
    """Return why there is no figure, or None if there is one."""
    if not groups:
        return "no points are outstanding"
    months = sum(1 for exposed in history.exposed.values() if any(exposed))
    if months < HISTORY_MONTHS_MIN:
        return f"the history has {months} of the {HISTORY_MONTHS_MIN} vintages that are needed"
    if all(group.last_month is None for group in groups):
        return "no outstanding point has a day of lapse"
    if not any(_fate(group, list(rates), history.month).breakage for group in groups):
        return f"the history covers {len(rates)} ages, and the outstanding points lapse at a later age"
    return None


def _vintages(
    history: _History, groups: Sequence[OpenPoints], rates: Sequence[Rates], month: date
) -> list[VintageForecast]:
    by_vintage: Mapping[date, list[OpenPoints]] = defaultdict(list)
    for group in groups:
        by_vintage[group.vintage].append(group)
    forecasts = []
    for vintage in sorted({*by_vintage, *history.flows}):
        totals = history.totals(vintage)
        of_vintage = by_vintage[vintage]
        left = sum((group.points for group in of_vintage), ZERO)
        lapsed = totals.credited - totals.used - totals.removed - left  # without those that lapse at the month's end
        expected = _rounded(_add_up(_fate(group, rates, month) for group in of_vintage), left)
        forecasts.append(VintageForecast(vintage, totals.credited, totals.used, lapsed, totals.removed, left, expected))
    return forecasts
