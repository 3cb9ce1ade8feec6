"""The forecast of breakage: figures worked out by hand, and what holds for every history."""

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from service.finance.breakage_forecast import (
    HISTORY_MONTHS_MIN,
    VINTAGES_MIN,
    BreakageForecast,
    Fate,
    Flow,
    OpenPoints,
    forecast_breakage,
)

MONTH = date(2026, 6, 1)


def month(number: int) -> date:
    """Return a month, counted from MONTH."""
    count = MONTH.year * 12 + MONTH.month - 1 + number
    return date(count // 12, count % 12 + 1, 1)


def history(*, months: int, used: tuple[int, ...] = (10, 20, 10), lapses: bool = True) -> list[Flow]:
    """Return vintages of 100 points each up to MONTH. Points are used at each age; the rest lapses at the last one."""
    flows = []
    for number in range(1 - months, 1):
        for age, points in enumerate(used):
            if number + age <= 0:
                flows.append(
                    Flow(
                        month(number),
                        month(number + age),
                        Decimal(100 if age == 0 else 0),
                        Decimal(points),
                        Decimal(100 - sum(used) if lapses and age == len(used) - 1 else 0),
                    )
                )
    return flows


def opened(number: int, last: int | None, points: int) -> OpenPoints:
    return OpenPoints(month(number), None if last is None else month(last), Decimal(points))


def forecast(flows: list[Flow], *groups: OpenPoints) -> BreakageForecast:
    return forecast_breakage(flows, groups, MONTH)


def test_vintages_that_behave_alike_repeat_their_breakage_without_any_interval() -> None:
    """90 left after age 0 meet 20/90 and 10/70: 90 x 7/9 x 6/7 = 60. 70 left after age 1 meet 10/70: 60."""
    made = forecast(history(months=12), opened(0, 2, 90), opened(-1, 1, 70))

    assert made.expected == Fate(Decimal(40), Decimal(0), Decimal(120), Decimal(0))
    assert [made.outstanding, made.low, made.high, made.rate] == [160, 120, 120, Decimal("0.75")]
    assert [vintage.expected.breakage for vintage in made.vintages[-2:]] == [60, 60]
    assert made.ages_covered == 3


def test_points_whose_last_day_has_come_are_breakage_whole() -> None:
    made = forecast(history(months=12), opened(-2, 0, 60), opened(0, 2, 90))

    assert made.expected is not None
    assert [made.expected.breakage, made.expected.used] == [120, 30]


def test_rates_are_weighted_by_points_and_the_interval_is_the_jackknife() -> None:
    """Vintages of 100 points use 10, and one of 300 uses 90, at age 1; nothing at age 0.

    Rate of age 1: (6 x 10 + 90) / 900 = 1/6. Without the large one 1/10; without a small one 140/800 = 7/40.
    Breakage of 600 points that lapse at age 1: 500; without the large one 540, without a small one 495.
    The youngest vintage has no age 1, so leaving it out changes nothing: 500.
    Mean of 6 x 495, 540 and 500: 501.25. Sum of squares: 6 x 39.0625 + 1501.5625 + 1.5625 = 1737.5.
    Standard error: sqrt(7/8 x 1737.5) = 38.991...; times 1.645 = 64.14.
    """
    flows = []
    for number in range(-7, 0):
        size = 300 if number == -4 else 100
        flows.append(Flow(month(number), month(number), credited=Decimal(size)))
        flows.append(Flow(month(number), month(number + 1), used=Decimal(90 if size == 300 else 10)))
    flows.append(Flow(MONTH, MONTH, credited=Decimal(600)))

    made = forecast(flows, opened(0, 1, 600))

    assert made.expected is not None
    assert made.expected.breakage == 500
    assert made.low is not None
    assert made.high is not None
    assert [round(bound, 2) for bound in (made.low, made.high)] == [Decimal("435.86"), Decimal("564.14")]


def test_points_beyond_the_history_or_without_a_day_are_undetermined() -> None:
    """Of 90 points 20 are used at age 1 and 10 at age 2, none later. Three vintages of twelve have completed age 9."""
    made = forecast(history(months=12, lapses=False), opened(0, 9, 90), opened(0, 10, 90), opened(0, None, 90))

    assert made.ages_covered == 10
    assert made.expected == Fate(Decimal(90), Decimal(0), Decimal(60), Decimal(120))
    assert made.rate == Decimal("0.222222")


def test_too_little_history_gives_a_reason_and_no_figure() -> None:
    short = forecast(history(months=HISTORY_MONTHS_MIN - 1), opened(0, 2, 90))
    young = forecast(history(months=12), opened(0, 40, 90))
    never = forecast(history(months=12), opened(0, None, 90))
    nothing = forecast(history(months=12))

    assert short.reason == "the history has 5 of the 6 vintages that are needed"
    assert "lapse at a later age" in (young.reason or "")
    assert never.reason == "no outstanding point has a day of lapse"
    assert nothing.reason == "no points are outstanding"
    for made in (short, young, never, nothing):
        assert (made.expected, made.low, made.high, made.rate, made.vintages) == (None, None, None, None, ())


def test_curves_show_the_shares_at_the_end_of_each_age() -> None:
    made = forecast(history(months=3), opened(0, 2, 90))

    oldest = [point for point in made.curves if point.vintage == month(-2)]
    assert [(point.age, point.used, point.lapsed, point.left) for point in oldest] == [
        (0, Decimal("0.1"), 0, Decimal("0.9")),
        (1, Decimal("0.3"), 0, Decimal("0.7")),
        (2, Decimal("0.4"), Decimal("0.6"), 0),
    ]


def test_more_given_back_than_used_is_no_use_and_adds_no_points() -> None:
    flows = [
        *history(months=12),
        *(Flow(month(number), month(number + 1), used=Decimal(-500)) for number in range(-11, 0)),
    ]

    made = forecast(flows, opened(0, 1, 90))

    assert made.expected is not None
    assert [made.expected.breakage, made.expected.used] == [90, 0]


points = st.decimals(min_value=0, max_value=1_000, places=3)
signed = st.decimals(min_value=-200, max_value=1_000, places=3)
flow = st.builds(
    lambda number, age, *moved: Flow(month(number), month(min(0, number + age)), *moved),
    st.integers(-14, 0),
    st.integers(0, 8),
    points,
    signed,
    points,
    signed,
)
group = st.builds(
    lambda number, life, left: OpenPoints(month(number), None if life is None else month(max(0, number + life)), left),
    st.integers(-14, 0),
    st.none() | st.integers(0, 20),
    points,
)


@given(st.lists(flow, max_size=60), st.lists(group, max_size=12), st.integers(0, 60))
def test_every_forecast_adds_up_and_stays_within_the_outstanding_points(
    flows: list[Flow], groups: list[OpenPoints], start: int
) -> None:
    made = forecast_breakage(flows, groups, MONTH)
    again = forecast_breakage([*flows[start:], *flows[:start]], groups[::-1], MONTH)

    assert made == again  # the order of the rows has no effect
    assert made.outstanding == sum((one.points for one in groups), Decimal(0))
    for point in made.curves:
        assert point.used + point.lapsed + point.removed + point.left == 1
    for rates in made.rates:
        assert 0 <= rates.used <= rates.used + rates.removed <= 1
    assert (made.expected is None) == (made.reason is not None)
    if made.expected is not None:
        assert made.low is not None
        assert made.high is not None
        assert sum(made.expected) == made.outstanding
        assert min(made.expected) >= 0
        assert 0 <= made.low <= made.high <= made.outstanding
        assert sum(one.expected.breakage for one in made.vintages) <= made.expected.breakage
        assert all(sum(one.expected) == one.outstanding for one in made.vintages)


@given(st.lists(group, min_size=1, max_size=6))
def test_an_age_counts_only_with_enough_vintages(groups: list[OpenPoints]) -> None:
    made = forecast_breakage(history(months=VINTAGES_MIN - 1), groups, MONTH)

    assert (made.ages_covered, made.expected) == (0, None)
