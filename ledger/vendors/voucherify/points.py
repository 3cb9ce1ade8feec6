"""Voucherify's points on loyalty cards: earned, added, removed, spent, refunded, lapsed, transferred, promised.

Voucherify tells one change by several events (trap 16): a transaction, points added, points rewarded, each about the
voucher and again about the customer. They count once because they name the same `change`:

| change | named by | told by |
|---|---|---|
| points earned | trigger event and earning rule | transactions and points added that give both, points rewarded |
| points spent | redemption r_ | transactions, redemptions, rewards, reward redemptions |
| points refunded | rollback rr_ | transactions, rollbacks |
| a promise kept | pending points lopp_ | transactions, pending points activated |
| anything else | transaction vtx_ | transactions, points added, points expired |

A transaction that has a better name keeps its vtx_ as a second one: so points added that leave out `details` are found
to be the same.

What cannot be matched: points rewarded name no transaction, so points added with a transaction that leaves out its
`details` cannot be fields from them; and points rewarded at the moment a promise is kept, should Voucherify ever send
that, name the trigger instead of the promise. Subscribe to one of the two then; drift will say so otherwise.
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
from ledger.vendors.voucherify.card import Balance, CardEvent, Order, Reference, Voucher, account_fields, bill_fields


class Trigger(SnakeModel):
    """The customer's event that made an earning rule give points."""

    id: OptionalId = None
    type: Text = None


def earning_key(trigger: Trigger | None, earning_rule: Reference | None, context: EventContext) -> str | None:
    """Name points earned: an earning rule gives a card points once for one event. None where either is not fields."""
    if trigger is None or earning_rule is None or trigger.id is None or earning_rule.id is None:
        return None
    return context.ref(f"{trigger.id}~{earning_rule.id}")


class PointsRewardedEvent(CardEvent):
    balance: Balance
    earning_rule: Reference | None = None
    event: Trigger | None = None


def points_rewarded(event: PointsRewardedEvent, context: EventContext) -> list[Fact]:
    """`balance` says what was earned and what the card holds now; the card beside it is stale (trap 15). The day the
    points will lapse is not fields."""
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
    """Make the one lot of points that were credited. Raises ValueError if nothing says how many, or if they are
    fewer than none."""
    if points is None or points < 0:
        raise ValueError("no number of points credited")
    return (Grant(points, origin=origin),) if points else ()


class TransactionDetails(SnakeModel):
    """What stands behind a transaction; each part only where it applies."""

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
    """Points of one card that were to lapse on one day; its id is in no other event."""

    bucket: BucketPoints | None = None
    expires_at: Day = None


class Transaction(SnakeModel):
    id: Id
    type: Text = None
    related_transaction_id: OptionalId = None
    details: TransactionDetails | None = None


class TransactionEvent(CardEvent):
    """An event that tells of a transaction. What its `details` leave out may stand beside it."""

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
        """Find a part beside the transaction or in its details."""
        return getattr(self, name) or getattr(self.transaction.details, name, None)

    def points_moved(self) -> Decimal:
        """Give how many points were moved; their sign follows from the type. Raises ValueError if nothing says how
        many."""
        return abs(self.signed_points())

    def signed_points(self) -> Decimal:
        """Give the points with their sign."""
        balance: Balance | None = self.part("balance")
        points = self.points if balance is None or balance.points is None else balance.points
        if points is None:
            raise ValueError("no number of points moved")
        return points

    def id_of(self, name: str) -> str:
        """Give the id of a part without which this type of transaction means nothing. Raises ValueError without it."""
        part = self.part(name)
        if part is None or part.id is None:
            raise ValueError(f"a transaction without its {name}")
        identifier: str = part.id
        return identifier

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        """Give the fields that every fact about the card has; the transaction names the change, until a type knows of
        a better name."""
        balance: Balance | None = self.part("balance")
        return {
            **self.account(context),
            "claim": balance.claim() if balance else None,
            "change": context.ref(self.transaction.id),
        }

    def renamed_fact_fields(self, change: str, context: EventContext) -> dict[str, Any]:
        """Return the fields that every fact about the card has, under a better name of the change."""
        fields = self.fact_fields(context)
        return {**fields, "change": change, "also": (fields["change"],)}

    def bill(self) -> dict[str, Any]:
        return bill_fields(self.part("order"))


