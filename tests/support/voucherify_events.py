"""Voucherify's samples, delivered in their envelope or as the bare data object."""

from typing import Any

from ledger.facts import Fact
from ledger.facts.accounts import AccountFact
from tests.support.interpretation import Delivered, deliver, sample

REWARDED = "customer.rewarded.loyalty_points"
CARD = "voucher.loyalty_card"
CREATED = f"{CARD}.transaction.created"


def deliver_one(document: Any, kind: str | None = None) -> Delivered:
    (delivered,) = deliver("voucherify", document, kind)
    return delivered


def facts(name: str) -> list[Fact]:
    return deliver_one(sample(f"voucherify/{name}")).facts


def account_fact(name: str) -> AccountFact:
    (fact,) = (fact for fact in facts(name) if isinstance(fact, AccountFact))
    return fact


def bare(name: str) -> Any:
    """Return the data object without its envelope."""
    document = sample(f"voucherify/{name}")
    return document.get("data", document)


def enveloped(data: Any, kind: str, **envelope: Any) -> Any:
    document = sample("voucherify/redemption.succeeded")
    document["event"]["type"] = kind
    return {**document, "type": kind, "data": data, **envelope}
