"""Voucherify's points on loyalty cards: earned, added, removed, spent, refunded, expired, transferred, promised.

Voucherify reports a change by several events (trap 16): a transaction, points added, points rewarded, each for the
voucher and for the customer. They count once, because they have the same `change`:

  | change | key | reported by |
  |---|---|---|
  | points earned | trigger event and earning rule | transactions and points added with both, points rewarded |
  | points spent | redemption r_ | transactions, redemptions, rewards, reward redemptions |
  | points refunded | rollback rr_ | transactions, rollbacks |
  | a promise kept | pending points lopp_ | transactions, pending points activated |
  | anything else | transaction vtx_ | transactions, points added, points expired |

If a transaction has a better key than vtx_, its vtx_ is a second key in `also`. So points added without `details` match
it.

Two cases cannot be matched:

- Points rewarded name no transaction. If points added lack `details`, the two look like two changes.
- Points rewarded when a promise is kept name the trigger, not the promise. No sample shows such an event.

In these cases subscribe to only one of the two events. Otherwise drift appears.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.accounts import (
    Bucket,
    Expired,
    Grant,
    Issued,
    Redeemed,
    RedemptionReversed,
    TransferReceived,
    TransferSent,
    TransferSettled,
)
from ledger.facts.adjustments import Removed
from ledger.facts.promises import PromiseKept
from ledger.facts.transfers import TransferCompleted, TransferInitiated
from ledger.vendors.fields import Day, DetailList, Figure, Id, OptionalId, OptionalPoints, SnakeModel, Text
from ledger.vendors.vendor import EventContext, EventType
from ledger.vendors.voucherify.card import Balance, CardEvent, Reference, Voucher, account_fields, bill_fields
from ledger.vendors.voucherify.orders import Order


class Trigger(SnakeModel):
    """The customer's event that an earning rule rewarded with points."""

    id: OptionalId = None
    type: Text = None


def earning_key(trigger: Trigger | None, earning_rule: Reference | None, context: EventContext) -> str | None:
    """Return the key of earned points: an earning rule gives a card points once for an event. None if either is
    missing.
    """
    if trigger is None or earning_rule is None or trigger.id is None or earning_rule.id is None:
        return None
    return context.ref(f"{trigger.id}~{earning_rule.id}")


class PointsRewardedEvent(CardEvent):
    balance: Balance
    earning_rule: Reference | None = None
    event: Trigger | None = None


def points_rewarded(event: PointsRewardedEvent, context: EventContext) -> list[Fact]:
    """`balance` is the earned points and the card's new balance. The card beside it is out of date (trap 15).

    The expiry day of the points is not reported.
    """
    return [
        Issued(
            **event.account(context),
            **event.bill(),
            grants=_single_grant(event.balance.points),
            claim=event.balance.claim(),
            activity=event.event.type if event.event else None,
            change=earning_key(event.event, event.earning_rule, context),
        )
    ]


def _single_grant(points: Decimal | None, origin: str = "regular") -> tuple[Grant, ...]:
    """Return the lot of the credited points, none for 0. Raises ValueError if the number is missing or negative."""
    if points is None or points < 0:
        raise ValueError("no number of points credited")
    return (Grant(points, origin=origin),) if points else ()


class TransactionDetails(SnakeModel):
    """The cause of a transaction. Each part is present only if it applies."""

    balance: Balance | None = None
    order: Order | None = None
    event: Trigger | None = None
    earning_rule: Reference | None = None
    redemption: Reference | None = None
    rollback: Reference | None = None
    pending_points: Reference | None = None
    source_voucher: Voucher | None = None
    destination_voucher: Voucher | None = None


class BucketPoints(SnakeModel):
    total_points: OptionalPoints = None


class ExpiredBucket(SnakeModel):
    """Points of a card that had the same expiry day. The bucket's id is in no other event."""

    bucket: BucketPoints | None = None
    expires_at: Day = None


class Transaction(SnakeModel):
    id: Id
    type: Text = None
    related_transaction_id: OptionalId = None
    details: TransactionDetails | None = None


