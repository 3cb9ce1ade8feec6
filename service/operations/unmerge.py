"""Undoes a merge of two customers, by an internal event that the projections follow."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from service.operations.adjust import Author
from service.operations.record import Planned, build_event, record_plan

MERGED_INTO = "SELECT merged_into FROM customers WHERE ledger_id = $1 AND subject = $2"

ENDED_TIERS = """
    SELECT programme FROM tiers WHERE ledger_id = $1 AND customer = $2 AND merged_into = $3 ORDER BY programme
"""


class UnmergeResult(NamedTuple):
    """The two customers of the undone merge, and the position of the event; None in a dry run."""

    customer: str
    survivor: str
    position: int | None


async def unmerge(connection: Connection, vault: Vault, ledger: Ledger, customer: str, author: Author) -> UnmergeResult:
    """Undo the merge of a customer into another; see `plan_unmerge`."""
    return await record_plan(connection, vault, ledger, await plan_unmerge(connection, vault, ledger, customer, author))


async def plan_unmerge(
    connection: Connection, vault: Vault, ledger: Ledger, customer: str, author: Author
) -> Planned[UnmergeResult]:
    """Plan to undo the merge of a customer into another, as projected now. The customer's remaining points return to
    them.

    Raises SubjectUnknown; RequestInvalid if the customer is not merged, or author or reason is missing.
    """
    author.check()
    row = await connection.fetchrow(MERGED_INTO, ledger.ledger_id, customer)
    if row is None:
        raise SubjectUnknown(customer)
    survivor = row["merged_into"]
    if survivor is None:
        raise RequestInvalid(f"{customer} is not merged into another customer")
    ended = await connection.fetch(ENDED_TIERS, ledger.ledger_id, customer, survivor)
    delivery = build_event(
        vault,
        ledger,
        "customersUnmerged",
        customer=customer,
        survivor=survivor,
        programmes=[row["programme"] for row in ended],
        by=author.by,
        author=author.author,
        reason=author.reason,
    )
    return Planned(UnmergeResult(customer, survivor, None), delivery)
