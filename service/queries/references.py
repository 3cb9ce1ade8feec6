"""Find the references that a name in a query may mean."""

from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.facts.fact import unquote_id
from ledger.intake.identify import pseudonym
from ledger.vendors.personal_values import identifier_kind_of_value
from service.queries.context import QueryContext

ORGS = "SELECT source, org FROM orgs WHERE ledger_id = $1 ORDER BY source, org LIMIT 1000"


async def expand_reference(query: QueryContext, name: str) -> list[str]:
    """Return the references that a name may mean: the name itself, and the name as a vendor's id in every organisation.

    Voucherify's ids name no project, so the organisation of such a reference is replaced by "-". A vendor may use an
    e-mail address or telephone number as an id. It is stored as a pseudonym, and found by the pseudonym.
    """
    if query.body_hash_key is not None:
        name = ":".join(_stored_form(query.body_hash_key, part) for part in name.split(":"))
    source, _, rest = name.partition(":")
    if rest and source == "voucherify":
        name = f"voucherify:-:{rest.partition(':')[2]}"
    orgs = await query.connection.fetch(ORGS, query.ledger.ledger_id)
    return [name, *(f"{row['source']}:{row['org']}:{name}" for row in orgs)]


def require_single(found: list[str], name: str) -> str:
    """Return the only reference found. Raises SubjectUnknown for none, RequestInvalid for several."""
    if not found:
        raise SubjectUnknown(name)
    if len(found) > 1:
        raise RequestInvalid(f"{name} is ambiguous; it matches {', '.join(found[:5])}")
    return found[0]


def _stored_form(body_hash_key: bytes, part: str) -> str:
    kind = identifier_kind_of_value(unquote_id(part))
    return part if kind is None else pseudonym(body_hash_key, kind, unquote_id(part))
