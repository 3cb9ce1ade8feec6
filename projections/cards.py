"""Cards: status of each card, and the names of its further fields. The latest event counts.

The source names no customer with a card, so the row holds none.
"""

from datetime import datetime
from typing import Annotated

from ledger.facts import Occurrence
from ledger.facts.cards import CardUpdated
from projections.definition import Projection, State, state_as_row
from projections.tables import Position, Table


class Card(State):
    """Loyalty cards and their status."""

    status: str | None = None
    previous_status: str | None = None
    status_since: datetime | None = None
    fields: Annotated[
        list[str], "the names of the fields of the card that the source states; their values are not kept"
    ] = []
    gap: Annotated[bool, "the reported previous status is not ours: an event is missing"] = False
    updated_at: datetime | None = None
    last_position: Position = 0


CARDS_TABLE = Table(
    "cards", Card, {"status": "(ledger_id, status, subject)", "flagged": "(ledger_id, subject) WHERE gap"}
)


def update(card: Card, fact: CardUpdated, occurrence: Occurrence) -> None:
    """The card's status or fields changed. A repeated status keeps its first time."""
    if card.status and fact.previous_status and fact.previous_status != card.status:
        card.gap = True
    if fact.status and fact.status != card.status:
        card.previous_status = fact.previous_status or card.status
        card.status = fact.status
        card.status_since = occurrence.occurred_at
    if fact.fields is not None:
        card.fields = list(fact.fields)
    card.updated_at = occurrence.occurred_at
    card.last_position = max(card.last_position, occurrence.position)


CARDS = Projection(
    name="cards",
    version=2,
    subject="card",
    start=Card,
    on={CardUpdated: update},
    rows=state_as_row(CARDS_TABLE),
    tables=(CARDS_TABLE,),
    customers=(),
)
