"""How each vendor tells each kind of thing, in words made from its own samples, and how often: the table at the end."""

from collections.abc import Callable

from benchmarks.sample_templates import template
from benchmarks.simulation import CUSTOMER_ID_FIRST, Sent, World

ORG, PROGRAMME = "100458", "838"
WHOLE_POINTS = (5, 10, 20, 25, 40, 50, 60, 75, 100, 120, 150, 200, 250, 300, 500, 1_000)
DECIMAL_SHARE = 0.1  # of bills that earn a fraction of a point
ANSWERED = 50  # deliveries until the other half of a transfer arrives, at most

ENVELOPE = {"orgId": ORG, "refId": f"{ORG}_%(n)s", "createdAt": "%(at)s", "customerId": "%(customer)s"}
EVENT = {**ENVELOPE, "eventId": "%(n)s-e364-4688-b7ed-f6e3324580b3", "apiRequestId": "%(n)s", "timeStamp": "%(at)s"}
LOYALTY = {
    "loyaltyEventId": "L%(n)s",
    "entityId": "%(customer)s",
    "loyaltyProgramId": PROGRAMME,
    "loyaltyProgramDetails.id": PROGRAMME,
}
CLAIM = {"programCurrentPoints": "%(available)s", "programLifetimePoints": "%(lifetime)s"}

