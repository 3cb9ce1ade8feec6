"""Types of the answers about accounts: balance, lots, statement, claims, lapses, adjustments, explanation."""

from datetime import date
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from projections.accounts.statement import Line
from projections.accounts.tables import AccountRow, AdjustmentRow, LotRow, PromiseRow, RedemptionRow
from service.api.answers.fields import (
    FRESH,
    Cursor,
    Freshness,
    Parked,
    Points,
    Time,
    answer_type,
    list_of,
    page_of,
    row_fields,
)
from service.api.answers.previews import Previewed, RecordedPosition
from service.api.answers.subjects import STEPS, Fields, StepEvent, StepRule


class NextLapse(TypedDict):
    """The next day on which points lapse if they are not spent."""

    expires_on: date
    points: Points


LOT_FIELDS = {
    "id": str,
    **row_fields(LotRow, without=("account_id", "lot_id")),
    "status": Annotated[Literal["open", "lapsed", "used"], Meta(description="At the time of the query.")],
}
Lot: Any = answer_type("Lot", LOT_FIELDS, description="Points earned together that lapse together.")
ACCOUNT_FIELDS = {
    "id": str,
    **row_fields(AccountRow, without=("account_id",)),
    "at": Annotated[Time, Meta(description="The time for which the figures hold.")],
    "spendable": Annotated[Points, Meta(description="`available`, or zero if that is below zero.")],
    "next_lapse": NextLapse | None,
    "lots": Annotated[list[Lot], Meta(description="The open lots, in the order of their use.")],
    "parked": NotRequired[Parked],
}
Account: Any = answer_type("Account", ACCOUNT_FIELDS, description="One account as of a time.")
AccountDetails: Any = answer_type(
    "AccountDetails",
    {
        **ACCOUNT_FIELDS,
        "open_matters": Annotated[
            list[str], Meta(description="Reasons to check the account before its figures are relied on.")
        ],
        **FRESH,
    },
    description="One account as of a time, and the reasons to check it.",
)
LotPage = page_of(Lot, **FRESH)
ListedLot: Any = answer_type(
    "ListedLot", {**LOT_FIELDS, "account": str}, description="A lot in a list over all accounts."
)
Promise: Any = answer_type(
    "Promise",
    {"id": str, "account": str, **row_fields(PromiseRow, without=("account_id", "promise_id"))},
    description="Promised points: they become spendable on a day, or on a trigger of the vendor.",
)
AccountPromisePage: Any = answer_type(
    "AccountPromisePage", {"items": list_of(Promise), "next": Cursor, **FRESH}, description="One page of a list."
)
Redemption: Any = answer_type(
    "Redemption",
    {"id": str, "account": str, **row_fields(RedemptionRow, without=("account_id", "redemption"))},
    description="The part of a redemption that one account paid.",
)
LotDetails: Any = answer_type("LotDetails", {**LOT_FIELDS, **FRESH})

PostingAnswer: Any = answer_type(
    "Posting",
    {"from": str, "to": str, "points": Points, "lot": str | None},
    description="One line of double entry: points from one class of an account to another.",
)
StatementLine: Any = answer_type(
    "StatementLine",
    {
        **row_fields(Line, without=("account_id", "line", "postings")),
        "line": int | None,
        "postings": list[PostingAnswer],
        "untimed": NotRequired[bool],
    },
    description="One fact or lapse that concerns an account, with the balance after it.",
)
StatementPage = page_of(StatementLine, **FRESH)


LotTouchedAnswer: Any = answer_type(
    "LotTouched", {**LOT_FIELDS, "change": Points}, description="A lot after a step, and the change of its points."
)


class AccountStep(TypedDict):
    """One line of the statement with its fact, its event, its rule and the lots that it touched.

    A fact that cannot be folded has `failure`, the reason, and no figures. A lapse has no event.
    """

    step: int | None
    occurred_at: Time
    kind: NotRequired[str]
    event: StepEvent | None
    fact: str | None
    fields: Fields
    untimed: NotRequired[bool]
    rule: NotRequired[StepRule]
    points: NotRequired[Points]
    balance: NotRequired[Points]
    promised: NotRequired[Points]
    claimed: NotRequired[Points | None]
    drift: NotRequired[Points | None]
    counted_position: NotRequired[int | None]
    postings: NotRequired[list[PostingAnswer]]
    lots: NotRequired[list[LotTouchedAnswer]]
    failure: NotRequired[str]


AccountExplanation: Any = answer_type("AccountExplanation", {"account": Account, "steps": list[AccountStep], **STEPS})
LotExplanation: Any = answer_type("LotExplanation", {"lot": Lot, "steps": list[AccountStep], **STEPS})


class ClaimAnswer(TypedDict):
    """One claim of the vendor, beside our balance after the same event."""

    line: int
    occurred_at: Time
    kind: str
    position: int | None
    reference: str | None
    claimed: Points
    balance: Points
    drift: Points
    missing: Annotated[Points, Meta(description="Points of the events since the claim before that never arrived.")]


ClaimPage = page_of(ClaimAnswer, **FRESH)


class LapsingLot(TypedDict):
    """A lot of a day of lapses."""

    id: str
    points: Points
    rule: str | None


class AccountLapse(TypedDict):
    """The points of an account that lapse on one day; null for points that never lapse."""

    expires_on: date | None
    lapses_at: Time | None
    points: Points
    lots: list[LapsingLot]


class AccountLapses(Freshness):
    """The available points of an account by the day on which they lapse."""

    account: str
    at: Time
    items: list[AccountLapse]
    next: Cursor


Adjustment: Any = answer_type(
    "Adjustment",
    {
        "id": str,
        "account": str,
        **row_fields(AdjustmentRow, without=("account_id", "adjustment", "reversal_position")),
        "reversal_position": int | None,
    },
    description="A change of a balance by an operator.",
)
AdjustmentPage = page_of(Adjustment, **FRESH)


class AdjustmentResultAnswer(TypedDict):
    """An adjustment or its reversal. `outcome` is `duplicate` if it was made before."""

    id: str
    account: str
    points: Points
    position: RecordedPosition
    outcome: Literal["appended", "duplicate"]
    preview: NotRequired[Previewed]
