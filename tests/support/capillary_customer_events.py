"""Let Capillary say something about Ann, customer 7, unless the data names somebody else."""

from typing import Any

from ledger.facts import Fact
from tests.support import capillary_events

ANN = {"customerIdentifiers": {"customerId": 7}}


def facts_of(name: str, data: dict[str, Any], **envelope: Any) -> list[Fact]:
    """Give the facts of an event that we recognise."""
    return capillary_events.facts_of(name, {**ANN, **data}, **envelope)


def fact_of(name: str, data: dict[str, Any], **envelope: Any) -> Any:
    """Give the one fact of an event that we recognise."""
    return capillary_events.fact_of(name, {**ANN, **data}, **envelope)


def refusal_of(name: str, data: dict[str, Any], **envelope: Any) -> str:
    """Give why we do not recognise an event."""
    return capillary_events.refusal_of(name, {**ANN, **data}, **envelope)