class TransactionEvent(CardEvent):
    """An event with a transaction. A part that `details` lacks may be beside the transaction."""

    transaction: Transaction
    balance: Balance | None = None
    event: Trigger | None = None
    earning_rule: Reference | None = None
    redemption: Reference | None = None
    rollback: Reference | None = None
    pending_points: Reference | None = None
    source_voucher: Voucher | None = None
    destination_voucher: Voucher | None = None
    points: Figure = None  # in points expired
    buckets: Annotated[tuple[ExpiredBucket, ...] | None, DetailList] = None  # in points expired

    def part(self, name: str) -> Any:
        """Return a part from beside the transaction. If it is missing or empty there, return it from the details."""
        beside, detail = getattr(self, name), getattr(self.transaction.details, name, None)
        if beside is None or detail is None:
            return detail if beside is None else beside
        return detail if beside == type(beside)() else beside

    def points_moved(self) -> Decimal:
        """Return the number of moved points, never negative; the type gives the direction. Raises ValueError if it is
        missing.
        """
        return abs(self.signed_points())

    def signed_points(self) -> Decimal:
        """Return the points with their sign. Raises ValueError if the number is missing."""
        details = self.transaction.details
        balances = (self.balance, details.balance if details else None)
        stated = (*(balance.points if balance else None for balance in balances), self.points)
        points = next((figure for figure in stated if figure is not None), None)
        if points is None:
            raise ValueError("no number of points moved")
        return points

    def id_of(self, name: str) -> str:
        """Return the id of a part that this type of transaction needs. Raises ValueError if it is missing."""
        part = self.part(name)
        if part is None or part.id is None:
            raise ValueError(f"a transaction without its {name}")
        identifier: str = part.id
        return identifier

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of every fact about the card. The change's key is the transaction."""
        balance: Balance | None = self.part("balance")
        return {
            **self.account(context),
            "claim": balance.claim() if balance else None,
            "change": context.ref(self.transaction.id),
        }

    def renamed_fact_fields(self, change: str, context: EventContext) -> dict[str, Any]:
        """Return the fields of every fact about the card, with a better key of the change."""
        fields = self.fact_fields(context)
        return {**fields, "change": change, "also": (fields["change"],)}

    def bill(self) -> dict[str, Any]:
        return bill_fields(self.part("order"))


