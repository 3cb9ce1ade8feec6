"""Find a programme by its id, or by the id that the vendor uses."""

from service.operations.programme_terms import PROGRAMMES
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

PROGRAMMES_MAX = 10_000


async def find_programme(query: QueryContext, name: str) -> str:
    """Return the id of a programme. `name` is that id or the vendor's id. Raises SubjectUnknown, RequestInvalid for
    several.
    """
    rows = await query.connection.fetch(PROGRAMMES, query.ledger.ledger_id, "", PROGRAMMES_MAX)
    known = {row["id"] for row in rows}
    return require_single([reference for reference in await expand_reference(query, name) if reference in known], name)
