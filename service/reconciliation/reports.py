"""Changes that several events report differently.

- With different points: the first report in fold order counts.
- For different holders: each report counts, because neither is known to be wrong.
"""

from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from service.reconciliation.lists import list_from_sql

DIFFERING = """
    SELECT s.account_id || ' ' || s.line AS id, s.account_id AS account, s.line, s.kind, s.report_excess AS amount,
           s.reference, s.occurred_at AS since, s.position, s.counted_position, a.unit, a.programme, a.customer
      FROM statement s JOIN accounts a ON a.ledger_id = $1 AND a.account_id = s.account_id
     WHERE s.ledger_id = $1 AND s.report_excess IS NOT NULL AND s.occurred_at <= $2
       AND (s.account_id, s.line) > ($4, $5)
     ORDER BY s.account_id, s.line LIMIT $3
"""
DIFFERING_IN_ALL = """
    SELECT unit, count(*) AS items, sum(report_excess) AS points FROM (
        SELECT substring(account_id FROM '[^:]*$') AS unit, report_excess FROM statement
         WHERE ledger_id = $1 AND report_excess IS NOT NULL AND occurred_at <= $2 LIMIT $3) counted
     GROUP BY unit
"""


def _cause(row: Any) -> str:
    amount: Decimal = row["amount"]
    points = f"{format_decimal(abs(amount))} {'more' if amount > 0 else 'fewer'} points"
    counted = f"the one at position {row['counted_position']}, which counts"
    return f"This report of the change gives {points} than {counted}. Ask the vendor which of them is right."


REPORTS = list_from_sql(
    "reports",
    "Changes that several events report with different points. The first report counts",
    page=DIFFERING,
    totals=DIFFERING_IN_ALL,
    key=("account", "line"),
    start=("", 0),
    cause=_cause,
    columns=("account", "line", "programme", "customer", "kind", "reference", "counted_position"),
)


SHARED = """
    SELECT r.reference AS id, r.reference AS redemption, h.holders, s.account_id AS account, abs(s.points) AS amount,
           a.unit, s.position, s.occurred_at AS since
      FROM (SELECT reference FROM statement
             WHERE ledger_id = $1 AND kind = 'Redeemed' AND NOT repeated AND reference > $4
             GROUP BY reference HAVING min(subject) <> max(subject) ORDER BY reference LIMIT $3) r
     CROSS JOIN LATERAL (
            SELECT s.account_id, s.points, s.position, s.occurred_at FROM statement s
             WHERE s.ledger_id = $1 AND s.kind = 'Redeemed' AND NOT s.repeated AND s.reference = r.reference
             ORDER BY s.position DESC LIMIT 1) s
     CROSS JOIN LATERAL (
            SELECT string_agg(DISTINCT a.holder, ', ') AS holders FROM statement s
              JOIN accounts a ON a.ledger_id = $1 AND a.account_id = s.account_id
             WHERE s.ledger_id = $1 AND s.kind = 'Redeemed' AND NOT s.repeated AND s.reference = r.reference) h
      JOIN accounts a ON a.ledger_id = $1 AND a.account_id = s.account_id
     WHERE s.occurred_at <= $2
     ORDER BY r.reference
"""


def _cause_shared(row: Any) -> str:
    return (
        f"It was reported for several holders ({row['holders']}), and each of them paid. Ask the vendor which of them "
        "redeemed. Give the points back to the others."
    )


SHARED_REDEMPTIONS = list_from_sql(
    "shared-redemptions",
    "Redemptions that were reported for several holders. Each report counts",
    page=SHARED,
    key=("id",),
    start=("",),
    cause=_cause_shared,
    columns=("redemption", "holders", "account"),
)