def transaction_facts(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Read a transaction by its type. Raises ValueError for a type that is not in TYPES."""
    read = FACTS_BY_TYPE.get(event.transaction.type or "")
    if read is None:
        raise ValueError("a type of transaction that we do not know")
    return read(event, context)


def accrual(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points were earned by a rule."""
    trigger: Trigger | None = event.part("event")
    fields = event.fact_fields(context)
    earned = earning_key(trigger, event.part("earning_rule"), context)
    if earned is not None:  # points added that leave out the trigger name the transaction alone
        fields = event.renamed_fact_fields(earned, context)
    activity = trigger.type if trigger else None
    return [Issued(**fields, **event.bill(), grants=_single_grant(event.signed_points()), activity=activity)]


def addition(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """An operator or another system added points."""
    return [Issued(**event.fact_fields(context), **event.bill(), grants=_single_grant(event.signed_points(), "manual"))]


def removal(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """An operator or another system took points away."""
    return [Removed(**event.fact_fields(context), points=event.points_moved())]


def redemption(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points were spent; the redemption names the change, so that a reward redemption fields before this is replaced,
    not added to (trap 17)."""
    name = context.ref(event.id_of("redemption"))
    number = event.bill().get("bill_number") or event.bill().get("bill")
    return [
        Redeemed(
            **event.renamed_fact_fields(name, context), points=event.points_moved(), redemption=name, bill_number=number
        )
    ]


def refund(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """A redemption was rolled back; the rollback names the change."""
    fields = event.renamed_fact_fields(context.ref(event.id_of("rollback")), context)
    return [
        RedemptionReversed(**fields, points=event.points_moved(), redemption=context.ref(event.id_of("redemption")))
    ]


def expiration(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points lapsed. The buckets say on which days, but were never named when the points were credited."""
    buckets = tuple(
        Bucket(expired.bucket.total_points, expired.expires_at)
        for expired in event.buckets or ()
        if expired.bucket and expired.bucket.total_points and expired.bucket.total_points > 0
    )
    return [Expired(**event.fact_fields(context), points=event.points_moved(), buckets=buckets)]


def transfer_out(event: TransactionEvent, context: EventContext) -> list[Fact]:
    """Points went to another card. The transaction on the receiving card, which this one names as related, names the
    transfer; where it does not, the halves cannot be matched."""
    transaction, receiver = event.transaction, event.part("destination_voucher")
    transfer = context.ref(transaction.related_transaction_id or transaction.id)
    to = receiver.card_ref(context) if receiver else None
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
    """Points came from another card, and so are no longer on their way from there."""
    sender: Voucher | None = event.part("source_voucher")
    transfer = context.ref(event.transaction.id)
    fields = event.fact_fields(context)
    source = sender.card_ref(context) if sender else None
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
    if sender is not None:
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
    """Promised points became spendable: all that were promised under that name, as `balance` says."""
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
    "voucher.loyalty_card.points_added": EventType(TransactionEvent, transaction_facts),
    "voucher.loyalty_card.points_expired": EventType(TransactionEvent, transaction_facts),
    "voucher.loyalty_card.pending_points.activated": EventType(TransactionEvent, transaction_facts),
    "customer.voucher.loyalty_card.points_added": EventType(TransactionEvent, transaction_facts),
    "customer.voucher.loyalty_card.points_expired": EventType(TransactionEvent, transaction_facts),
    "customer.voucher.loyalty_card.pending_points.activated": EventType(TransactionEvent, transaction_facts),
}
