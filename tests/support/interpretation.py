"""Deliver a body as a vendor would, without a ledger: identify its events and interpret each."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ledger.events import NewEvent, Origin
from ledger.facts import Fact
from ledger.intake.identify import identify
from ledger.intake.interpret import Interpretation, interpret

SAMPLES = Path(__file__).parents[1] / "samples"
RECORDED_AT = datetime(2028, 1, 1, tzinfo=UTC)  # used if a vendor's time is impossible


class Delivered(NamedTuple):
    """One event as it would be stored, and its interpretation."""

    draft: NewEvent
    meaning: Interpretation

    @property
    def facts(self) -> list[Fact]:
        """The facts of the event. The test fails if the event was not recognised."""
        assert self.meaning.status is None, f"{self.meaning.status}: {self.meaning.reason}"
        return [fact for fact, _ in self.meaning.facts]


def deliver(source: str, body: Any, kind: str | None = None) -> list[Delivered]:
    """Deliver bytes, or a document that is encoded first. `kind` is the kind of the connection."""
    payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
    delivery = identify(Origin("ledger", "connection", source, kind, b"mask"), payload)
    stored = delivery.as_stored(RECORDED_AT)
    return [Delivered(new, interpret(event)) for new, event in zip(delivery.events, stored, strict=True)]


def sample(name: str) -> Any:
    """Load a sample, such as "ascenda/order_item.fulfillment.failed", as a document that a test may change."""
    return msgspec.json.decode((SAMPLES / f"{name}.json").read_bytes())
