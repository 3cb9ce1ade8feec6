"""loyalty erase and loyalty policy: what an operator decides about people, and about conflicts."""

from typing import Annotated

import typer

from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.registry import Ledger
from projections.engine.conflicts import DEFAULT_POLICY, POLICIES, policies_of
from projections.engine.worker import catch_up
from service.background.erased_key_scrubber import scrub
from service.cli.console import AsJson, Data, InLedger, Yes, confirm, show, show_json, show_table
from service.environment import Environment, run_with_connection
from service.operations.adjust import Author
from service.operations.conflict_policy import PolicyChange, set_conflict_policy
from service.operations.erase import ErasureResult, erase, is_known, one_person
from service.operations.unmerge import Unmerged, unmerge
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

policies = typer.Typer(help="Policies: which of the events that share a key is folded.", no_args_is_help=True)


def erase_customer(
    ledger: InLedger,
    customer: Annotated[str, typer.Option("--customer", help="Their id, whole or bare.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; it is written into the ledger.")] = "",
    yes: Yes = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Forget a customer, and whoever was merged with them: the keys of their personal data are destroyed.

    Asks on a terminal: nobody can undo it.
    """

    async def work(place: Environment, connection: Connection) -> ErasureResult:
        found = await registry.find_ledger(connection, ledger)
        await catch_up(connection, found.ledger_id)
        name = await _known(place, connection, found, customer)
        people = ", ".join(await one_person(connection, found, name))
        confirm(f"Destroy the keys of all personal data of {people}, for ever?", yes=yes)
        done = await erase(connection, Vault(place.master_key), found, name, by="operator", reason=reason)
        if place.embedded:
            await scrub(connection, place.settings.data)
        await catch_up(connection, found.ledger_id)
        return done

    done = run_with_connection(data, work)
    if as_json:
        show_json(done._asdict())
    elif done.position is None:
        show(f"Nothing was left to forget of {', '.join(done.customers)}.")
    else:
        show(f"Forgot {', '.join(done.customers)}; the act stands at position {done.position}.")


def unmerge_customer(
    ledger: InLedger,
    customer: Annotated[
        str, typer.Option("--customer", help="The victim of the merge; its id, whole or bare.", show_default=False)
    ],
    author: Annotated[str, typer.Option(help="Who asks for it; sealed.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; sealed.", show_default=False)],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Undo the merge of a customer into another: what is left of the customer's points goes back to them."""

    async def work(place: Environment, connection: Connection) -> Unmerged:
        found = await registry.find_ledger(connection, ledger)
        await catch_up(connection, found.ledger_id)
        words = Author("operator", author, reason)
        name = await _known(place, connection, found, customer)
        done = await unmerge(connection, Vault(place.master_key), found, name, words)
        await catch_up(connection, found.ledger_id)
        return done

    done = run_with_connection(data, work)
    if as_json:
        show_json(done._asdict())
    else:
        show(f"{done.customer} is no longer {done.survivor}; the act stands at position {done.position}.")


async def _known(place: Environment, connection: Connection, ledger: Ledger, name: str) -> str:
    """Return the id of a known customer, given whole or bare. Raises SubjectUnknown, RequestInvalid."""
    body_hash_key = Vault(place.master_key).body_hash_key(ledger.ledger_id)
    refs = await expand_reference(QueryContext(connection, ledger, "operator", body_hash_key), name)
    return require_single([ref for ref in refs if await is_known(connection, ledger, ref)], name)


@policies.command("set")
def set_one(
    ledger: InLedger,
    source: Annotated[str, typer.Option(help="The vendor.", show_default=False)],
    kind: Annotated[str, typer.Option(help="The kind of event.", show_default=False)],
    policy: Annotated[str, typer.Argument(help=", ".join(POLICIES), show_default=False)],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Settle all conflicts of a kind so, past ones too; the rows follow at once."""

    async def work(place: Environment, connection: Connection) -> PolicyChange:
        found = await registry.find_ledger(connection, ledger)
        vault = Vault(place.master_key)
        return await set_conflict_policy(connection, vault, found, source, kind, policy, by="operator")

    done = run_with_connection(data, work)
    if as_json:
        show_json(done._asdict())
    else:
        show(f"{source} {kind}: {policy}; {done.conflicts} conflicts settled by it.")


@policies.command("list")
def list_all(ledger: InLedger, data: Data = None, as_json: AsJson = False) -> None:
    """List the policies that are not the default."""

    async def work(_place: Environment, connection: Connection) -> list[tuple[str, str, str]]:
        found = await registry.find_ledger(connection, ledger)
        return [(*of, policy) for of, policy in sorted((await policies_of(connection, found.ledger_id)).items())]

    rows = run_with_connection(data, work)
    if as_json:
        show_json([{"source": source, "kind": kind, "policy": policy} for source, kind, policy in rows])
    else:
        show_table(("source", "kind", "policy"), rows, title=f"all others: {DEFAULT_POLICY}")
