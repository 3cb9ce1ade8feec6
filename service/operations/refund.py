"""Records that the points of an undelivered order item were given back, by an internal event, once."""

import re
from decimal import Decimal
from typing import NamedTuple

from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.facts import decode
from ledger.facts.holds import HoldRefundDue
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from service.operations.adjust import Author
from service.operations.record import Planned, build_event, record_plan

REFERENCE = re.compile(r"[A-Za-z0-9._~:+/-]{1,200}")

ITEM = "SELECT order_id, customer, refund, refund_due FROM order_items WHERE ledger_id = $1 AND subject = $2"
DUE = """
    SELECT kind, body FROM facts
     WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = $2 AND kind = 'HoldRefundDue'
"""


class RefundResult(NamedTuple):
    """The item, the points given back, and the position of the event; None in a dry run."""

    order_item: str
    points: Decimal
    position: int | None


async def post_refund(
    connection: Connection, vault: Vault, ledger: Ledger, item: str, author: Author, *, reference: str = ""
) -> RefundResult:
    """Record that the points due for an item were given back; see `plan_refund`."""
    planned = await plan_refund(connection, vault, ledger, item, author, reference=reference)
    return await record_plan(connection, vault, ledger, planned)


async def plan_refund(
    connection: Connection, vault: Vault, ledger: Ledger, item: str, author: Author, *, reference: str = ""
) -> Planned[RefundResult]:
    """Plan to record that the points due for an item, as projected now, were given back. `reference` names the payment.

    Raises SubjectUnknown; RequestInvalid if nothing is due, or author or reason is missing.
    """
    author.check()
    if reference and not REFERENCE.fullmatch(reference):  # it is not encrypted, so it must not be able to hold a name
        raise RequestInvalid("reference must consist of letters, digits and . _ ~ : + / -, at most 200 characters")
    row = await connection.fetchrow(ITEM, ledger.ledger_id, item)
    if row is None:
        raise SubjectUnknown(item)
    due = await _due(connection, ledger, row["customer"], item)
    if row["refund"] != "due" or due is None:
        raise RequestInvalid(f"no refund is due for {item}")
    points: Decimal = row["refund_due"]
    delivery = build_event(
        vault,
        ledger,
        "refundPosted",
        item=item,
        order=row["order_id"],
        points=format_decimal(points),
        holder=due.holder,
        programme=due.programme,
        unit=due.unit,
        customer=row["customer"],
        reference=reference or None,
        by=author.by,
        author=author.author,
        reason=author.reason,
    )
    return Planned(RefundResult(item, points, None), delivery)


async def _due(connection: Connection, ledger: Ledger, holder: str | None, item: str) -> HoldRefundDue | None:
    for row in await connection.fetch(DUE, ledger.ledger_id, holder):
        fact = decode(row["kind"], row["body"])
        if isinstance(fact, HoldRefundDue) and fact.item == item:
            return fact
    return None
