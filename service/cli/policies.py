"""loyalty policy: the rule that decides between events with one key and different contents."""

from typing import Annotated

import typer

from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store import registry
from projections.engine.conflicts import DEFAULT_POLICY, POLICIES, policies_of
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    show,
    show_json,
    show_table,
)
from service.environment import Environment, run_with_connection
from service.operations.conflict_policy import PolicyChange, set_conflict_policy

policies = typer.Typer(
    help="Policies for conflicts: which of several events with one key is folded.", no_args_is_help=True
)


@policies.command("set")
def set_policy(
    ledger: LedgerOption,
    source: Annotated[str, typer.Option(help="The vendor.", show_default=False)],
    kind: Annotated[str, typer.Option(help="The kind of event.", show_default=False)],
    policy: Annotated[str, typer.Argument(help=", ".join(POLICIES), show_default=False)],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the policy for all conflicts of a source and kind, past ones included. Rows follow at once."""

    async def work(environment: Environment, connection: Connection) -> PolicyChange:
        found = await registry.find_ledger(connection, ledger)
        vault = Vault(environment.master_key)
        return await set_conflict_policy(connection, vault, found, source, kind, policy, by="operator")

    change = run_with_connection(data, work)
    if as_json:
        show_json(change._asdict())
    else:
        show(f"{source} {kind}: {policy}; it decides {change.conflicts} conflicts.")


@policies.command("list")
def list_policies(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the policies that differ from the default."""

    async def work(_environment: Environment, connection: Connection) -> list[tuple[str, str, str]]:
        found = await registry.find_ledger(connection, ledger)
        return [(*of, policy) for of, policy in sorted((await policies_of(connection, found.ledger_id)).items())]

    rows = run_with_connection(data, work)
    if as_json:
        show_json([{"source": source, "kind": kind, "policy": policy} for source, kind, policy in rows])
    else:
        show_table(("source", "kind", "policy"), rows, title=f"all others: {DEFAULT_POLICY}")
