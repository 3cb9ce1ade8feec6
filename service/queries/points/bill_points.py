"""The points of one bill: earned, promised, and taken back by returns."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.facts import decode
from ledger.facts.accounts import IssueReversed, holder_of
from service.queries.accounts import part_json
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

ROWS_MAX = 1_000
BILL = "SELECT * FROM bills WHERE ledger_id = $1 AND (subject = ANY ($2) OR number = $3) LIMIT 2"
LOTS = """
    SELECT * FROM lots WHERE ledger_id = $1 AND (bill = ANY ($2) OR bill_number = ANY ($2))
     ORDER BY account_id, lot_id LIMIT $3
"""
PROMISES = """
    SELECT * FROM promises WHERE ledger_id = $1 AND (bill = ANY ($2) OR bill_number = ANY ($2))
     ORDER BY account_id, promise_id LIMIT $3
"""
RETURNS = """
    SELECT * FROM statement WHERE ledger_id = $1 AND kind = 'IssueReversed' AND reference = ANY ($2)
     ORDER BY account_id, line LIMIT $3
"""
RETURN_FACTS = """
    SELECT kind, body, position FROM facts
     WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = ANY ($2) AND occurred_at = ANY ($3)
       AND position = ANY ($4) AND kind = 'IssueReversed'
"""
ZERO = Decimal(0)
BILL_FIELDS = ("number", "customer", "amount", "currency")


class PointsOfBill(NamedTuple):
    """The rows that name a bill: its lots, its promises, and the statement lines of its returns."""

    lots: Sequence[Mapping[str, Any]]
    promises: Sequence[Mapping[str, Any]]
    returns: Sequence[Mapping[str, Any]]

    def account_ids(self) -> set[str]:
        return {row["account_id"] for rows in self for row in rows}

    def within(self, organisation: str) -> "PointsOfBill":
        """Return the rows of one organisation: source and organisation, as references begin."""
        return PointsOfBill(*([row for row in rows if row["account_id"].startswith(organisation)] for rows in self))


async def find_bill_points(query: QueryContext, name: str, times: AsOfQuery) -> dict[str, Any]:
    """Return the points of a bill, found by its id or its number. The bill itself may never have been reported.

    Raises SubjectUnknown, or RequestInvalid if bills of several organisations match.
    """
    refs = await expand_reference(query, name)
    bills = await query.connection.fetch(BILL, query.ledger.ledger_id, refs, name)
    bill = dict(bills[0]) if bills else None
    if len(bills) > 1:
        require_single([row["subject"] for row in bills], name)
    names = {name, name.split(":", 2)[2] if name.count(":") >= 2 else name}
    if bill is not None:
        names |= {bill["subject"].split(":", 2)[2], bill["number"] or name}
    found = await _read_points(query, sorted(names))
    organisations = {_organisation(account_id) for account_id in found.account_ids()}
    if bill is not None:
        organisations = {_organisation(bill["subject"])}
    if not organisations:
        raise SubjectUnknown(name)
    if len(organisations) > 1:
        examples = ", ".join(f"{organisation}{name}" for organisation in sorted(organisations)[:5])
        raise RequestInvalid(f"{name} is ambiguous; it matches {examples}")
    points = found.within(organisations.pop())
    return {
        "id": bill["subject"] if bill is not None else name,
        **{field: bill[field] if bill is not None else None for field in BILL_FIELDS},
        **_sums(points),
        "lots": [part_json(lot, "lot_id", times.at) for lot in points.lots],
        "promises": [part_json(promise, "promise_id", times.at) for promise in points.promises],
        "returns": await _returns_json(query, points.returns),
        **({"truncated": True} if any(len(rows) == ROWS_MAX for rows in found) else {}),
    }


def _organisation(reference: str) -> str:
    return ":".join(reference.split(":", 2)[:2]) + ":"


async def _read_points(query: QueryContext, names: Sequence[str]) -> PointsOfBill:
    fetch, ledger_id = query.connection.fetch, query.ledger.ledger_id
    lots = await fetch(LOTS, ledger_id, names, ROWS_MAX)
    promises = await fetch(PROMISES, ledger_id, names, ROWS_MAX)
    # A return is named by the number of its bill, or by its id if it has no number.
    known = {row[column] for row in (*lots, *promises) for column in ("bill", "bill_number")} - {None}
    returns = await fetch(RETURNS, ledger_id, sorted(known | set(names)), ROWS_MAX)
    return PointsOfBill(lots, promises, returns)


def _sums(points: PointsOfBill) -> dict[str, Decimal]:
    counted = [line for line in points.returns if not line["repeated"]]
    return {
        "points_earned": _sum(lot["points"] for lot in points.lots),
        "points_promised": _sum(promise["remaining"] for promise in points.promises),
        "points_taken_back": -_sum(line["points"] for line in counted),
        "points_returned": _sum(lot["returned"] for lot in points.lots),
    }


def _sum(figures: Iterable[Decimal]) -> Decimal:
    return sum(figures, ZERO)


async def _returns_json(query: QueryContext, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the returns of a bill, each with the vendor's figures and the promotions whose points were taken back."""
    rows = await query.connection.fetch(
        RETURN_FACTS,
        query.ledger.ledger_id,
        sorted({name for line in lines for name in (line["subject"], holder_of(line["account_id"]))}),
        [line["occurred_at"] for line in lines],
        [line["position"] for line in lines],
    )
    facts = {(row["position"], fact.unit): fact for row in rows if isinstance(fact := _fact(row), IssueReversed)}
    return [_return_json(line, facts.get((line["position"], _unit(line["account_id"])))) for line in lines]


def _fact(row: Mapping[str, Any]) -> Any:
    return decode(row["kind"], row["body"])


def _unit(account_id: str) -> str:
    return account_id.rsplit(":", 1)[1]


def _return_json(line: Mapping[str, Any], fact: IssueReversed | None) -> dict[str, Any]:
    shares = () if fact is None else fact.promotions or fact.promotions_total or ()
    return {
        "account": line["account_id"],
        "occurred_at": line["occurred_at"],
        "position": line["position"],
        "repeated": line["repeated"],
        "points": -line["points"],
        "stated_points": None if fact is None else fact.points,
        "stated_promised": None if fact is None else fact.promised,
        "stated_total": None if fact is None else fact.points_total,
        "promotions": [{"promotion": share.promotion, "points": share.points} for share in shares],
    }
