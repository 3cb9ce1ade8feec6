"""The file that answers a person's request for access (GDPR, Article 15): all rows and all deliveries about a customer.

Personal values of the customer are decrypted. Values of other persons in the same deliveries keep their markers. The
caller records the look first.
"""

from typing import Any

from ledger import clock
from ledger.intake.identify import UNREADABLE
from ledger.privacy.vault import Vault
from ledger.store.read import event_at, event_headers_after
from projections.registry import PROJECTIONS
from service.formatting import payload_json
from service.operations.erase import merged_customers
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.customers import load_customer
from service.queries.subjects import subjects_of_customer

EVENTS_MAX = 20_000

# Facts about the customer's subjects, and deliveries that hold the customer's personal values.
POSITIONS_OF_FACTS = """
    SELECT DISTINCT position FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)
"""
POSITIONS_OF_VALUES = "SELECT DISTINCT position FROM ledger.personal WHERE ledger_id = $1 AND subject = ANY ($2)"


async def read_subject_access(query: QueryContext, vault: Vault, customer: str) -> dict[str, Any]:
    """Return the file about a customer, and about all customers that are the same person by merges.

    More than EVENTS_MAX events are cut, and `truncated` is true.
    """
    customers = await merged_customers(query.connection, query.ledger, customer)
    now = AsOfQuery(clock.now(), None, False)
    positions = await _positions(query, customers)
    return {
        "customers": customers,
        "ledger": query.ledger.name,
        "made_at": now.at,
        "rows": {one: await load_customer(query, one, now) for one in customers},
        "events": [await _event(query, vault, position, customers) for position in positions[:EVENTS_MAX]],
        "truncated": len(positions) > EVENTS_MAX,
    }


async def _positions(query: QueryContext, customers: list[str]) -> list[int]:
    """Return the positions of all events about some customers, in order."""
    connection, ledger_id = query.connection, query.ledger.ledger_id
    rows = list(await connection.fetch(POSITIONS_OF_VALUES, ledger_id, customers))
    for projection in PROJECTIONS:
        if projection.customers:
            named = [await subjects_of_customer(query, projection, one) for one in customers]
            subjects = sorted({*customers, *(subject for subjects in named for subject in subjects)})
            rows += await connection.fetch(POSITIONS_OF_FACTS, ledger_id, projection.subject, subjects)
    return sorted({row["position"] for row in rows})


async def _event(query: QueryContext, vault: Vault, position: int, customers: list[str]) -> dict[str, Any]:
    connection, ledger_id = query.connection, query.ledger.ledger_id
    [header] = await event_headers_after(connection, ledger_id, position - 1, 1)
    event = await event_at(connection, ledger_id, position)
    opened = await vault.reveal(connection, ledger_id, position, event.payload, subjects=customers)
    return {
        "position": position,
        "source": header.source,
        "kind": header.kind,
        "occurred_at": header.occurred_at,
        "recorded_at": header.recorded_at,
        "payload": opened.decode("utf-8", "replace") if event.kind == UNREADABLE else payload_json(opened),
    }
