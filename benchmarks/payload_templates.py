"""The payloads of each vendor, built from its samples, with their shares: see the table at the end."""

from collections.abc import Callable

from benchmarks.sample_templates import fill_sample
from benchmarks.simulation import CUSTOMER_ID_FIRST, SentDelivery, VendorSimulation

ORG, PROGRAMME = "100458", "838"
WHOLE_POINTS = (5, 10, 20, 25, 40, 50, 60, 75, 100, 120, 150, 200, 250, 300, 500, 1_000)
DECIMAL_SHARE = 0.1  # share of bills that earn a fraction of a point
TRANSFER_DELAY_MAX = 50  # number of deliveries between the two events of a transfer, at most

ENVELOPE = {"orgId": ORG, "refId": f"{ORG}_%(n)s", "createdAt": "%(at)s", "customerId": "%(customer)s"}
EVENT = {**ENVELOPE, "eventId": "%(n)s-e364-4688-b7ed-f6e3324580b3", "apiRequestId": "%(n)s", "timeStamp": "%(at)s"}
LOYALTY = {
    "loyaltyEventId": "L%(n)s",
    "entityId": "%(customer)s",
    "loyaltyProgramId": PROGRAMME,
    "loyaltyProgramDetails.id": PROGRAMME,
}
CLAIM = {"programCurrentPoints": "%(available)s", "programLifetimePoints": "%(lifetime)s"}

