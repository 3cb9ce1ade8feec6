"""Events that name a merged customer after the merge. The survivor holds their points and tier."""

from typing import Any

from service.reconciliation.lists import format_time, list_from_sql

# Facts of these kinds belong to the merge, or to an event of another customer.
OTHER_FACTS = (
    *("HolderMergedAway", "HolderMerged", "HolderUnmerged", "TierMergedAway", "TierUnmerged", "TierAfterMerge"),
    *("CustomersMerged", "CustomersUnmerged", "CustomerErased", "TransferSettled"),
)
HOLDERS = ("account", "customer")  # subjects that are a customer
PARTS = ("badge", "membership", "milestone", "milestone_group", "partner_membership", "promotion", "streak")

# The facts are found first, by their index. In one join, the planner may compare every event with every customer.
LATER_EVENTS = f"""
    WITH later AS MATERIALIZED (
        SELECT c.subject, c.merged_into, c.merged_at, f.position, min(f.occurred_at) AS occurred_at
          FROM customers c
         CROSS JOIN LATERAL (
                SELECT f.position, f.occurred_at, f.kind FROM facts f
                 WHERE f.ledger_id = $1 AND f.subject_kind = ANY (ARRAY{list(HOLDERS)}) AND f.subject = c.subject
                   AND f.occurred_at > c.merged_at
                UNION ALL
                SELECT f.position, f.occurred_at, f.kind FROM facts f
                 WHERE f.ledger_id = $1 AND f.subject_kind = ANY (ARRAY{list(PARTS)})
                   AND f.subject >= c.subject || ':' AND f.subject < c.subject || ';' AND f.occurred_at > c.merged_at) f
         WHERE c.ledger_id = $1 AND c.merged_into IS NOT NULL AND c.subject >= $4
           AND f.kind <> ALL (ARRAY{list(OTHER_FACTS)}) AND (c.subject, f.position) > ($4, $5)
         GROUP BY c.subject, c.merged_into, c.merged_at, f.position)
    SELECT l.subject || ' ' || l.position AS id, p.points AS amount, p.unit, l.position, e.recorded_at AS since,
           l.subject AS customer, l.merged_into, l.merged_at, l.occurred_at, e.kind
      FROM later l
     CROSS JOIN LATERAL (
            SELECT e.kind, e.source, e.recorded_at FROM ledger.events e
             WHERE e.ledger_id = $1 AND e.position = l.position OFFSET 0) e
      LEFT JOIN LATERAL (
            SELECT sum(abs(s.points)) AS points, min(substring(s.account_id FROM '[^:]*$')) AS unit FROM statement s
             WHERE s.ledger_id = $1 AND s.position = l.position
               AND s.subject = (SELECT a.subject FROM accounts a
                                 WHERE a.ledger_id = $1 AND a.account_id >= l.merged_into || ':'
                                   AND a.account_id < l.merged_into || ';' ORDER BY a.account_id LIMIT 1)
            HAVING sum(abs(s.points)) > 0) p ON true
     WHERE e.source <> 'loyalty' AND e.recorded_at <= $2
     ORDER BY l.subject, l.position LIMIT $3
"""  # noqa: S608  # composed of our own constants only


def _cause(row: Any) -> str:
    merged_at, occurred_at = format_time(row["merged_at"]), format_time(row["occurred_at"])
    return (
        f"The customer was merged into {row['merged_into']} at {merged_at}. The event of {occurred_at} counts for the "
        "survivor. Ask the vendor why it names the merged customer."
    )


MERGED_CUSTOMERS = list_from_sql(
    "merged-customers",
    "Events that name a merged customer after the merge. They count for the survivor",
    page=LATER_EVENTS,
    key=("customer", "position"),
    start=("", 0),
    cause=_cause,
    columns=("customer", "merged_into", "kind", "occurred_at"),
)
