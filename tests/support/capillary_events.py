"""Let Capillary say something, in its flat envelope, and give what we make of it."""

from datetime import UTC, datetime
from typing import Any

from ledger.facts import Fact
from ledger.intake.interpret import Interpretation
from tests.support.interpretation import deliver

SAID_AT = datetime(2024, 5, 17, 12, tzinfo=UTC)
SAID_AT_MILLISECONDS = int(SAID_AT.timestamp() * 1000)


def meaning_of(name: str, data: dict[str, Any], **envelope: Any) -> Interpretation:
    """Give what an event means, said by organisation 1 unless the envelope says otherwise."""
    around = {"eventName": name, "eventId": "e1", "orgId": 1, "refId": "1_1", "createdAt": SAID_AT_MILLISECONDS}
    (delivered,) = deliver("capillary", {**around, **envelope, "data": data})
    return delivered.meaning


def facts_of(name: str, data: dict[str, Any], **envelope: Any) -> list[Fact]:
    """Give the facts of an event that we recognise."""
    meaning = meaning_of(name, data, **envelope)
    assert meaning.status is None, meaning.reason
    return [fact for fact, _ in meaning.facts]


def fact_of(name: str, data: dict[str, Any], **envelope: Any) -> Any:
    """Give the one fact of an event that we recognise."""
    (fact,) = facts_of(name, data, **envelope)
    return fact


def refusal_of(name: str, data: dict[str, Any], **envelope: Any) -> str:
    """Give why we do not recognise an event."""
    meaning = meaning_of(name, data, **envelope)
    assert meaning.status == "unrecognised"
    assert not meaning.facts
    return meaning.reason or ""