def transaction_facts(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Return the facts of a transaction by its type. Raises ValueError for an unknown type."""
    read = FACTS_BY_TYPE.get(event.transaction.type or "")
    if read is None:
        raise ValueError("an unknown type of transaction")
    return read(event, context)


def points_added(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Return the facts of points added. Without a known type, points with an earning rule were earned."""
    read = FACTS_BY_TYPE.get(event.transaction.type or "") or (accrual if event.part("earning_rule") else addition)
    return read(event, context)


def points_expired(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Return the facts of points expired, also if the type of the transaction is not known."""
    return FACTS_BY_TYPE.get(event.transaction.type or "", expiration)(event, context)


def points_activated(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Return the facts of activated points, also if the type of the transaction is not known."""
    return FACTS_BY_TYPE.get(event.transaction.type or "", activation)(event, context)


def accrual(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points were earned by a rule."""
    trigger: Trigger | None = event.part("event")
    fields = event.fact_fields(context)
    earned = earning_key(trigger, event.part("earning_rule"), context)
    if earned is not None:  # points added without the trigger have only the transaction's key
        fields = event.renamed_fact_fields(earned, context)
    activity = trigger.type if trigger else None
    return [Issued(**fields, **event.bill(), grants=_single_grant(event.signed_points()), activity=activity)]


def addition(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """An operator or another system added points."""
    return [Issued(**event.fact_fields(context), **event.bill(), grants=_single_grant(event.signed_points(), "manual"))]


def removal(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """An operator or another system removed points."""
    return [Removed(**event.fact_fields(context), points=event.points_moved())]


def redemption(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points were spent. The redemption is the key. So the event of the reward redemption counts as the same change
    (trap 17).
    """
    name = context.ref(event.id_of("redemption"))
    number = event.bill().get("bill_number") or event.bill().get("bill")
    return [
        Redeemed(
            **event.renamed_fact_fields(name, context), points=event.points_moved(), redemption=name, bill_number=number
        )
    ]


def refund(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """A redemption was rolled back. The rollback is the key."""
    fields = event.renamed_fact_fields(context.ref(event.id_of("rollback")), context)
    return [
        RedemptionReversed(**fields, points=event.points_moved(), redemption=context.ref(event.id_of("redemption")))
    ]


def expiration(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points expired. The buckets state their days. No earlier event names the buckets."""
    buckets = tuple(
        Bucket(expired.bucket.total_points, expired.expires_at)
        for expired in event.buckets or ()
        if expired.bucket and expired.bucket.total_points and expired.bucket.total_points > 0
    )
    return [Expired(**event.fact_fields(context), points=event.points_moved(), buckets=buckets)]


def transfer_out(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points were sent to another card. The related transaction, on the receiving card, names the transfer. Without it,
    the two halves cannot be matched.
    """
    transaction, receiver = event.transaction, event.part("destination_voucher")
    transfer = context.ref(transaction.related_transaction_id or transaction.id)
    to = receiver.card_ref(context) if receiver and receiver.id else None
    fields = event.fact_fields(context)
    return [
        TransferSent(**fields, points=event.points_moved(), transfer=transfer, receiver=to),
        TransferInitiated(
            transfer=transfer,
            points=event.points_moved(),
            programme=fields["programme"],
            sender=fields["holder"],
            receiver=to,
        ),
    ]


def transfer_in(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points arrived from another card, so they are no longer in transit."""
    sender: Voucher | None = event.part("source_voucher")
    transfer = context.ref(event.transaction.id)
    fields = event.fact_fields(context)
    source = sender.card_ref(context) if sender and sender.id else None
    facts: list[Fact] = [
        TransferReceived(**fields, points=event.points_moved(), transfer=transfer, sender=source),
        TransferCompleted(
            transfer=transfer,
            points=event.points_moved(),
            programme=fields["programme"],
            sender=source,
            receiver=fields["holder"],
        ),
    ]
    if sender is not None and source is not None:
        facts.append(
            TransferSettled(
                **account_fields(context, sender, None, None, None),
                points=event.points_moved(),
                transfer=transfer,
                change=fields["change"],
            )
        )
    return facts


def activation(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """All points of a promise became spendable. `balance` is their number."""
    promise = context.ref(event.id_of("pending_points"))
    fields = event.renamed_fact_fields(f"{promise}~kept", context)
    return [PromiseKept(**fields, promise=promise, points=event.points_moved())]


FACTS_BY_TYPE: dict[str, Callable[[TransactionEvent, EventContext], list[Fact]]] = {
    "POINTS_ACCRUAL": accrual,
    "POINTS_ADDITION": addition,
    "POINTS_REMOVAL": removal,
    "POINTS_REDEMPTION": redemption,
    "POINTS_REFUND": refund,
    "POINTS_EXPIRATION": expiration,
    "POINTS_TRANSFER_OUT": transfer_out,
    "POINTS_TRANSFER_IN": transfer_in,
    "PENDING_POINTS_ACTIVATION": activation,
}

KINDS: dict[str, EventType[Any]] = {
    "customer.rewarded.loyalty_points": EventType(PointsRewardedEvent, points_rewarded),
    "voucher.loyalty_card.transaction.created": EventType(TransactionEvent, transaction_facts),
    "voucher.loyalty_card.points_added": EventType(TransactionEvent, points_added),
    "voucher.loyalty_card.points_expired": EventType(TransactionEvent, points_expired),
    "voucher.loyalty_card.pending_points.activated": EventType(TransactionEvent, points_activated),
    "customer.voucher.loyalty_card.points_added": EventType(TransactionEvent, points_added),
    "customer.voucher.loyalty_card.points_expired": EventType(TransactionEvent, points_expired),
    "customer.voucher.loyalty_card.pending_points.activated": EventType(TransactionEvent, points_activated),
}
