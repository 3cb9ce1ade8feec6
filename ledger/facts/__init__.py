"""The vocabulary of facts: each file holds the facts about one kind of subject. `FACTS` lists all of them."""

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
    rewards,
    streaks,
    terms,
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
    *rewards.FACTS,
    *milestones.FACTS,
    *streaks.FACTS,
    *badges.FACTS,
    *promotions.FACTS,
    *holds.FACTS,
    *promises.FACTS,
    *periods.FACTS,
    *terms.FACTS,
)

_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[str, Any] = {fact.__name__: msgspec.json.Decoder(fact) for fact in FACTS}


def encode(fact: Fact) -> bytes:
    """Return a fact as JSON, without default values. Points are strings, days and times ISO 8601."""
    return _ENCODER.encode(fact)


def decode(kind: str, body: bytes) -> Fact:
    """Parse the JSON that `encode` returned. `kind` is the fact's class name."""
    fact: Fact = _DECODERS[kind].decode(body)
    return fact


def kind_of(fact: Fact) -> str:
    """Return the kind of a fact: its class name. The facts table stores it."""
    return type(fact).__name__
