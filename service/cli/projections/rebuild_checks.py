"""loyalty rebuild --plan, events check, verify --projections: checks of events and rows that write nothing."""

from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.store import registry
from projections.rebuild import estimate, recheck_events
from projections.rebuild.estimate import RebuildPlan
from projections.rebuild.recheck_events import RecheckResult
from projections.rebuild.scope import RebuildScope, check_scope
from projections.rebuild.verify_rows import RowCheck, check_rows
from service.cli.ledgers import choose_ledgers
from service.cli.terminal.console import DataOption, JsonOption, format_value, progress_bar, show, show_json, show_table
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, run_with_connection

DIFFERENCES_SHOWN_MAX = 20
SAMPLE_SIZE = 200

events = typer.Typer(help="Checks of stored events.", no_args_is_help=True)
LedgerFilterOption = Annotated[str | None, typer.Option("--ledger", help="This ledger only.", show_default=False)]


def show_plan(scope: RebuildScope, source: str, workers: int | None, data: DataOption, *, as_json: bool) -> None:
    """Estimate from a sample the changes and the duration of a rebuild."""

    async def work(_environment: Environment, connection: Connection) -> list[RebuildPlan]:
        await check_scope(connection, scope)
        chosen = await registry.list_ledgers(connection)
        named = [ledger for ledger in chosen if not scope.ledgers or ledger.name in scope.ledgers]
        return [await estimate.plan_rebuild(connection, ledger, scope, source, workers) for ledger in named]

    plans = run_with_connection(data, work)
    if as_json:
        show_json([plan._asdict() for plan in plans])
        return
    for plan in plans:
        show(
            f"{plan.ledger}: {plan.events:,} events, {plan.facts:,} facts; about {plan.seconds:,} s. "
            f"Sampled: {plan.subjects_sampled:,} subjects, {plan.events_sampled:,} events."
        )
        if plan.new_tables:
            show(f"New tables: {', '.join(plan.new_tables)}.")
        changed = [kind for kind in plan.kinds if kind["no_longer_read"] or kind["read_now"]]
        if changed:
            columns = ("source", "kind", "events", "sampled", "unread_before", "unread_now")
            show_table(columns, ([kind[name] for name in columns] for kind in changed))
        if plan.places:
            show_table(("column", "differences in the sample"), sorted(plan.places.items()))
        elif not changed and not plan.new_tables:
            show("No sampled row would change.")


@events.command("check")
def check_events(ledger: LedgerFilterOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Interpret every event with this version's models, write nothing, and list the events that cannot be read.

    Ends with 1 if an event gave facts before and gives none now.
    """

    async def work(_environment: Environment, connection: Connection) -> dict[str, RecheckResult]:
        found = {}
        with progress_bar() as progress:
            task = progress.add_task("", total=None)
            for chosen_ledger in await choose_ledgers(connection, ledger):

                def report_progress(done: int, of: int, name: str = chosen_ledger.name) -> None:
                    progress.update(task, completed=done, total=of, description=f"{name}: events")

                found[chosen_ledger.name] = await recheck_events.recheck_events(
                    connection, chosen_ledger, report_progress
                )
        return found

    found = run_with_connection(data, work)
    if as_json:
        show_json({name: recheck_events.recheck_json(result) for name, result in found.items()})
    else:
        for name, result in found.items():
            show(
                f"{name}: {result.events:,} events give {result.facts:,} facts; {result.gained:,} can be read now "
                "but not before."
            )
            columns = ("source", "kind", "unread", "reason", "events", "gave_facts", "positions")
            if result.unread:
                show_table(columns, result.unread)
            if result.lost:
                show(f"{result.lost:,} events gave facts before and give none now.")
    if any(result.lost for result in found.values()):
        raise typer.Exit(FINDINGS)


def verify_projections(
    *, sample: int | None, everything: bool, seed: int, ledger: str | None, data: DataOption, as_json: bool
) -> None:
    """Fold subjects from their facts, derive facts from the events, and compare both with the stored rows. Writes
    nothing.

    Ends with 0 if all are equal, with 1 if not.
    """

    async def work(_environment: Environment, connection: Connection) -> dict[str, RowCheck]:
        size = None if everything else sample or SAMPLE_SIZE
        chosen = await choose_ledgers(connection, ledger)
        return {one.name: await check_rows(connection, one, sample=size, seed=seed) for one in chosen}

    found = run_with_connection(data, work)
    if as_json:
        show_json({name: _document(one) for name, one in found.items()})
    else:
        for name, one in found.items():
            show(
                f"{name}: {one.subjects:,} subjects and {one.events:,} events checked, {len(one.wrong):,} differences."
            )
            for mismatch in one.wrong[:DIFFERENCES_SHOWN_MAX]:
                cell = f"{mismatch.table}.{mismatch.column or '(row)'}"
                stored, computed = format_value(mismatch.stored), format_value(mismatch.folded)
                show(f"  {mismatch.projection} {mismatch.subject} {cell}: stored {stored}, computed {computed}")
                show(f"    positions of its facts: {', '.join(map(str, mismatch.positions)) or '-'}")
    if any(one.wrong for one in found.values()):
        raise typer.Exit(FINDINGS)


def _document(checked: RowCheck) -> dict[str, Any]:
    return {**checked._asdict(), "wrong": [one._asdict() for one in checked.wrong]}
