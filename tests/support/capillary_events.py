"""Capillary events in the vendor's flat envelope, and their interpretation."""

from datetime import UTC, datetime
from typing import Any

from ledger.facts import Fact
from ledger.intake.interpret import Interpretation
from tests.support.interpretation import deliver

CREATED_AT = datetime(2024, 5, 17, 12, tzinfo=UTC)
CREATED_AT_MILLISECONDS = int(CREATED_AT.timestamp() * 1000)


def meaning_of(name: str, data: dict[str, Any], **envelope: Any) -> Interpretation:
    """Interpret an event of organisation 1, unless the envelope names another one."""
    default_envelope = {
        "eventName": name,
        "eventId": "e1",
        "orgId": 1,
        "refId": "1_1",
        "createdAt": CREATED_AT_MILLISECONDS,
    }
    (delivered,) = deliver("capillary", {**default_envelope, **envelope, "data": data})
    return delivered.meaning


def facts_of(name: str, data: dict[str, Any], **envelope: Any) -> list[Fact]:
    """Return the facts of an event, which must be recognised."""
    meaning = meaning_of(name, data, **envelope)
    assert meaning.status is None, meaning.reason
    return [fact for fact, _ in meaning.facts]


def fact_of(name: str, data: dict[str, Any], **envelope: Any) -> Any:
    """Return the one fact of an event, which must be recognised."""
    (fact,) = facts_of(name, data, **envelope)
    return fact


def refusal_of(name: str, data: dict[str, Any], **envelope: Any) -> str:
    """Return the reason why an event is not recognised."""
    meaning = meaning_of(name, data, **envelope)
    assert meaning.status == "unrecognised"
    assert not meaning.facts
    return meaning.reason or ""
