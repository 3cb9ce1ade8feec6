"""Approved requests without a reported effect. An approval itself moves nothing (traps 25, 26).

Only effects that an event reports are expected: points, an earned badge, a status, a deletion. A request names its
customer by an id without an organisation. So every organisation of its source is tried. A coincidence may hide an open
request; a missing link never invents points.
"""

from datetime import timedelta
from typing import Any

from ledger.decimals import format_decimal
from service.reconciliation.lists import list_from_sql

REQUEST_GRACE = timedelta(days=2)

WITHOUT_EFFECT = """
    SELECT r.subject AS id, r.points AS amount, CASE WHEN r.points IS NOT NULL THEN 'points' END AS unit,
           r.request_type, r.badge, r.requested_status, r.customer, r.customer_ids, r.programme, r.reference,
           r.decided_at AS since, r.last_position AS position
      FROM requests r
      CROSS JOIN LATERAL (
           SELECT coalesce(array_agg(one.ref), '{}') AS refs FROM (
                SELECT r.customer AS ref WHERE r.customer IS NOT NULL
                UNION ALL
                SELECT o.source || ':' || o.org || ':' || id FROM orgs o, unnest(r.customer_ids) AS id
                 WHERE o.ledger_id = $1 AND o.source = split_part(r.subject, ':', 1)) one) who
     WHERE r.ledger_id = $1 AND r.status = 'approved' AND r.decided_at <= $2 AND r.subject > $4
       AND CASE
           WHEN r.points IS NOT NULL THEN NOT EXISTS (
                SELECT FROM accounts a JOIN statement s ON s.ledger_id = $1 AND s.account_id = a.account_id
                 WHERE a.ledger_id = $1 AND a.customer = ANY (who.refs)
                   AND s.kind IN ('Issued', 'Redeemed', 'AdjustmentMade')
                   AND s.occurred_at BETWEEN r.decided_at - interval '1 day' AND r.decided_at + interval '30 days'
                   AND (abs(s.points) = r.points
                        OR s.reference LIKE '%:' || coalesce(r.reference, r.transaction_number)))
           WHEN r.badge IS NOT NULL AND r.request_type = 'EARN_BADGE' THEN NOT EXISTS (
                SELECT FROM badges b
                 WHERE b.ledger_id = $1 AND b.customer = ANY (who.refs)
                   AND (b.badge = r.badge OR b.badge LIKE '%:' || r.badge)
                   AND b.last_earned_at >= r.decided_at - interval '1 day')
           WHEN r.requested_status IS NOT NULL THEN NOT EXISTS (
                SELECT FROM customers c
                 WHERE c.ledger_id = $1 AND c.subject = ANY (who.refs)
                   AND (upper(c.status) = upper(r.requested_status) OR c.status_since >= r.decided_at))
           WHEN upper(r.request_type) = 'CUSTOMER' AND upper(r.base_type) = 'DELETE' THEN NOT EXISTS (
                SELECT FROM customers c
                 WHERE c.ledger_id = $1 AND c.subject = ANY (who.refs)
                   AND (c.erased_at IS NOT NULL OR c.deleted_at IS NOT NULL))
           ELSE false END
     ORDER BY r.subject LIMIT $3
"""


def _cause(row: Any) -> str:
    wanted = "the deletion"
    if row["amount"] is not None:
        wanted = f"{format_decimal(row['amount'])} points"
    elif row["badge"] is not None:
        wanted = "the badge"
    elif row["requested_status"] is not None:
        wanted = "the status"
    return (
        f"Approved, but no event reports {wanted}. The cause is not known: it was not carried out, or its event never "
        "arrived."
    )


REQUESTS = list_from_sql(
    "requests",
    "Approved requests without a reported effect",
    page=WITHOUT_EFFECT,
    key=("id",),
    start=("",),
    cause=_cause,
    columns=("request_type", "customer", "programme", "badge", "requested_status", "reference"),
    details=("customer_ids",),
    grace=REQUEST_GRACE,
)
