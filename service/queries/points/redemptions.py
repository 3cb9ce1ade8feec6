"""One redemption by its id: the parts that accounts paid, and the points given back."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ledger.facts.accounts import holder_of
from projections.accounts import ACCOUNTS
from projections.accounts.tables import REDEMPTIONS
from projections.queries.as_of import fold_known, load_known
from service.queries.accounts import part_json
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

PARTS_MAX = 1_000
PARTS = """
    SELECT * FROM redemptions WHERE ledger_id = $1 AND redemption = ANY ($2) ORDER BY account_id LIMIT $3
"""
ZERO = Decimal(0)
# The vendor states these fields once for a redemption, so the first part that has a value shows it.
SHARED_FIELDS = ("bill_number", "request", "ratio", "redeemed_at", "position")


async def find_redemption(query: QueryContext, name: str, times: AsOfQuery) -> dict[str, Any]:
    """Return a redemption with its parts, as of a time and a position. Raises SubjectUnknown."""
    refs = await expand_reference(query, name)
    rows = await query.connection.fetch(PARTS, query.ledger.ledger_id, refs, PARTS_MAX)
    parts: Sequence[Mapping[str, Any]] = [dict(row) for row in rows]
    if times.given:
        holders = sorted({holder_of(row["account_id"]) for row in rows})
        groups = await load_known(query.connection, query.ledger.ledger_id, ACCOUNTS, holders, times.as_of)
        folded = (row for known in groups for row in fold_known(ACCOUNTS, known).rows[REDEMPTIONS.name])
        known_parts = (dict(zip(REDEMPTIONS.columns, row, strict=True)) for row in folded)
        parts = [part for part in known_parts if part["redemption"] in refs]
    redemption = require_single(sorted({part["redemption"] for part in parts}), name)
    return redemption_json(redemption, [part_json(part, "redemption", times.at) for part in parts])


def redemption_json(redemption: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a redemption as JSON: the sums over its parts, and the parts."""
    paid = [part["points"] for part in parts if part["points"] is not None]
    points, returned = sum(paid, ZERO), sum((part["reversed"] for part in parts), ZERO)
    values = [part["value"] for part in parts if part["value"] is not None]
    stated = next((part["value_of_all"] for part in parts if part["value_of_all"] is not None), None)
    reversal = "none" if not returned else "fully" if returned >= points else "partly"
    return {
        "id": redemption,
        "customer": parts[0]["customer"],
        "points": points if paid else None,
        "value": sum(values, ZERO) if values else stated,
        "reversed": returned,
        "reversal": reversal if paid else "unknown",
        "reversed_at": max((part["reversed_at"] for part in parts if part["reversed_at"]), default=None),
        "by_group": any(part["by_group"] for part in parts),
        "has_notes": any(part["has_notes"] for part in parts),
        **{name: next((part[name] for part in parts if part[name] is not None), None) for name in SHARED_FIELDS},
        "parts": list(parts),
    }
