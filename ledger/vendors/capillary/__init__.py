"""Capillary: its envelopes, and one table of all its events. Deliveries carry a secret header of the brand's choice."""

from typing import Any

from ledger.vendors.capillary import (
    adjustments,
    badges,
    cards,
    coupons,
    currencies,
    customers,
    merges,
    partners,
    points,
    promotions,
    redemptions,
    requests,
    rewards,
    streaks,
    targets,
    tiers,
    transactions,
    transfers,
)
from ledger.vendors.capillary.envelope import (
    ACTIONS,
    ALIASES,
    ENVELOPE_KEYS,
    IDENTIFIERS,
    UNREAD_KEYS,
    Around,
    EnvelopeParser,
    unwrapped,
)
from ledger.vendors.capillary.pii import PERSONAL
from ledger.vendors.key_repair import RepairRules, vocabulary
from ledger.vendors.vendor import EventType, Vendor

KINDS: dict[str, EventType[Any]] = {
    **points.KINDS,
    **redemptions.KINDS,
    **transfers.KINDS,
    **coupons.KINDS,
    **tiers.KINDS,
    **customers.KINDS,
    **merges.KINDS,
    **transactions.KINDS,
    **requests.KINDS,
    **cards.KINDS,
    **partners.KINDS,
    **rewards.KINDS,
    **targets.KINDS,
    **streaks.KINDS,
    **badges.KINDS,
    **promotions.KINDS,
    **currencies.KINDS,
    **adjustments.KINDS,
}

DAMAGE = RepairRules(
    vocabulary=ENVELOPE_KEYS | UNREAD_KEYS | vocabulary([*(kind.shape for kind in KINDS.values()), points.Converted]),
    aliases=ALIASES,
    words=frozenset().union(
        *(ACTIONS, IDENTIFIERS, cards.STATUSES, customers.LOYALTY_TYPES, customers.SOURCES),
        *(partners.PARTNER_TYPES, transactions.BILL_TYPES, transactions.DELIVERY_STATUSES),
    ),
    shapes=(Around, points.Converted),
)

CAPILLARY = Vendor(
    name="capillary",
    open=EnvelopeParser(KINDS, DAMAGE.vocabulary),
    kinds=KINDS,
    personal=PERSONAL,
    scheme="header",
    header="x-webhook-secret",
    damage=DAMAGE,
    unwrapped=unwrapped,
)
