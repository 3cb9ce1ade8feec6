"""The types of messages: the meaning, the data and an example of each. The OpenAPI document publishes this table."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from msgspec import Meta

from service.outgoing.messages import CHANGES, FACTS, RETRACTIONS, sequence_of

FACT_RECORDED = "fact.recorded"
FACT_RETRACTED = "fact.retracted"
BALANCE_CHANGED = "balance.changed"
TIER_CHANGED = "tier.changed"
ORDER_ITEM_FAILED = "order_item.failed"
POINTS_WILL_LAPSE = "points.will_lapse"
COUPON_WILL_EXPIRE = "coupon.will_expire"
RECONCILIATION_OPENED = "reconciliation.opened"
RECONCILIATION_CLOSED = "reconciliation.closed"
ENDPOINT_TEST = "endpoint.test"

MessagePoints = Annotated[Decimal, Meta(description="Exact points in plain notation.")]
MessageTime = Annotated[datetime, Meta(tz=True)]
MessagePosition = Annotated[int, Meta(ge=1, description="The position of the event in the ledger.")]


class FactData(TypedDict):
    """A fact, as `GET /v1/facts` lists it, without its event."""

    position: MessagePosition
    ordinal: Annotated[int, Meta(ge=0, description="The number of the fact within its event.")]
    fact: Annotated[str, Meta(description="The kind of the fact.")]
    subject_kind: str
    subject: str
    occurred_at: MessageTime
    untimed: Annotated[bool, Meta(description="True if the recorded time stands for a time that the vendor left out.")]
    restored_by: NotRequired[
        Annotated[int, Meta(ge=1, description="The position of a policy that lets a fact of an earlier event count.")]
    ]
    correction: NotRequired[Annotated[bool, Meta(description="True for a difference that a promotion has uncovered.")]]
    fields: Annotated[dict[str, Any], Meta(description="The fields of the fact; points are strings.")]


class RetractedFactData(FactData):
    """A fact that is no longer folded."""

    retracted_by: NotRequired[
        Annotated[int, Meta(ge=1, description="The position of the event that took it back. A correction has none.")]
    ]


class BalanceChangedData(TypedDict):
    """The available points of an account before and after an event."""

    position: MessagePosition
    account: str
    holder: str
    customer: str
    programme: str
    unit: str
    before: MessagePoints
    after: MessagePoints
    reason: Annotated[str, Meta(description="The kind of the fact that changed it, `retracted`, or `correction`.")]


class TierChangedData(TypedDict):
    """The tier of a membership before and after an event; null without a tier."""

    position: MessagePosition
    customer: str | None
    programme: str | None
    before: str | None
    after: str | None
    tier_name: str | None
    since: MessageTime | None
    until: date | None
    reason: Annotated[str, Meta(description="The kind of the fact that changed it, `retracted`, or `correction`.")]


class OrderItemFailedData(TypedDict):
    """An order item that did not arrive, and the points due to the customer."""

    position: MessagePosition
    customer: str | None
    order: str | None
    status: Annotated[str, Meta(description="failed or cancelled")]
    points_paid: MessagePoints
    refund_due: MessagePoints


class PointsWillLapseData(TypedDict):
    """The points of a lot that will lapse if they are not used."""

    account: str
    lot: str
    programme: Annotated[str, Meta(description="source:org:programme")]
    unit: str
    points: MessagePoints
    expires_on: date
    lapses_at: MessageTime
    notice_days: int


class CouponWillExpireData(TypedDict):
    """A coupon that can be redeemed and will expire."""

    coupon: str
    customer: str | None
    series: str | None
    status: str
    redemptions_left: int | None
    expires_at: MessageTime
    notice_days: int


class MatterOpenedData(TypedDict):
    """An open matter, as the list of `/v1/reconciliation/{list}` shows it."""

    list: str
    item: str
    points: MessagePoints | None
    unit: str | None
    position: int | None
    since: MessageTime | None
    cause: str


class MatterClosedData(TypedDict):
    """A matter that is no longer in its list."""

    list: str
    item: str


class TestData(TypedDict):
    """The data of a test."""

    endpoint: str


class MessageType(NamedTuple):
    """One type of messages. `example` is the data of one."""

    name: str
    summary: str
    description: str
    data: Any
    example: Mapping[str, Any]
    example_id: str
    example_subject: str
    example_sequence: str | None = None  # None for notices and tests, which the clock or an operator causes


EXAMPLE_FACT: Mapping[str, Any] = {
    "position": 17,
    "ordinal": 0,
    "fact": "Issued",
    "subject_kind": "account",
    "subject": "capillary:9001:87884897",
    "occurred_at": "2026-03-01T09:30:00Z",
    "untimed": False,
    "fields": {
        "holder": "capillary:9001:87884897",
        "programme": "838",
        "grants": [{"points": "120", "expires_on": "2027-03-31"}],
    },
}

MESSAGE_TYPES: Mapping[str, MessageType] = {
    one.name: one
    for one in (
        MessageType(
            FACT_RECORDED,
            "A fact was recorded",
            "Each fact of each event, in the order of the ledger. The id is `position/ordinal`. `kinds` of an endpoint "
            "selects kinds of facts.",
            FactData,
            EXAMPLE_FACT,
            "17/0",
            "account/capillary:9001:87884897",
            sequence_of(17, FACTS, 0),
        ),
        MessageType(
            FACT_RETRACTED,
            "A fact was taken back",
            "An event with the same key and other content won, or a policy changed. The fact counts no longer.",
            RetractedFactData,
            {**EXAMPLE_FACT, "retracted_by": 23},
            "23/fact.retracted/17/0",
            "account/capillary:9001:87884897",
            sequence_of(23, RETRACTIONS, 1),
        ),
        MessageType(
            BALANCE_CHANGED,
            "A balance changed",
            "The available points of an account as known before an event and after it. Lapses are arithmetic on days "
            "and change no balance by an event. A late event is announced with the balance that it changes now.",
            BalanceChangedData,
            {
                "position": 17,
                "account": "capillary:9001:87884897:838:points",
                "holder": "capillary:9001:87884897",
                "customer": "capillary:9001:87884897",
                "programme": "838",
                "unit": "points",
                "before": "100",
                "after": "220",
                "reason": "Issued",
            },
            "17/balance.changed/capillary:9001:87884897:838:points",
            "account/capillary:9001:87884897:838:points",
            sequence_of(17, CHANGES, 0),
        ),
        MessageType(
            TIER_CHANGED,
            "A tier changed",
            "The tier of a membership as known before an event and after it.",
            TierChangedData,
            {
                "position": 18,
                "customer": "capillary:9001:87884897",
                "programme": "838",
                "before": "1",
                "after": "2",
                "tier_name": "Gold",
                "since": "2026-03-01T09:30:00Z",
                "until": "2027-02-28",
                "reason": "TierUpgraded",
            },
            "18/tier.changed/capillary:9001:87884897:838",
            "membership/capillary:9001:87884897:838",
            sequence_of(18, CHANGES, 30_000),
        ),
        MessageType(
            ORDER_ITEM_FAILED,
            "Points of an order item are due",
            "An item paid with points failed or was cancelled, and points became due to the customer.",
            OrderItemFailedData,
            {
                "position": 19,
                "customer": "ascenda:-:c-1",
                "order": "ascenda:-:o-1",
                "status": "failed",
                "points_paid": "500",
                "refund_due": "500",
            },
            "19/order_item.failed/ascenda:-:i-1",
            "order_item/ascenda:-:i-1",
            sequence_of(19, CHANGES, 60_000),
        ),
        MessageType(
            POINTS_WILL_LAPSE,
            "Points will lapse",
            "Sent once for each lot and day of its lapse, as soon as the day is `notice_days` away or less. The clock "
            "causes it, so it has no sequence.",
            PointsWillLapseData,
            {
                "account": "capillary:9001:87884897:838:points",
                "lot": "1-0",
                "programme": "capillary:9001:838",
                "unit": "points",
                "points": "120",
                "expires_on": "2026-03-31",
                "lapses_at": "2026-04-01T00:00:00Z",
                "notice_days": 30,
            },
            "points.will_lapse/30/capillary:9001:87884897:838:points/1-0/2026-03-31/1775001600",
            "account/capillary:9001:87884897:838:points",
        ),
        MessageType(
            COUPON_WILL_EXPIRE,
            "A coupon will expire",
            "Sent once for each coupon and end of its validity, while it can be redeemed. It has no sequence.",
            CouponWillExpireData,
            {
                "coupon": "capillary:9001:77",
                "customer": "capillary:9001:87884897",
                "series": "12",
                "status": "issued",
                "redemptions_left": 1,
                "expires_at": "2026-03-31T23:59:59.000001Z",
                "notice_days": 30,
            },
            "coupon.will_expire/30/capillary:9001:77/2026-03-31 23:59:59+00",
            "coupon/capillary:9001:77",
        ),
        MessageType(
            RECONCILIATION_OPENED,
            "A matter is open",
            "A matter entered a list of open matters. Lists are compared every few minutes. It has no sequence.",
            MatterOpenedData,
            {
                "list": "drift",
                "item": "capillary:9001:87884897:838:points",
                "points": "20",
                "unit": "points",
                "position": 17,
                "since": "2026-03-01T09:30:00Z",
                "cause": "an event is missing",
            },
            "reconciliation.opened/drift/capillary:9001:87884897:838:points/17",
            "reconciliation/drift/capillary:9001:87884897:838:points",
        ),
        MessageType(
            RECONCILIATION_CLOSED,
            "A matter is closed",
            "A matter that was announced as open left its list. It has no sequence.",
            MatterClosedData,
            {"list": "drift", "item": "capillary:9001:87884897:838:points"},
            "reconciliation.closed/drift/capillary:9001:87884897:838:points/23",
            "reconciliation/drift/capillary:9001:87884897:838:points",
        ),
        MessageType(
            ENDPOINT_TEST,
            "A test of the endpoint",
            "Sent when an operator asks for a test. It has no sequence, and means nothing else.",
            TestData,
            {"endpoint": "ep_0123456789abcdef01234567"},
            "test/1772357400000000",
            "ep_0123456789abcdef01234567",
        ),
    )
}
FEED_TYPES = (FACT_RECORDED, FACT_RETRACTED, BALANCE_CHANGED, TIER_CHANGED, ORDER_ITEM_FAILED)  # with a sequence
SUBSCRIBED_TYPES = frozenset(MESSAGE_TYPES) - {ENDPOINT_TEST}  # that an endpoint may ask for
