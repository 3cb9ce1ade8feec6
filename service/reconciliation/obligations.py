"""Outstanding obligations: the second half of a transfer, and refunds of order items."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from projections.programme_terms import TRANSFER_GRACE_DAYS
from service.reconciliation.lists import OpenItem, list_from_sql

# Halves with different people agree if one of the two was merged into the other. A programme's terms may set another
# grace than the two days that `by` already subtracts.
HALF_TRANSFERS = """
    SELECT subject, sender, receiver, sent_to, received_from, status, programme, unit, points, points_received, differs,
           coalesce(initiated_at, received_at) AS since, last_position
      FROM transfers t
     WHERE ledger_id = $1 AND (status <> 'completed' OR differs) AND subject > $4
       AND (status <> 'completed' OR points <> points_received
            OR NOT EXISTS (SELECT FROM customers c
                            WHERE c.ledger_id = t.ledger_id AND c.merged_into IS NOT NULL
                              AND c.subject = ANY (ARRAY[t.sender, t.receiver, t.sent_to, t.received_from])))
       AND coalesce(initiated_at, received_at) <= $2::timestamptz - coalesce(
           (SELECT make_interval(days => p.transfer_grace_days) - interval '2 days' FROM programmes p
             WHERE p.ledger_id = t.ledger_id AND p.transfer_grace_days IS NOT NULL AND p.effective_from <= $2
               AND p.subject = concat_ws(':', split_part(t.subject, ':', 1), split_part(t.subject, ':', 2), t.programme)
             ORDER BY p.effective_from DESC LIMIT 1), interval '0')
     ORDER BY subject LIMIT $3
"""


def half_transfer_item(row: Any) -> OpenItem:
    names = ("status", "sender", "receiver", "sent_to", "received_from", "programme", "points", "points_received")
    details = {name: row[name] for name in names}
    amount, cause = _cause_of_half(row)
    return OpenItem(row["subject"], amount, row["unit"], row["last_position"], row["since"], cause, details)


def _cause_of_half(row: Any) -> tuple[Decimal, str]:
    """Return the points of a transfer that does not agree, and the cause. Contradicting halves need no other cause."""
    points, received = row["points"], row["points_received"]
    if row["status"] == "initiated":
        return points, "The receiver's half never arrived, or the vendor has not completed the transfer."
    if row["status"] == "received-only":
        return points, "The sender's half never arrived. No event shows where the points came from."
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
    return points - received or points, " ".join(sentences)


TRANSFERS = list_from_sql(
    "transfers",
    "Transfers with only one reported half, or with different halves",
    page=HALF_TRANSFERS,
    key=("subject",),
    start=("",),
    item=half_transfer_item,
    columns=("status", "sender", "receiver", "sent_to", "received_from", "programme", "points", "points_received"),
    grace=timedelta(days=TRANSFER_GRACE_DAYS),
)

REFUNDS_DUE = """
    SELECT subject, customer, order_id, item_type, status, refund_due, coalesce(failed_at, cancelled_at) AS since,
           contested, errors, last_position
      FROM order_items
     WHERE ledger_id = $1 AND refund = 'due' AND coalesce(failed_at, cancelled_at) <= $2 AND subject > $4
     ORDER BY subject LIMIT $3
"""
REFUNDS_DUE_IN_ALL = """
    SELECT 'points' AS unit, count(*) AS items, sum(refund_due) AS points FROM (
        SELECT refund_due FROM order_items
         WHERE ledger_id = $1 AND refund = 'due' AND coalesce(failed_at, cancelled_at) <= $2 LIMIT $3) counted
"""


def refund_due_item(row: Any) -> OpenItem:
    status = "was cancelled" if row["status"] == "cancelled" else "failed"
    cause = f"The item {status}: its points must be given back."
    if row["contested"]:
        cause += " It was also reported as delivered. Ask the vendor first."
    names = ("customer", "order_id", "item_type", "status", "contested", "errors")
    details = {name: row[name] for name in names}
    return OpenItem(row["subject"], row["refund_due"], "points", row["last_position"], row["since"], cause, details)


REFUNDS = list_from_sql(
    "refunds",
    "Order items that were not delivered and whose points were not given back",
    page=REFUNDS_DUE,
    totals=REFUNDS_DUE_IN_ALL,
    key=("subject",),
    start=("",),
    item=refund_due_item,
    columns=("customer", "order_id", "item_type", "status", "contested"),
)
