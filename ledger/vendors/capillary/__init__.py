"""Capillary: its envelopes, and one table of all its events. Deliveries have a secret header of the brand's choice."""

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
    UNUSED_KEYS,
    EnvelopeParser,
    OuterFields,
    unwrap_capture,
)
from ledger.vendors.capillary.pii import PERSONAL
from ledger.vendors.capillary.tiers import describe_programmes
from ledger.vendors.key_repair import RepairRules, field_names
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

REPAIR_RULES = RepairRules(
    known_keys=ENVELOPE_KEYS
    | UNUSED_KEYS
    | field_names([*(event_type.model for event_type in KINDS.values()), points.ConvertedLine]),
    event_aliases=ALIASES,
    known_words=frozenset().union(
        *(ACTIONS, IDENTIFIERS, cards.STATUSES, customers.LOYALTY_TYPES, customers.SOURCES),
        *(partners.PARTNER_TYPES, transactions.BILL_TYPES, transactions.DELIVERY_STATUSES),
    ),
    other_models=(OuterFields, points.ConvertedLine),
)

CAPILLARY = Vendor(
    name="capillary",
    parse_envelope=EnvelopeParser(KINDS, REPAIR_RULES.known_keys),
    kinds=KINDS,
    personal=PERSONAL,
    scheme="header",
    header="x-webhook-secret",
    repair_rules=REPAIR_RULES,
    describe_programmes=describe_programmes,
    unwrapped=unwrap_capture,
)
