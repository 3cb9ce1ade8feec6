"""Capillary events about Ann, customer 7, unless the data names another customer."""

from typing import Any

from ledger.facts import Fact
from tests.support import capillary_events

ANN = {"customerIdentifiers": {"customerId": 7}}


def facts_of(name: str, data: dict[str, Any], **envelope: Any) -> list[Fact]:
    """Return the facts of an event, which must be recognised."""
    return capillary_events.facts_of(name, {**ANN, **data}, **envelope)


def fact_of(name: str, data: dict[str, Any], **envelope: Any) -> Any:
    """Return the one fact of an event, which must be recognised."""
    return capillary_events.fact_of(name, {**ANN, **data}, **envelope)


def refusal_of(name: str, data: dict[str, Any], **envelope: Any) -> str:
    """Return the reason why an event is not recognised."""
    return capillary_events.refusal_of(name, {**ANN, **data}, **envelope)
