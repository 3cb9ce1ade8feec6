"""Invariants 2 and 3: a call with any mixture of new, known and conflicting keys appends as calls one by one do."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.events import Delivery, NewEvent
from ledger.store.append import append
from ledger.store.registry import create_ledger
from tests.support.payloads import VAULT

KEYS, CONTENTS = [bytes([n]) * 16 for n in range(1, 9)], [bytes([n]) * 16 for n in range(101, 104)]
STORED = """
    SELECT position, event_key, content, delivery_position, ordinal, payload FROM ledger.events WHERE ledger_id = $1
     ORDER BY position
"""
deliveries_of_events = st.lists(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(CONTENTS)), min_size=1, max_size=4), max_size=8
)


class StoredRow(NamedTuple):
    position: int
    event_key: bytes
    content: bytes
    delivery_position: int
    ordinal: int
    payload: bytes | None


class ReferenceLedger:
    """A ledger that appends one event after the other."""

    def __init__(self) -> None:
        self.rows: list[StoredRow] = []
        self._by_key: dict[bytes, StoredRow] = {}

    def append(self, delivery: Delivery) -> list[tuple[int, str]]:
        """Append the events of a delivery. Its body stands with its first new event."""
        results, body_position = [], 0
        for event in delivery.events:
            first = self._by_key.get(event.event_key)
            in_conflict = first is not None and first.content != event.content
            stored_key = event.event_key + event.content if in_conflict else event.event_key
            if (stored := self._by_key.get(stored_key)) is not None:
                results.append((stored.position, "duplicate"))
                continue
            position = len(self.rows) + 1
            payload = None if body_position else delivery.payload
            body_position = body_position or position
            row = StoredRow(position, stored_key, event.content, body_position, event.ordinal, payload)
            self.rows.append(row)
            self._by_key[stored_key] = row
            results.append((position, "conflict" if in_conflict else "appended"))
        return results


def delivery_of(number: int, events: list[tuple[bytes, bytes]]) -> Delivery:
    return Delivery(
        b"body %d" % number,
        [
            NewEvent("connection", "capillary", "9001", "kind", key, content, None, ordinal, "{", '"x":1}')
            for ordinal, (key, content) in enumerate(events)
        ],
        [],
    )


@settings(max_examples=30)
@given(calls=st.lists(deliveries_of_events, min_size=1, max_size=4))
async def test_any_mixture_of_known_and_new_keys_is_appended_as_if_one_by_one(
    connection: Connection, calls: list[list[list[tuple[bytes, bytes]]]]
) -> None:
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    ledger = await create_ledger(connection, f"ledger-{number}")
    reference = ReferenceLedger()

    for call in calls:
        deliveries = [delivery_of(n, events) for n, events in enumerate(call)]
        appended = await append(connection, VAULT, ledger.ledger_id, deliveries)

        assert appended == [reference.append(delivery) for delivery in deliveries]
    assert [tuple(row) for row in await connection.fetch(STORED, ledger.ledger_id)] == reference.rows