ISSUED = fill_sample(
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
REDEEMED = fill_sample(
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
UNREDEEMED = fill_sample(
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
RETURNED = fill_sample(
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
SENT = fill_sample(
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
RECEIVED = fill_sample(
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
EXPIRED = fill_sample(
    "capillary/pointsExpired",
    ENVELOPE | {"eventId": "x-%(n)s", "loyaltyProgramId": PROGRAMME, "pointsExpired": "%(points)s"},
)
BILL = fill_sample(
    "capillary/transactionAdded",
    EVENT | {"transactionId": "%(n)s", "billNumber": "B-%(n)s", "amount": "%(amount)s", "enteredAt": "%(at)s"},
)
TIER = {**ENVELOPE, "eventId": "t-%(n)s", "loyaltyProgramId": PROGRAMME, "tierExpiryDate": "%(day)s"}
UPGRADED = fill_sample(
    "capillary/tierUpgraded", TIER | {"previousTierNumber": "%(from)s", "upgradedTierNumber": "%(to)s"}
)
RENEWED = fill_sample("capillary/tierRenewed", TIER | {"currentTierNumber": "%(to)s"})
DOWNGRADED = fill_sample(
    "capillary/tierDowngraded", TIER | {"previousTierNumber": "%(to)s", "downgradedTierNumber": "%(from)s"}
)
COUPON = fill_sample(
    "capillary/CouponIssue",
    ENVELOPE | {"eventId": "c-%(n)s", "coupons.id": "%(n)s", "code": "C%(n)s", "issued_on": "%(at)s"},
)
COUPON_USED = fill_sample(
    "capillary/CouponRedeem",
    ENVELOPE | {"eventId": "u-%(n)s", "coupon.id": "%(of)s", "redemptionId": "%(n)s", "redemptionDate": "%(at)s"},
)
UPDATED = fill_sample("capillary/customerUpdated", EVENT | {"enteredAt": "%(at)s"})
MERGED = fill_sample(
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
ACCRUED = fill_sample("voucherify/voucher.loyalty_card.transaction.created-accrual", CARD | {"event.id": "ev_%(n)s"})
SPENT = fill_sample(
    "voucherify/voucher.loyalty_card.transaction.created-redemption", CARD | {"redemption.id": "r_%(n)s"}
)
ORDER = {
    "event_id": "%(n)s-ff94-4938-bdba-564dad9c7690",
    "order_item.id": "i-%(of)s",
    "order.id": "o-%(of)s",
    "order.user_id": "user-%(customer)s",
    "created_at": "%(iso)s",
    "order_item.updated_at": "%(iso)s",
    "order_item.points_paid": "%(points)s",
}
FULFILLED = fill_sample("ascenda/order_item.fulfillment.confirmed", ORDER)
FAILED = fill_sample("ascenda/order_item.fulfillment.failed", ORDER)
RECORDED = fill_sample(
    "fabric/offers.redemption.coupon.created",
    {"events.id": "%(n)s-%(member)s", "time": "%(iso)s", "data.id": "%(n)s%(member)s"},
)
RECORDED_HEAD, RECORDED_MEMBER, RECORDED_TAIL = (
    RECORDED[: RECORDED.index("[") + 1],
    RECORDED[RECORDED.index("[") + 1 : RECORDED.rindex("]")],
    RECORDED[RECORDED.rindex("]") :],
)


def issued(simulation: VendorSimulation) -> str:
    customer = simulation.customer()
    points = 1_000 * WHOLE_POINTS[int(16 * simulation.random())]
    if simulation.random() < DECIMAL_SHARE:
        points += int(1_000 * simulation.random())
    simulation.earn(customer, points)
    simulation.add_recent(simulation.issues, customer, points)
    return ISSUED % (
        simulation.fields(customer)
        | simulation.claimed_balances(customer)
        | {"points": points / 1000, "day": simulation.day(365)}
    )


def redeemed(simulation: VendorSimulation) -> str:
    """Spend a part of recently earned points, as far as they remain."""
    _, customer, earned = simulation.draw_recent(simulation.issues)
    points = min(simulation.balances[customer], (int(earned * simulation.random()) // 1_000 + 1) * 1_000)
    if not points:
        return bill(simulation)
    simulation.balances[customer] -= points
    simulation.add_recent(simulation.redemptions, customer, points)
    return REDEEMED % (simulation.fields(customer) | simulation.claimed_balances(customer) | {"points": points / 1000})


def unredeemed(simulation: VendorSimulation) -> str:
    original, customer, points = simulation.draw_recent(simulation.redemptions)
    simulation.balances[customer] += points
    return UNREDEEMED % (
        simulation.fields(customer) | simulation.claimed_balances(customer) | _part(simulation, original, points)
    )


def returned(simulation: VendorSimulation) -> str:
    original, customer, earned = simulation.draw_recent(simulation.issues)
    points = min(simulation.balances[customer], earned)
    if not points:
        return bill(simulation)
    simulation.earn(customer, -points)
    return RETURNED % (
        simulation.fields(customer) | simulation.claimed_balances(customer) | _part(simulation, original, points)
    )


def _part(simulation: VendorSimulation, original: int, points: int) -> dict[str, object]:
    return {"of": f"{simulation.seed}{original:09d}", "points": points / 1000}


def transferred(simulation: VendorSimulation) -> str:
    """Return the sender's event. The receiver's event follows, or comes first."""
    _, customer, earned = simulation.draw_recent(simulation.issues)
    other = simulation.customer()
    points = min(simulation.balances[customer], earned)
    if not points or customer == other:
        return bill(simulation)
    simulation.balances[customer] -= points
    simulation.earn(other, points)
    fields = (
        simulation.fields(customer)
        | simulation.claimed_balances(customer)
        | {"points": points / 1000, "other": CUSTOMER_ID_FIRST + other}
    )
    halves = [SENT % fields, RECEIVED % fields]
    if simulation.random() < 0.2:
        halves.reverse()
    simulation.delay(SentDelivery("capillary", halves[1].encode()), TRANSFER_DELAY_MAX)
    return halves[0]


def expired(simulation: VendorSimulation) -> str:
    _, customer, earned = simulation.draw_recent(simulation.issues)
    points = min(simulation.balances[customer], earned)
    if not points:
        return bill(simulation)
    simulation.balances[customer] -= points
    return EXPIRED % (simulation.fields(customer) | {"points": points / 1000})


def bill(simulation: VendorSimulation) -> str:
    return BILL % (simulation.fields(simulation.customer()) | {"amount": int(500_000 * simulation.random()) / 100})


def tier(simulation: VendorSimulation) -> str:
    level = 1 + int(3 * simulation.random())
    fields = simulation.fields(simulation.customer()) | {"from": level, "to": level + 1, "day": simulation.day(180)}
    return (UPGRADED, RENEWED, DOWNGRADED)[int(3 * simulation.random())] % fields


def coupon(simulation: VendorSimulation) -> str:
    return COUPON % simulation.fields(simulation.customer())


def coupon_used(simulation: VendorSimulation) -> str:
    fields = simulation.fields(simulation.customer())
    return COUPON_USED % (fields | {"of": f"{simulation.seed}{int(simulation.n * simulation.random()):09d}"})


def updated(simulation: VendorSimulation) -> str:
    return UPDATED % simulation.fields(simulation.customer())


def merged(simulation: VendorSimulation) -> str:
    """Merge two customers with few events."""
    customer, other = (int(simulation.customers * (1 + simulation.random()) / 2) for _ in "ab")
    if customer == other:
        return updated(simulation)
    simulation.balances[customer] += simulation.balances[other]
    simulation.lifetimes[customer] += simulation.lifetimes[other]
    simulation.balances[other] = simulation.lifetimes[other] = 0
    return MERGED % (
        simulation.fields(customer) | simulation.claimed_balances(customer) | {"other": CUSTOMER_ID_FIRST + other}
    )


def accrued(simulation: VendorSimulation) -> str:
    return _card(simulation, ACCRUED, 10 * WHOLE_POINTS[int(16 * simulation.random())])


def spent(simulation: VendorSimulation) -> str:
    return _card(simulation, SPENT, -10 * WHOLE_POINTS[int(8 * simulation.random())])


def _card(simulation: VendorSimulation, template: str, points: int) -> str:
    """An event of a loyalty card. Its balance is not simulated; the claim is only plausible."""
    claims = {"points": points, "available": 5_000 + points, "lifetime": 9_000, "iso": simulation.iso()}
    return template % (simulation.fields(simulation.customer()) | claims)


def ordered(simulation: VendorSimulation) -> str:
    fields = simulation.fields(simulation.customer()) | {"of": simulation.n, "points": 1_000, "iso": simulation.iso()}
    return (FAILED if simulation.random() < 0.1 else FULFILLED) % fields


def recorded(simulation: VendorSimulation) -> str:
    """A delivery with one event, or with several."""
    fields = simulation.fields(0) | {"iso": simulation.iso()}
    members = range(1 + (int(5 * simulation.random()) if simulation.random() < 0.2 else 0))
    return RECORDED_HEAD + ", ".join(RECORDED_MEMBER % (fields | {"member": n}) for n in members) + RECORDED_TAIL


KINDS: tuple[tuple[str, Callable[[VendorSimulation], str], float], ...] = (  # (source, template, share)
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
