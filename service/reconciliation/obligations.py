"""Outstanding obligations: the second half of a transfer, and refunds of order items."""

from datetime import timedelta
from typing import Any

from ledger.decimals import format_decimal
from projections.programme_terms import TRANSFER_GRACE_DAYS
from service.reconciliation.lists import list_from_sql

# Halves with different people agree if one of the two was merged into the other. A programme's terms may set another
# grace than the two days that `by` already subtracts.
HALF_TRANSFERS = """
    SELECT subject AS id, sender, receiver, sent_to, received_from, status, programme, unit, points,
           points AS points_sent, points_received,
           CASE WHEN status <> 'completed' OR points = points_received THEN points ELSE points - points_received END
           AS amount, coalesce(initiated_at, received_at) AS since, last_position AS position
      FROM transfers t
     WHERE ledger_id = $1 AND (status <> 'completed' OR differs) AND subject > $4
       AND (status <> 'completed' OR points <> points_received
            OR NOT EXISTS (SELECT FROM customers c
                            WHERE c.ledger_id = $1 AND c.merged_into IS NOT NULL
                              AND c.subject = ANY (ARRAY[t.sender, t.receiver, t.sent_to, t.received_from])))
       AND coalesce(initiated_at, received_at) <= $2::timestamptz - coalesce(
           (SELECT make_interval(days => p.transfer_grace_days) - interval '2 days' FROM programmes p
             WHERE p.ledger_id = $1 AND p.transfer_grace_days IS NOT NULL AND p.effective_from <= $2
               AND p.subject = concat_ws(':', split_part(t.subject, ':', 1), split_part(t.subject, ':', 2), t.programme)
             ORDER BY p.effective_from DESC LIMIT 1), interval '0')
     ORDER BY subject LIMIT $3
"""


def _cause_of_half(row: Any) -> str:
    """Write why a transfer does not agree. Contradicting halves need no other cause."""
    points, received = row["points"], row["points_received"]
    if row["status"] == "initiated":
        return "The receiver's half never arrived, or the vendor has not completed the transfer."
    if row["status"] == "received-only":
        return "The sender's half never arrived. No event shows where the points came from."
    sentences = (
        [f"{format_decimal(points)} were sent and {format_decimal(received)} were received."]
        if points != received
        else []
    )
    if row["sent_to"] is not None and row["sent_to"] != row["receiver"]:
        sentences.append(f"It was sent to {row['sent_to']} and received by {row['receiver']}.")
    if row["received_from"] is not None and row["received_from"] != row["sender"]:
        sentences.append(f"It was sent by {row['sender']} but the receiver's half names {row['received_from']}.")
    if not sentences:
        sentences = ["A second report of one half names another sender or receiver. The first report counts."]
    return " ".join(sentences)


TRANSFERS = list_from_sql(
    "transfers",
    "Transfers with only one reported half, or with different halves",
    page=HALF_TRANSFERS,
    key=("id",),
    start=("",),
    cause=_cause_of_half,
    columns=("status", "sender", "receiver", "sent_to", "received_from", "programme", "points_sent", "points_received"),
    grace=timedelta(days=TRANSFER_GRACE_DAYS),
)

REFUNDS_DUE = """
    SELECT subject AS id, customer, order_id, item_type, status, refund_due AS amount, 'points' AS unit, contested,
           errors, coalesce(failed_at, cancelled_at) AS since, last_position AS position
      FROM order_items
     WHERE ledger_id = $1 AND refund = 'due' AND coalesce(failed_at, cancelled_at) <= $2 AND subject > $4
     ORDER BY subject LIMIT $3
"""
REFUNDS_DUE_IN_ALL = """
    SELECT 'points' AS unit, count(*) AS items, sum(refund_due) AS points FROM (
        SELECT refund_due FROM order_items
         WHERE ledger_id = $1 AND refund = 'due' AND coalesce(failed_at, cancelled_at) <= $2 LIMIT $3) counted
"""


def _cause_of_refund(row: Any) -> str:
    status = "was cancelled" if row["status"] == "cancelled" else "failed"
    cause = f"The item {status}: its points must be given back."
    return f"{cause} It was also reported as delivered. Ask the vendor first." if row["contested"] else cause


REFUNDS = list_from_sql(
    "refunds",
    "Order items that were not delivered and whose points were not given back",
    page=REFUNDS_DUE,
    totals=REFUNDS_DUE_IN_ALL,
    key=("id",),
    start=("",),
    cause=_cause_of_refund,
    columns=("customer", "order_id", "item_type", "status", "contested"),
    details=("errors",),
)
