"""Sets the terms of a programme, by an internal event that the projections follow."""

from typing import Any, NamedTuple

from pydantic import ValidationError

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from ledger.vendors import VENDORS
from ledger.vendors.fields import as_id
from ledger.vendors.internal.programme_terms import TermsInput
from service.operations.record import Planned, build_event, record_plan

# Programmes with terms or accounts. The names of accounts are found by skipping through the index.
PROGRAMMES = """
    WITH RECURSIVE names AS (
        (SELECT programme FROM accounts WHERE ledger_id = $1 ORDER BY programme LIMIT 1)
        UNION ALL
        SELECT (SELECT a.programme FROM accounts a
                 WHERE a.ledger_id = $1 AND a.programme > n.programme ORDER BY a.programme LIMIT 1)
          FROM names n WHERE n.programme IS NOT NULL)
    SELECT subject AS id FROM programmes WHERE ledger_id = $1 AND subject > $2
    UNION
    SELECT found.id FROM names n, orgs o,
           LATERAL (SELECT concat(o.source, ':', o.org, ':',
                                  replace(replace(n.programme, '%', '%25'), ':', '%3A')) COLLATE "C" AS id) found
     WHERE o.ledger_id = $1 AND n.programme IS NOT NULL AND found.id > $2
       AND EXISTS (SELECT FROM accounts a WHERE a.ledger_id = $1 AND a.programme = n.programme
                      AND a.account_id > concat(o.source, ':', o.org, ':') COLLATE "C"
                      AND a.account_id < concat(o.source, ':', o.org, ';') COLLATE "C")
     ORDER BY id LIMIT $3
"""
VERSIONS = (
    "SELECT * FROM programmes WHERE ledger_id = $1 AND subject = ANY ($2) ORDER BY subject, effective_from, set_at"
)


class TermsChange(NamedTuple):
    """The programme, and the position of the event; None in a dry run."""

    programme: str
    position: int | None


async def set_terms(
    connection: Connection, vault: Vault, ledger: Ledger, programme: str, terms: Any, *, by: str
) -> TermsChange:
    """Set the terms of a programme; see `plan_terms`."""
    return await record_plan(connection, vault, ledger, await plan_terms(vault, ledger, programme, terms, by=by))


async def plan_terms(vault: Vault, ledger: Ledger, programme: str, terms: Any, *, by: str) -> Planned[TermsChange]:
    """Plan to set the terms of a programme (source:org:programme). The ledger may not know the programme yet.

    Raises RequestInvalid if the name or the terms are invalid.
    """
    parts = programme.split(":")
    named = len(parts) == 3 and all(parts) and parts[0] in VENDORS and as_id(programme) == programme
    if not named:
        raise RequestInvalid(f"a programme is named source:org:programme, the source being one of {', '.join(VENDORS)}")
    try:
        TermsInput.model_validate(terms)
    except ValidationError as invalid:
        raise RequestInvalid(
            "; ".join(_sentence(terms, error) for error in invalid.errors(include_input=False))
        ) from None
    delivery = build_event(vault, ledger, "programmeTermsSet", programme=programme, terms=terms, by=by)
    return Planned(TermsChange(programme, None), delivery)


def _sentence(terms: Any, error: Any) -> str:
    """Return a sentence about invalid terms, with the parameters' names."""
    where = [str(part) for part in error["loc"]]
    worth = terms.get("points_to_currency") if isinstance(terms, dict) else None
    if where[:1] == ["points_to_currency"] and isinstance(worth, dict):
        missing = [name for name in ("ratio", "currency") if worth.get(name) is None]
        if missing:
            there = "currency" if missing[0] == "ratio" else "ratio"
            return f"What a point is worth takes both `ratio` and `currency`: `{there}` is given, `{missing[0]}` is not"
    return f"{'.'.join(where) or 'terms'}: {error['msg'].removeprefix('Value error, ')}"
