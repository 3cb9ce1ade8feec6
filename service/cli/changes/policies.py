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
    show_json,
    show_table,
)
from service.cli.terminal.dry_runs import DryRunOption, show_outcome
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.operations.conflict_policy import PolicyChange, plan_with_facts, set_conflict_policy
from service.operations.preview import Preview, preview_operation

policies = typer.Typer(
    help="Policies for conflicts: which of several events with one key is folded.", no_args_is_help=True
)


@policies.command("set")
def set_policy(
    ledger: LedgerOption,
    source: Annotated[str, typer.Option(help="The vendor.", show_default=False)],
    kind: Annotated[str, typer.Option(help="The kind of event.", show_default=False)],
    policy: Annotated[str, typer.Argument(help=", ".join(POLICIES), show_default=False)],
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set the policy for all conflicts of a source and kind, past ones included. Rows follow at once."""

    async def work(environment: Environment, connection: Connection) -> tuple[PolicyChange, Preview | None]:
        found = await registry.find_ledger(connection, ledger)
        of = (connection, Vault(environment.master_key), found, source, kind, policy)
        if dry_run:
            plan = plan_with_facts(*of, by="operator")
            return await preview_operation(connection, found.ledger_id, plan, with_liability=True)
        await record_command(connection, f"policy set {source} {kind} {policy}", found)
        return await set_conflict_policy(*of, by="operator"), None

    change, preview = run_with_connection(data, work)
    text = f"{source} {kind}: {policy}; it decides {change.conflicts} conflicts."
    show_outcome(change, preview, text, as_json=as_json)


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