ISSUED = template(
    "capillary/pointsIssued",
    EVENT
    | LOYALTY
    | CLAIM
    | {
        "BillId.value": "%(n)s",
        "BillLineItemId.value": "%(n)s",
        "billNumber.value": "B-%(n)s",
        "totalPointsIssued": "%(points)s",
        "regularPointsIssued": "%(points)s",
        "points": "%(points)s",
        "expiryAt": "%(day)s",
    },
)
REDEEMED = template(
    "capillary/pointsRedeemed",
    EVENT
    | LOYALTY
    | {
        "redemptionId.value": "R%(n)s",
        "totalPointsRedeemed": "%(points)s",
        "pointsRedeemed": "%(points)s",
        "redeemedPointsCurrencyValue": "%(points)s",
        "redemptionBillNumber": "S-%(n)s",
        "programId": PROGRAMME,
        "programCurrentPoints": "%(available)s",
    },
)
UNREDEEMED = template(
    "capillary/redeemedPointsReversed",
    EVENT
    | LOYALTY
    | {
        "redemptionId.value": "R%(of)s",
        "redeemedPointsReversed": "%(points)s",
        "redeemedPointsReversedDetails.available": "%(points)s",
        "programId": PROGRAMME,
        "programCurrentPoints": "%(available)s",
    },
)
RETURNED = template(
    "capillary/issuedPointsReversed",
    ENVELOPE
    | LOYALTY
    | CLAIM
    | {
        "billId.value": "%(of)s",
        "billNumber.value": "B-%(of)s",
        "totalIssuedPointsReversed": "%(points)s",
        "regularPointsReversed": "%(points)s",
        "currentEventRegularPointsReturned": "%(points)s",
        "currentEventTotalPointsReturned": "%(points)s",
    },
)
SENT = template(
    "capillary/pointsTransferredInitiated",
    EVENT
    | LOYALTY
    | {
        "transferReceivingCustomerIdentifiers.customerId": "%(other)s",
        "transferReceivingEntityInformation.entityId": "%(other)s",
        "totalPointsTransferred": "%(points)s",
        "pointsRedeemed": "%(points)s",
        "programId": PROGRAMME,
        "programCurrentPoints": "%(available)s",
    },
)
RECEIVED = template(
    "capillary/pointsTransferredReceived",
    EVENT
    | LOYALTY
    | {
        "customerId": "%(other)s",
        "entityId": "%(other)s",
        "transferInitiatingCustomerIdentifiers.customerId": "%(customer)s",
        "transferInitiatingEntityInformation.entityId": "%(customer)s",
        "totalPointsTransferred": "%(points)s",
    },
)
EXPIRED = template(
    "capillary/pointsExpired",
    ENVELOPE | {"eventId": "x-%(n)s", "loyaltyProgramId": PROGRAMME, "pointsExpired": "%(points)s"},
)
BILL = template(
    "capillary/transactionAdded",
    EVENT | {"transactionId": "%(n)s", "billNumber": "B-%(n)s", "amount": "%(amount)s", "enteredAt": "%(at)s"},
)
TIER = {**ENVELOPE, "eventId": "t-%(n)s", "loyaltyProgramId": PROGRAMME, "tierExpiryDate": "%(day)s"}
UPGRADED = template("capillary/tierUpgraded", TIER | {"previousTierNumber": "%(from)s", "upgradedTierNumber": "%(to)s"})
RENEWED = template("capillary/tierRenewed", TIER | {"currentTierNumber": "%(to)s"})
DOWNGRADED = template(
    "capillary/tierDowngraded", TIER | {"previousTierNumber": "%(to)s", "downgradedTierNumber": "%(from)s"}
)
COUPON = template(
    "capillary/CouponIssue",
    ENVELOPE | {"eventId": "c-%(n)s", "coupons.id": "%(n)s", "code": "C%(n)s", "issued_on": "%(at)s"},
)
COUPON_USED = template(
    "capillary/CouponRedeem",
    ENVELOPE | {"eventId": "u-%(n)s", "coupon.id": "%(of)s", "redemptionId": "%(n)s", "redemptionDate": "%(at)s"},
)
UPDATED = template("capillary/customerUpdated", EVENT | {"enteredAt": "%(at)s"})
MERGED = template(
    "capillary/loyaltyCustomerMerge",
    {
        "orgId": ORG,
        "refId": f"{ORG}_%(n)s",
        "createdAt": "%(at)s",
        "survivorCustomerIdentifiers.customerId": "%(customer)s",
        "victimCustomerIdentifiers.customerId": "%(other)s",
        "loyaltyProgramId": PROGRAMME,
        "currentPoints": "%(available)s",
        "lifetimePoints": "%(lifetime)s",
    },
)
CARD = {
    "holder.id": "cust_%(customer)s",
    "holder_id": "cust_%(customer)s",
    "voucher.id": "v_%(customer)s",
    "voucher_id": "v_%(customer)s",
    "related_object.id": "v_%(customer)s",
    "transaction.created_at": "%(iso)s",
    "event.created_at": "%(iso)s",
    "transaction.id": "vtx_%(n)s",
    "order.id": "ord_%(n)s",
    "balance.points": "%(points)s",
    "balance.balance": "%(available)s",
    "balance.total": "%(lifetime)s",
}
ACCRUED = template("voucherify/voucher.loyalty_card.transaction.created-accrual", CARD | {"event.id": "ev_%(n)s"})
SPENT = template("voucherify/voucher.loyalty_card.transaction.created-redemption", CARD | {"redemption.id": "r_%(n)s"})
ORDER = {
    "event_id": "%(n)s-ff94-4938-bdba-564dad9c7690",
    "order_item.id": "i-%(of)s",
    "order.id": "o-%(of)s",
    "order.user_id": "user-%(customer)s",
    "created_at": "%(iso)s",
    "order_item.updated_at": "%(iso)s",
    "order_item.points_paid": "%(points)s",
}
FULFILLED = template("ascenda/order_item.fulfillment.confirmed", ORDER)
FAILED = template("ascenda/order_item.fulfillment.failed", ORDER)
RECORDED = template(
    "fabric/offers.redemption.coupon.created",
    {"events.id": "%(n)s-%(member)s", "time": "%(iso)s", "data.id": "%(n)s%(member)s"},
)
RECORDED_HEAD, RECORDED_MEMBER, RECORDED_TAIL = (
    RECORDED[: RECORDED.index("[") + 1],
    RECORDED[RECORDED.index("[") + 1 : RECORDED.rindex("]")],
    RECORDED[RECORDED.rindex("]") :],
)


def issued(world: World) -> str:
    customer = world.customer()
    points = 1_000 * WHOLE_POINTS[int(16 * world.random())]
    if world.random() < DECIMAL_SHARE:
        points += int(1_000 * world.random())
    world.earn(customer, points)
    world.remember(world.issues, customer, points)
    return ISSUED % (world.fields(customer) | world.claims(customer) | {"points": points / 1000, "day": world.day(365)})


