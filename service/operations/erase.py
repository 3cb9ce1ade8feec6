"""Erases a person: destroys the keys of the person's encrypted data, and records an event about it.

Payloads, facts, balances, hashes and proofs stay unchanged. Merged customers are one person and are erased together.
Later data of the person is encrypted under a new key.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from ledger.background import keep_connected
from ledger.database import Connection, Session
from ledger.errors import SubjectUnknown
from ledger.privacy.vault import Vault
from ledger.store.ledger_rounds import LOCK_SECONDS_MAX, LedgerRounds
from ledger.store.registry import Ledger, list_ledgers
from projections.accounts import ACCOUNTS, Wallet
from projections.engine.groups import connected_components, groups_of
from projections.queries.as_of import AsOf, fold_known, load_known
from service.operations.record import Planned, build_event, record_plan

POLL_SECONDS = 2.0
STATEMENT_SECONDS_MAX = 30.0
STEP_SECONDS_MAX = 30.0  # for the requests of one ledger in a round
CUSTOMERS_PER_POLL = 100

ERASE_PERSON = "SELECT ledger.erase_person($1, $2)"
KNOWN = """
    SELECT EXISTS (SELECT FROM ledger.personal_keys WHERE ledger_id = $1 AND subject = ANY ($2))
        OR EXISTS (SELECT FROM ledger.erasures WHERE ledger_id = $1 AND subject = ANY ($2))
        OR EXISTS (SELECT FROM customers WHERE ledger_id = $1 AND subject = ANY ($2))
        OR EXISTS (SELECT FROM accounts WHERE ledger_id = $1 AND customer = ANY ($2))
"""
COUNT_ERASABLE = """
    SELECT count(*) FROM unnest($2::text[]) AS named (subject)
     WHERE EXISTS (SELECT FROM ledger.personal_keys k WHERE k.ledger_id = $1 AND k.subject = named.subject)
        OR EXISTS (SELECT FROM ledger.personal_index i WHERE i.ledger_id = $1 AND i.subject = named.subject)
"""
TO_ERASE = """
    SELECT subject, deletion_request FROM customers
     WHERE ledger_id = $1 AND deletion_approved_at IS NOT NULL
       AND EXISTS (SELECT FROM ledger.personal_keys k WHERE k.ledger_id = $1 AND k.subject = customers.subject)
     LIMIT $2
"""

_log = logging.getLogger(__name__)


class ErasureResult(NamedTuple):
    """Result of an erasure: the merged customers, the number of destroyed keys, and the position of the event.

    The position is None if there was nothing left to erase, and in a dry run.
    """

    customers: Sequence[str]
    destroyed: int
    position: int | None


async def erase(
    connection: Connection, vault: Vault, ledger: Ledger, customer: str, *, by: str, reason: str
) -> ErasureResult:
    """Erase a customer, by reference. If there is nothing left to erase, no event is recorded.

    Raises SubjectUnknown if nothing is known about the customer.
    """
    if not await is_known(connection, ledger, customer):
        raise SubjectUnknown(customer)
    customers = await merged_customers(connection, ledger, customer)
    async with connection.transaction():
        destroyed = [await connection.fetchval(ERASE_PERSON, ledger.ledger_id, one) for one in customers]
        vault.clear_key_cache(ledger.ledger_id)
        planned = _plan(vault, ledger, customers, sum(destroyed), by=by, reason=reason)
        return await record_plan(connection, vault, ledger, planned)


async def plan_erasure(
    connection: Connection, vault: Vault, ledger: Ledger, customer: str, *, by: str, reason: str
) -> Planned[ErasureResult]:
    """Plan to erase a customer: the same result and event, and no key is destroyed.

    Raises SubjectUnknown if nothing is known about the customer.
    """
    if not await is_known(connection, ledger, customer):
        raise SubjectUnknown(customer)
    customers = await merged_customers(connection, ledger, customer)
    erasable: int = await connection.fetchval(COUNT_ERASABLE, ledger.ledger_id, customers)
    return _plan(vault, ledger, customers, erasable, by=by, reason=reason)


def _plan(
    vault: Vault, ledger: Ledger, customers: Sequence[str], destroyed: int, *, by: str, reason: str
) -> Planned[ErasureResult]:
    result = ErasureResult(customers, destroyed, None)
    if not destroyed:
        return Planned(result)
    return Planned(result, build_event(vault, ledger, "customerErased", customers=customers, by=by, reason=reason))


async def is_known(connection: Connection, ledger: Ledger, customer: str) -> bool:
    """Return True if the ledger has facts, keys or erasures of a customer."""
    known: bool = await connection.fetchval(KNOWN, ledger.ledger_id, [customer])
    return known


async def merged_customers(connection: Connection, ledger: Ledger, customer: str) -> list[str]:
    """Return the references of all customers who are this person by merges, sorted. Undone merges do not count."""
    groups = await groups_of(connection, ledger.ledger_id, ACCOUNTS, [customer])
    if not groups.members:
        return [customer]
    people = []
    for known in await load_known(connection, ledger.ledger_id, ACCOUNTS, [customer], AsOf()):
        standing = fold_known(ACCOUNTS, known)
        if standing.parked is None:  # an undone merge leaves two persons
            wallet = standing.state
            assert isinstance(wallet, Wallet)
            people += [one for one in connected_components(wallet.survivors.items()).values() if customer in one]
        else:
            people += map(list, groups.members.values())
    return sorted({customer}.union(*people))


async def erase_on_request(dsn: str, vault: Vault) -> None:
    """Erase every customer with an approved deletion request, for as long as the service runs. Data that arrives later
    is erased too, such as the vendor's report of the deletion.
    """

    subject = "erasing on request"
    rounds = LedgerRounds(subject, _log, retry_seconds=POLL_SECONDS, step_seconds_max=STEP_SECONDS_MAX)

    async def erase_next(connection: Session, ledger: Ledger) -> int:
        return await erase_requested(connection, vault, ledger)

    async def look(connection: Session) -> None:
        await rounds.run(connection, await list_ledgers(connection), erase_next)

    await keep_connected(
        subject, dsn, look, log=_log, retry_seconds=POLL_SECONDS, pause_seconds=POLL_SECONDS,
        statement_seconds=STATEMENT_SECONDS_MAX, lock_seconds_max=LOCK_SECONDS_MAX,
    )  # fmt: skip


async def erase_requested(connection: Connection, vault: Vault, ledger: Ledger) -> int:
    """Erase the customers of one ledger with an approved deletion request. Return their number."""
    rows = await connection.fetch(TO_ERASE, ledger.ledger_id, CUSTOMERS_PER_POLL)
    for row in rows:
        by = row["deletion_request"]
        await erase(connection, vault, ledger, row["subject"], by=by, reason="approved request")
    return len(rows)
