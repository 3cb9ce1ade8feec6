"""Find a programme by its id, or by the id that the vendor uses."""

from typing import Any

from ledger.events import Event
from ledger.facts.fact import unquote_id
from ledger.intake.interpret import describe_programmes
from ledger.store.read import event_at
from ledger.vendors.vendor import ProgrammeDescription
from service.operations.programme_terms import PROGRAMMES
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

PROGRAMMES_MAX = 10_000
EVENTS_READ_MAX = 50  # an operator's event describes no programme, and a vendor's may not either

LATEST_POSITIONS = """
    SELECT last_position FROM accounts
     WHERE ledger_id = $1 AND programme = $2 AND account_id > $3 COLLATE "C" AND account_id < $4 COLLATE "C"
     ORDER BY last_position DESC LIMIT $5
"""


async def find_programme(query: QueryContext, name: str) -> str:
    """Return the id of a programme. `name` is that id or the vendor's id. Raises SubjectUnknown, RequestInvalid for
    several.
    """
    rows = await query.connection.fetch(PROGRAMMES, query.ledger.ledger_id, "", PROGRAMMES_MAX)
    known = {row["id"] for row in rows}
    return require_single([reference for reference in await expand_reference(query, name) if reference in known], name)


async def load_description(query: QueryContext, programme: str) -> dict[str, Any] | None:
    """Return the description of a programme in the latest event that has one. None if no event describes it.

    Events about points repeat the description, so it is read from an event and is no fact.
    """
    source, org, quoted = programme.split(":", 2)
    name, begin = unquote_id(quoted), f"{source}:{org}"
    rows = await query.connection.fetch(
        LATEST_POSITIONS, query.ledger.ledger_id, name, f"{begin}:", f"{begin};", EVENTS_READ_MAX
    )
    for row in rows:
        event = await event_at(query.connection, query.ledger.ledger_id, row["last_position"])
        for found in describe_programmes(event):
            if found.programme == name:
                return _description_json(found, event)
    return None


def _description_json(description: ProgrammeDescription, event: Event) -> dict[str, Any]:
    return {
        "name": description.name,
        "is_default": description.is_default,
        "points_to_currency_ratio": description.points_to_currency_ratio,
        "tiers": [tier._asdict() for tier in description.tiers],
        "described_at": event.occurred_at or event.recorded_at,
        "position": event.position,
    }
