"""loyalty erase, unmerge: erase a customer's personal data, or undo a merge of customers."""

from typing import Annotated

import typer

from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.background.erased_key_scrubber import scrub
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    YesOption,
    confirm,
)
from service.cli.terminal.dry_runs import DryRunOption, show_outcome
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.operations.adjust import Author
from service.operations.erase import ErasureResult, erase, is_known, merged_customers, plan_erasure
from service.operations.preview import Preview, preview_operation
from service.operations.unmerge import UnmergeResult, plan_unmerge, unmerge
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single


def erase_customer(
    ledger: LedgerOption,
    customer: Annotated[
        str,
        typer.Option("--customer", help="The customer's id, in full or the vendor's part alone.", show_default=False),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is stored in the ledger in plain text.")] = "",
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a customer's personal data by destroying the keys. Merged customers are erased too.

    Asks for confirmation on a terminal, because nobody can undo it. Balances and hashes stay.
    """

    async def work(environment: Environment, connection: Connection) -> tuple[ErasureResult, Preview | None]:
        found = await registry.find_ledger(connection, ledger)
        await catch_up(connection, found.ledger_id)
        name = await _find_customer(environment, connection, found, customer)
        vault = Vault(environment.master_key)
        if dry_run:
            plan = plan_erasure(connection, vault, found, name, by="operator", reason=reason)
            return await preview_operation(connection, found.ledger_id, plan)
        people = ", ".join(await merged_customers(connection, found, name))
        confirm(f"Destroy the keys of all personal data of {people}? This cannot be undone.", yes=yes)
        await record_command(connection, f"erase {name}", found)
        result = await erase(connection, vault, found, name, by="operator", reason=reason)
        if environment.embedded:
            await scrub(connection, environment.settings.data)
        await catch_up(connection, found.ledger_id)
        return result, None

    result, preview = run_with_connection(data, work)
    text = f"Erased {', '.join(result.customers)}; recorded at position {result.position}."
    if result.position is None:
        text = f"Nothing was left to erase of {', '.join(result.customers)}."
    show_outcome(result, preview, text, as_json=as_json)


def unmerge_customer(
    ledger: LedgerOption,
    customer: Annotated[
        str,
        typer.Option(
            "--customer",
            help="The merged customer (the victim); the id, in full or the vendor's part alone.",
            show_default=False,
        ),
    ],
    author: Annotated[str, typer.Option(help="The person who requests it; stored encrypted.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; stored encrypted.", show_default=False)],
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Undo the merge of a customer into another. The customer's remaining points return to them."""

    async def work(environment: Environment, connection: Connection) -> tuple[UnmergeResult, Preview | None]:
        found = await registry.find_ledger(connection, ledger)
        await catch_up(connection, found.ledger_id)
        requester = Author("operator", author, reason)
        name = await _find_customer(environment, connection, found, customer)
        of = (connection, Vault(environment.master_key), found, name, requester)
        if dry_run:
            return await preview_operation(connection, found.ledger_id, plan_unmerge(*of))
        await record_command(connection, f"unmerge {name}", found)
        result = await unmerge(*of)
        await catch_up(connection, found.ledger_id)
        return result, None

    result, preview = run_with_connection(data, work)
    text = f"{result.customer} is no longer merged into {result.survivor}; recorded at position {result.position}."
    show_outcome(result, preview, text, as_json=as_json)


async def _find_customer(environment: Environment, connection: Connection, ledger: Ledger, name: str) -> str:
    """Return the full id of a known customer. `name` may be the full id or the vendor's id alone. Raises
    SubjectUnknown, RequestInvalid.
    """
    body_hash_key = Vault(environment.master_key).body_hash_key(ledger.ledger_id)
    refs = await expand_reference(QueryContext(connection, ledger, "operator", body_hash_key), name)
    return require_single([ref for ref in refs if await is_known(connection, ledger, ref)], name)
