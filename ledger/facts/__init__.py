"""The vocabulary: every kind of fact, one file a kind of subject. The list below is all of it."""

from typing import Any

import msgspec

from ledger.facts import (
    accounts,
    adjustments,
    badges,
    bills,
    cards,
    coupons,
    customers,
    holds,
    merges,
    milestones,
    order_items,
    partner_memberships,
    periods,
    promises,
    promotions,
    redemption_records,
    requests,
    reward_redemptions,
    rewards,
    streaks,
    terms,
    tier_memberships,
    tiers,
    transfers,
)
from ledger.facts.fact import Fact, Occurrence, RecordedFact

__all__ = ["FACTS", "Fact", "Occurrence", "RecordedFact", "decode", "encode", "kind_of"]

FACTS: tuple[type[Fact], ...] = (
    *accounts.FACTS,
    *transfers.FACTS,
    *tiers.FACTS,
    *coupons.FACTS,
    *order_items.FACTS,
    *redemption_records.FACTS,
    *merges.FACTS,
    *customers.FACTS,
    *bills.FACTS,
    *cards.FACTS,
    *partner_memberships.FACTS,
    *requests.FACTS,
    *adjustments.FACTS,
    *reward_redemptions.FACTS,
    *rewards.FACTS,
    *milestones.FACTS,
    *streaks.FACTS,
    *badges.FACTS,
    *promotions.FACTS,
    *holds.FACTS,
    *promises.FACTS,
    *tier_memberships.FACTS,
    *periods.FACTS,
    *terms.FACTS,
)

_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[str, Any] = {fact.__name__: msgspec.json.Decoder(fact) for fact in FACTS}


def encode(fact: Fact) -> bytes:
    """Write a fact down as JSON, without what is at its default; points are strings, days and times ISO 8601."""
    return _ENCODER.encode(fact)


def decode(kind: str, body: bytes) -> Fact:
    """Read back what `encode` wrote for a fact of this kind (its class name)."""
    fact: Fact = _DECODERS[kind].decode(body)
    return fact


def kind_of(fact: Fact) -> str:
    """Name the kind of a fact, as the facts table does."""
    return type(fact).__name__
