"""Changes that several events report with different points. The first report in fold order counts."""

from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from service.reconciliation.lists import OpenItem, list_from_sql

DIFFERING = """
    SELECT s.account_id, s.line, s.kind, s.differs, s.reference, s.occurred_at, s.position, s.counted_position, a.unit,
           a.programme, a.customer
      FROM statement s JOIN accounts a ON a.ledger_id = s.ledger_id AND a.account_id = s.account_id
     WHERE s.ledger_id = $1 AND s.differs IS NOT NULL AND s.occurred_at <= $2 AND (s.account_id, s.line) > ($4, $5)
     ORDER BY s.account_id, s.line LIMIT $3
"""
DIFFERING_IN_ALL = """
    SELECT unit, count(*) AS items, sum(differs) AS points FROM (
        SELECT substring(account_id FROM '[^:]*$') AS unit, differs FROM statement
         WHERE ledger_id = $1 AND differs IS NOT NULL AND occurred_at <= $2 LIMIT $3) counted
     GROUP BY unit
"""


def report_item(row: Any) -> OpenItem:
    amount: Decimal = row["differs"]
    cause = (
        f"This report of the change gives {format_decimal(abs(amount))} {'more' if amount > 0 else 'fewer'} points than"
    )
    cause += f" the one at position {row['counted_position']}, which counts. Ask the vendor which of them is right."
    names = ("programme", "customer", "kind", "reference", "counted_position")
    return OpenItem(
        id=f"{row['account_id']} {row['line']}",
        amount=amount,
        unit=row["unit"],
        position=row["position"],
        since=row["occurred_at"],
        cause=cause,
        details={"account": row["account_id"], "line": row["line"], **{name: row[name] for name in names}},
    )


REPORTS = list_from_sql(
    "reports",
    "Changes that several events report with different points. The first report counts",
    page=DIFFERING,
    totals=DIFFERING_IN_ALL,
    key=("account_id", "line"),
    start=("", 0),
    item=report_item,
    columns=("account", "line", "programme", "customer", "kind", "reference", "counted_position"),
)