def redeemed(world: World) -> str:
    """Spend some of what was earned lately, as far as it is still there."""
    _, customer, earned = world.recall(world.issues)
    points = min(world.balances[customer], (int(earned * world.random()) // 1_000 + 1) * 1_000)
    if not points:
        return bill(world)
    world.balances[customer] -= points
    world.remember(world.redemptions, customer, points)
    return REDEEMED % (world.fields(customer) | world.claims(customer) | {"points": points / 1000})


def unredeemed(world: World) -> str:
    of, customer, points = world.recall(world.redemptions)
    world.balances[customer] += points
    return UNREDEEMED % (world.fields(customer) | world.claims(customer) | _part(world, of, points))


def returned(world: World) -> str:
    of, customer, earned = world.recall(world.issues)
    points = min(world.balances[customer], earned)
    if not points:
        return bill(world)
    world.earn(customer, -points)
    return RETURNED % (world.fields(customer) | world.claims(customer) | _part(world, of, points))


def _part(world: World, of: int, points: int) -> dict[str, object]:
    return {"of": f"{world.seed}{of:09d}", "points": points / 1000}


def transferred(world: World) -> str:
    """Tell the sender's half; the receiver's half follows, unless it comes first."""
    _, customer, earned = world.recall(world.issues)
    other = world.customer()
    points = min(world.balances[customer], earned)
    if not points or customer == other:
        return bill(world)
    world.balances[customer] -= points
    world.earn(other, points)
    fields = (
        world.fields(customer) | world.claims(customer) | {"points": points / 1000, "other": CUSTOMER_ID_FIRST + other}
    )
    halves = [SENT % fields, RECEIVED % fields]
    if world.random() < 0.2:
        halves.reverse()
    world.hold(Sent("capillary", halves[1].encode()), ANSWERED)
    return halves[0]


def expired(world: World) -> str:
    _, customer, earned = world.recall(world.issues)
    points = min(world.balances[customer], earned)
    if not points:
        return bill(world)
    world.balances[customer] -= points
    return EXPIRED % (world.fields(customer) | {"points": points / 1000})


def bill(world: World) -> str:
    return BILL % (world.fields(world.customer()) | {"amount": int(500_000 * world.random()) / 100})


def tier(world: World) -> str:
    level = 1 + int(3 * world.random())
    fields = world.fields(world.customer()) | {"from": level, "to": level + 1, "day": world.day(180)}
    return (UPGRADED, RENEWED, DOWNGRADED)[int(3 * world.random())] % fields


def coupon(world: World) -> str:
    return COUPON % world.fields(world.customer())


def coupon_used(world: World) -> str:
    fields = world.fields(world.customer())
    return COUPON_USED % (fields | {"of": f"{world.seed}{int(world.n * world.random()):09d}"})


def updated(world: World) -> str:
    return UPDATED % world.fields(world.customer())


def merged(world: World) -> str:
    """Merge two customers who seldom appear."""
    customer, other = (int(world.customers * (1 + world.random()) / 2) for _ in "ab")
    if customer == other:
        return updated(world)
    world.balances[customer] += world.balances[other]
    world.lifetimes[customer] += world.lifetimes[other]
    world.balances[other] = world.lifetimes[other] = 0
    return MERGED % (world.fields(customer) | world.claims(customer) | {"other": CUSTOMER_ID_FIRST + other})


def accrued(world: World) -> str:
    return _card(world, ACCRUED, 10 * WHOLE_POINTS[int(16 * world.random())])


def spent(world: World) -> str:
    return _card(world, SPENT, -10 * WHOLE_POINTS[int(8 * world.random())])


def _card(world: World, saying: str, points: int) -> str:
    """A loyalty card belongs to a customer of its own kind: its balance is not kept, but claimed as plausible."""
    claims = {"points": points, "available": 5_000 + points, "lifetime": 9_000, "iso": world.iso()}
    return saying % (world.fields(world.customer()) | claims)


def ordered(world: World) -> str:
    fields = world.fields(world.customer()) | {"of": world.n, "points": 1_000, "iso": world.iso()}
    return (FAILED if world.random() < 0.1 else FULFILLED) % fields


def recorded(world: World) -> str:
    """One delivery holds one event, or several."""
    fields = world.fields(0) | {"iso": world.iso()}
    members = range(1 + (int(5 * world.random()) if world.random() < 0.2 else 0))
    return RECORDED_HEAD + ", ".join(RECORDED_MEMBER % (fields | {"member": n}) for n in members) + RECORDED_TAIL


KINDS: tuple[tuple[str, Callable[[World], str], float], ...] = (  # (source, how it is told, share)
    ("capillary", issued, 0.3200),
    ("capillary", bill, 0.2400),
    ("capillary", redeemed, 0.0900),
    ("capillary", returned, 0.0250),
    ("capillary", unredeemed, 0.0100),
    ("capillary", transferred, 0.0100),
    ("capillary", expired, 0.0050),
    ("capillary", coupon, 0.0300),
    ("capillary", coupon_used, 0.0150),
    ("capillary", tier, 0.0150),
    ("capillary", updated, 0.0198),
    ("capillary", merged, 0.0002),
    ("voucherify", accrued, 0.1000),
    ("voucherify", spent, 0.0400),
    ("ascenda", ordered, 0.0500),
    ("fabric", recorded, 0.0300),
)
SOURCES = tuple(dict.fromkeys(source for source, _, _ in KINDS))
