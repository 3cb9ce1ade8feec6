"""Types of the answers about programmes, liability, trial balance and periods."""

from datetime import date
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from projections.programmes import ProgrammeRow
from projections.queries.roll_forward import MOVEMENT_NAMES, STATE_CLASSES
from service.api.answers.fields import (
    FRESH,
    Cursor,
    Freshness,
    Month,
    Points,
    Time,
    Truncated,
    answer_type,
    page_of,
    row_fields,
)
from service.api.answers.previews import Previewed, RecordedPosition

TermsVersion: Any = answer_type(
    "TermsVersion", row_fields(ProgrammeRow), description="One version of a programme's terms."
)


class ProgrammeAnswer(TypedDict):
    """A programme, with the terms in effect at the time of the query."""

    id: str
    terms: TermsVersion | None


ProgrammePage = page_of(ProgrammeAnswer, **FRESH)


class TierDescriptionAnswer(TypedDict):
    """A tier of a programme. Two tiers may share a number."""

    number: str | None
    name: str | None


class ProgrammeDescriptionAnswer(TypedDict):
    """A programme as the latest event with a description describes it. A value is null if the vendor states none."""

    name: str | None
    is_default: bool | None
    points_to_currency_ratio: Annotated[Points | None, Meta(description="Worth of one point.")]
    tiers: list[TierDescriptionAnswer]
    described_at: Time
    position: int


class ProgrammeDetails(Freshness):
    """A programme: its description by the vendor, the terms in effect and all versions."""

    id: str
    description: ProgrammeDescriptionAnswer | None
    terms: TermsVersion | None
    versions: list[TermsVersion]


class TermsSet(TypedDict):
    """The programme, and the position of its new terms."""

    programme: str
    position: RecordedPosition
    preview: NotRequired[Previewed]


class ProgrammeLapse(TypedDict):
    """The points of a programme and unit that lapse on one day."""

    expires_on: date
    unit: str
    points: Points
    lots_count: int
    accounts_count: int


ProgrammeLapsePage: Any = answer_type(
    "ProgrammeLapsePage",
    {"programme": str, "from": date, "to": date, "items": list[ProgrammeLapse], "next": Cursor, **FRESH},
)


class TrialBalanceItem(TypedDict):
    """The sum of each class over all accounts of a programme and unit. Together they are zero."""

    programme: str
    unit: str
    classes: dict[str, Points]
    sum: Points


class TrialBalanceAnswer(Freshness):
    """The classes of all accounts. Balanced: every sum is zero, and the postings equal the stored balances."""

    at: Time
    balanced: bool
    accounts_count: int
    accounts_differing: list[str]
    truncated: NotRequired[Truncated]
    items: list[TrialBalanceItem]
    next: Cursor


LiabilityRow: Any = answer_type(
    "LiabilityRow",
    {
        "programme": str,
        "unit": str,
        "from": date,
        "to": date,
        "vintage": Annotated[Month | None, Meta(description="The month in which the points were earned.")],
        "opening": Points,
        **dict.fromkeys(MOVEMENT_NAMES, Points),
        "closing": Points,
        **{f"closing_{name}": Points for name in STATE_CLASSES},
        "value": Points | None,
        "currency": str | None,
    },
    description="The movement of outstanding points in one period, of one programme, unit and vintage.",
)


class TieOutAnswer(TypedDict):
    """The closing of a programme and unit, compared with the sum of its accounts."""

    programme: str
    unit: str
    closing: Points
    accounts_total: Points
    difference: Points


Liability: Any = answer_type(
    "Liability",
    {
        "from": date,
        "to": date,
        "by": Literal["day", "month"],
        "items": list[LiabilityRow],
        "next": Cursor,
        "totals": list[LiabilityRow],
        "ties": Annotated[bool, Meta(description="True if every closing equals the sum of the accounts.")],
        "tie_outs": list[TieOutAnswer],
        **FRESH,
    },
    description="The roll-forward of outstanding points.",
)


class ListedPeriod(TypedDict):
    """A month that was closed at least once."""

    period: Month
    status: Literal["open", "closed"]
    first_day: date | None
    last_day: date | None
    known_position: int | None
    closed_at: Time | None
    closed_by: str | None
    reopenings: int


PeriodPage = page_of(ListedPeriod, **FRESH)


class PeriodTotalAnswer(TypedDict):
    """Opening and closing of a programme and unit when the month was closed."""

    programme: str
    unit: str
    opening: Points
    closing: Points


PriorItem: Any = answer_type(
    "PriorPeriodItem",
    {
        "account": str,
        "programme": str,
        "unit": str,
        "points": Points,
        "first_position": int | None,
        "lines": list[dict[str, Any]],
    },
    description="Points of a closed month that were reported after its close.",
)


class PeriodDetails(Freshness):
    """The figures of a month."""

    period: Month
    status: Literal["open", "closed"]
    first_day: NotRequired[date | None]
    last_day: NotRequired[date | None]
    known_position: NotRequired[int | None]
    closed_at: NotRequired[Time | None]
    closed_by: NotRequired[str | None]
    reopenings: NotRequired[int]
    totals_when_closed: list[PeriodTotalAnswer]
    totals: list[LiabilityRow]
    figures: list[LiabilityRow]
    ties: bool
    prior_period_items: list[PriorItem]
    later_items: list[PriorItem]
    truncated: NotRequired[Truncated]


class PeriodChanged(TypedDict):
    """A month that was closed or reopened, and the position of the event."""

    period: Month
    position: RecordedPosition
    preview: NotRequired[Previewed]


class VintageBreakage(TypedDict):
    """One vintage: what happened to its points, and what is expected of the rest."""

    vintage: Month
    credited: Points
    used: Points
    lapsed: Points
    removed: Annotated[Points, Meta(description="Taken back, transferred or adjusted away.")]
    outstanding: Points
    expected_used: Points | None
    expected_removed: Points | None
    expected_breakage: Points | None
    undetermined: Points | None


class VintageCurvePoint(TypedDict):
    """Shares of a vintage's credited points at the end of one age in months. They add up to 1."""

    vintage: Month
    age: int
    used: Points
    lapsed: Points
    removed: Points
    left: Points


class BreakageItem(TypedDict):
    """The expected breakage of one programme and unit. Figures are null if there is a reason."""

    programme: str
    unit: str
    month: Month
    outstanding: Annotated[Points, Meta(description="Unredeemed points at the end of the month.")]
    expected_used: Points | None
    expected_removed: Annotated[Points | None, Meta(description="Taken back, transferred or adjusted away.")]
    expected_breakage: Annotated[Points | None, Meta(description="Points that will lapse unused.")]
    undetermined: Annotated[Points | None, Meta(description="Points beyond the history, or that never lapse.")]
    expected_breakage_low: Annotated[Points | None, Meta(description="Lower bound of the 90 % interval.")]
    expected_breakage_high: Annotated[Points | None, Meta(description="Upper bound of the 90 % interval.")]
    expected_breakage_rate: Annotated[Points | None, Meta(description="Expected breakage over outstanding points.")]
    expected_breakage_value: Annotated[Points | None, Meta(description="At the ratio on the month's last day.")]
    currency: str | None
    reason: Annotated[str | None, Meta(description="Why there is no figure.")]
    ages_covered: Annotated[int, Meta(description="Number of ages in months that the history covers.")]
    vintages: list[VintageBreakage]
    curves: list[VintageCurvePoint]


class BreakageAnswer(Freshness):
    """The expected breakage at the end of a month, with the assumptions behind it."""

    month: Month
    items: list[BreakageItem]
    next: Cursor
    assumptions: list[str]
