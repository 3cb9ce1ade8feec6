"""Charts as SVG geometry, made by the server. Templates write the elements; labels are HTML beside the drawing.

A drawing has its own units and is stretched to the width of the page. So it holds no text. Labels stand at equal
distances beside it, because the policy of the pages allows no style in an element.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from typing import Any, NamedTuple

from service.console.formats import format_points, format_time
from service.queries.account_overview import BalanceAt

WIDTH, HEIGHT = 1_000, 200
BAR_WIDTH = 100
COLUMNS = 600  # each draws POINTS_PER_COLUMN steps at most: about as many as a screen has pixels
POINTS_PER_COLUMN = 4
READOUTS = 400  # steps with a value under the pointer, at most
LABELS = 5  # of times
LEVELS_MIN = 4
SHADES = 4


class StepChart(NamedTuple):
    """A step chart of a balance: a line, the area below it, and the labels of both axes.

    `levels` are the labelled balances, highest first, at equal distances. `steps` holds a place, a time and a balance
    for each step that the script shows.
    """

    line: str
    area: str
    zero: float
    levels: Sequence[Decimal]
    lowest: Decimal
    highest: Decimal
    times: Sequence[datetime]
    steps: str
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def grid(self) -> str:
        """The lines at the labelled balances, and at the labelled times."""
        down = [round(self.height * number / (len(self.levels) - 1), 1) for number in range(len(self.levels))]
        return "".join(f"M0 {y}H{self.width}" for y in down)


class BarPart(NamedTuple):
    """A part of a bar: its class, where it begins, and its width."""

    name: str
    start: float
    width: float


def step_chart(course: Sequence[BalanceAt], until: datetime) -> StepChart | None:
    """Draw a balance over time, from its first change to `until`. None if there is nothing to draw."""
    if not course or until <= course[0].at:
        return None
    begins, span = course[0].at, (until - course[0].at).total_seconds()
    highest, lowest = max(point.balance for point in course), min(point.balance for point in course)
    levels = _levels(min(Decimal(0), lowest), max(Decimal(0), highest))
    scale, top = HEIGHT / float(levels[0] - levels[-1]), float(levels[0])
    times_from = begins.timestamp()
    places = [
        (WIDTH * (point.at.timestamp() - times_from) / span, (top - float(point.balance)) * scale) for point in course
    ]
    points = [f"M0 {places[0][1]:.1f}", *(f"H{x:.1f}V{y:.1f}" for x, y in _thin(places))]
    line = f"{''.join(points)}H{WIDTH}"
    zero = round(top * scale, 1)
    times = [begins + (until - begins) * number / (LABELS - 1) for number in range(LABELS)]
    return StepChart(line, f"{line}V{zero}H0Z", zero, levels, lowest, highest, times, _steps(course, places))


def _levels(bottom: Decimal, top: Decimal) -> list[Decimal]:
    """Return round balances at equal distances that enclose a range, highest first: 3 to 7 of them."""
    span = (top - bottom) or Decimal(1)
    power = Decimal(10) ** (span / LEVELS_MIN).adjusted()
    step = next(
        power * factor
        for factor in (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
        if power * factor * LEVELS_MIN >= span
    )
    first, last = (bottom / step).to_integral_value(ROUND_FLOOR), (top / step).to_integral_value(ROUND_CEILING)
    count = max(int(last - first), 1)
    return [(first + number) * step for number in range(count, -1, -1)]


def _steps(course: Sequence[BalanceAt], places: Sequence[tuple[float, float]]) -> str:
    """Write the steps that the script shows: of each column the last one."""
    last_of_column = {int(x * READOUTS / WIDTH): (x, point) for (x, _), point in zip(places, course, strict=True)}
    return ";".join(
        f"{x:.1f}|{format_time(point.at)[:16]}|{format_points(point.balance)}" for x, point in last_of_column.values()
    )


def _thin(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield of each column the first, the lowest, the highest and the last point, in order."""
    for _, column in groupby(points, key=lambda point: int(point[0] * COLUMNS / WIDTH)):
        of_column = list(column)
        if len(of_column) <= POINTS_PER_COLUMN:
            yield from of_column
            continue
        heights = [y for _, y in of_column]
        numbers = {0, heights.index(min(heights)), heights.index(max(heights)), len(of_column) - 1}
        yield from (of_column[number] for number in sorted(numbers))


class Stay(NamedTuple):
    """One interval on a timeline: its label, its shade, where it begins, and its width."""

    label: str
    shade: int
    start: float
    width: float
    since: datetime
    until: datetime


def stays_timeline(stays: Sequence[Mapping[str, Any]], until: datetime) -> list[Stay]:
    """Lay out the tiers that a customer was in, from the first one to `until`. Each tier has one shade."""
    known = [stay for stay in stays if stay["since"] is not None and stay["since"] < until]
    if not known:
        return []
    begins = min(stay["since"] for stay in known)
    span = (until - begins).total_seconds()
    tiers = sorted({stay["tier"] for stay in known})
    laid = []
    for stay in known:
        left = min(stay["left_at"] or until, until)
        start = WIDTH * (stay["since"] - begins).total_seconds() / span
        width = WIDTH * max(0.0, (left - stay["since"]).total_seconds()) / span
        shade = tiers.index(stay["tier"]) % SHADES
        laid.append(
            Stay(stay["tier_name"] or stay["tier"], shade, round(start, 1), round(width, 1), stay["since"], left)
        )
    return laid


def lot_bar(lot: Mapping[str, Any], largest: Decimal) -> list[BarPart]:
    """Divide the bar of a lot by the fate of its points. The bar of the largest lot is as wide as the drawing."""
    fates = {
        "used": lot["redeemed"] + lot["sent"] + lot["removed"],
        "returned": lot["returned"],
        "lapsed": lot["expired"] + (lot["remaining"] if lot["status"] == "lapsed" else 0),
        "open": lot["remaining"] if lot["status"] == "open" else Decimal(0),
    }
    parts, start = [], 0.0
    for name, points in fates.items():
        if points > 0 and largest > 0:
            width = BAR_WIDTH * float(points / largest)
            parts.append(BarPart(name, round(start, 2), round(width, 2)))
            start += width
    return parts


def share_bar(points: Decimal, largest: Decimal) -> list[BarPart]:
    """Return a bar for points beside the largest ones, whose bar is as wide as the drawing."""
    width = BAR_WIDTH * float(abs(points) / largest) if largest else 0.0
    return [BarPart("used", 0.0, round(width, 2))]


class CurveChart(NamedTuple):
    """Curves of shares by age, one line for each vintage. `top` is the highest share in percent, rounded up."""

    lines: Sequence[str]
    ages: int
    top: int
    width: int = WIDTH
    height: int = HEIGHT


def curve_chart(points: Sequence[Mapping[str, Any]]) -> CurveChart | None:
    """Draw the used share of each vintage by age. None if no vintage has two ages."""
    curves: dict[str, list[tuple[int, Decimal]]] = {}
    for point in points:
        curves.setdefault(point["vintage"], []).append((point["age"], point["used"]))
    ages = max((age for curve in curves.values() for age, _ in curve), default=0)
    if ages == 0:
        return None
    top = max(1, int(max(share for curve in curves.values() for _, share in curve) * 100 + Decimal("0.999999")))
    lines = []
    for curve in curves.values():
        places = [(WIDTH * age / ages, HEIGHT - HEIGHT * max(0.0, float(share) * 100) / top) for age, share in curve]
        lines.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places))
    return CurveChart(lines, ages, top)
