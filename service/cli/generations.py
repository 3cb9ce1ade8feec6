"""loyalty rebuild, generations, promote, rollback, drop: build the projections again, and choose the active
generation."""

from typing import Annotated

import typer
import uvloop
from rich.progress import TimeRemainingColumn

from ledger.database import Connection
from ledger.errors import NotPromoted, SubjectUnknown
from ledger.store import registry
from projections import rebuild
from projections.engine import generations, promotion, store
from projections.engine.generations import Generation
from projections.engine.retry import refold_subjects
from projections.rebuild.comparison import Comparison
from projections.rebuild.pipeline import Source
from projections.rebuild.scope import RebuildScope, check_scope
from projections.registry import BY_SUBJECT
from service.cli.rebuild_checks import show_plan
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    RateColumn,
    format_value,
    progress_bar,
    show,
    show_json,
    show_note,
    show_table,
)
from service.cli.terminal.exit_codes import FINDINGS
from service.cli.terminal.operators import record_command
from service.environment import Environment, load_settings, open_environment, run_with_connection
from service.queries.generations import generation_json

SUBJECTS_SHOWN_MAX = 20

ExpectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--expect", help="A projection, or projection.column, that may differ. Can be repeated.", show_default=False
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Promote even if the comparison found unexpected differences.")
]


def rebuild_projections(
    projection: Annotated[
        list[str] | None, typer.Option(help="Rebuild only this projection. Can be repeated.", show_default=False)
    ] = None,
    source: Annotated[
        Source, typer.Option("--from", help="ledger: derive facts and rows; facts: rows only.")
    ] = "ledger",
    ledger: Annotated[str | None, typer.Option(help="Rebuild only this ledger.", show_default=False)] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Only fold this subject of --ledger from the start, in the active generation; kind:ref or ref.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes. Default: the number of processors.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only estimate the changes and the duration.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Compare only; do not promote without --promote.")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Promote it after the comparison; the default without --compare.")
    ] = False,
    expect: ExpectOption = None,
    force: ForceOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild every row beside the live rows and compare both. Promote the new generation if no difference is
    unexpected.

    The service keeps running. Ends with 1 if a difference is unexpected; the new generation stays for `promote --force`
    or `drop`.
    """
    scope = RebuildScope(tuple(projection or ()), (ledger,) if ledger else ())
    if plan:
        show_plan(scope, source, workers, data, as_json=as_json)
        return
    if subject is not None:
        if ledger is None:
            raise typer.BadParameter("--ledger is required with --subject", param_hint="--ledger")
        _refold_subject(subject, ledger, data, as_json=as_json)
        return

    async def work(environment: Environment) -> rebuild.RebuildReport:
        async with environment.connection() as connection:
            await generations.ensure_active_generation(connection)
            await check_scope(connection, scope)
        with progress_bar(RateColumn(), TimeRemainingColumn()) as progress:
            task = progress.add_task("", total=None)

            def report_progress(stage: str, done: int, of: int) -> None:
                if progress.tasks[0].description != stage:
                    progress.reset(task, total=of or None, description=stage)
                progress.update(task, completed=done)

            return await rebuild.rebuild(
                environment.dsn, source=source, scope=scope, workers=workers, expect=expect or (), force=force,
                to_promote=promote or not compare, progress=report_progress,
            )  # fmt: skip

    with open_environment(load_settings(data)) as environment:
        report = uvloop.run(work(environment))
    _show_report(report, as_json=as_json)
    if report.refused or (not report.promoted and report.comparison and report.comparison.unexpected):
        raise typer.Exit(FINDINGS)


def _show_report(report: rebuild.RebuildReport, *, as_json: bool) -> None:
    comparison = report.comparison
    assert comparison is not None
    if as_json:
        document = {**report._asdict(), "comparison": {**comparison.summary(), "subjects": comparison.subjects}}
        show_json(document)
        return
    show(f"Rebuilt from {report.events:,} events, which gave {report.facts:,} facts: generation {report.generation}.")
    show_comparison(comparison)
    if report.promoted:
        back = "" if comparison.frozen else "; `loyalty rollback` returns to the previous one"
        show(f"Generation {report.generation} is active now{back}.")
    elif report.refused:
        show(f"Not promoted: {report.refused}. `loyalty promote {report.generation} --force` promotes it nevertheless.")
    else:
        show(f"Generation {report.generation} follows the ledger until `loyalty promote` or `loyalty drop`.")


def show_comparison(comparison: Comparison) -> None:
    """Print the differences: counts by column, then the first subjects with the facts that explain them."""
    if comparison.frozen:
        show(
            "Not compared: the tables of the previous generation belong to another version, which stopped "
            "following the ledger."
        )
        return
    for ledger, tables in comparison.differing.items():
        show(f"In {ledger} these tables differ: {', '.join(tables)}.")
    if comparison.new_tables:
        show(f"New tables, without comparison: {', '.join(comparison.new_tables)}.")
    if not comparison.differing:
        show(f"No difference: {sum(comparison.rows.values()):,} rows compared.")
        return
    show(f"Expected differences: {comparison.expected:,}; unexpected: {comparison.unexpected:,}.")
    show_table(("column", "differences"), sorted(comparison.places.items()))
    for subject in comparison.subjects[:SUBJECTS_SHOWN_MAX]:
        show(f"{subject['ledger']} {subject['projection']} {subject['subject']}")
        for difference in subject["differences"][:SUBJECTS_SHOWN_MAX]:
            column = difference["column"] or "(whole row)"
            expected = ", expected" if difference["expected"] else ""
            old, new = format_value(difference["old"]), format_value(difference["new"])
            show(f"  {difference['table']} {column}: {old} -> {new}{expected}")
        for side in ("facts_only_in_old", "facts_only_in_new"):
            for fact in subject.get(side, ()):
                show(f"  {side.replace('_', ' ')}: {fact['kind']} at position {fact['position']}")
        last = [str(fact["position"]) for fact in subject.get("last_facts", ())]
        show(f"  positions of its facts: {', '.join(last) or '-'}")
    if len(comparison.subjects) > SUBJECTS_SHOWN_MAX:
        show_note(f"{len(comparison.subjects) - SUBJECTS_SHOWN_MAX:,} more subjects; --json prints all.")


def _refold_subject(subject: str, ledger: str, data: DataOption, *, as_json: bool) -> None:
    """Fold one subject of a ledger from the start, in the active generation."""

    async def work(_environment: Environment, connection: Connection) -> list[str]:
        found_ledger = await registry.find_ledger(connection, ledger)
        kind, _, reference = subject.partition(":")
        candidates = (
            [(kind, reference)] if kind in BY_SUBJECT else [(subject_kind, subject) for subject_kind in BY_SUBJECT]
        )
        folded = []
        async with connection.transaction():
            await store.hold_checkpoint(connection, found_ledger.ledger_id)
            for subject_kind, ref in candidates:
                if await connection.fetchval(HAS_FACTS, found_ledger.ledger_id, subject_kind, ref):
                    await refold_subjects(connection, found_ledger.ledger_id, subject_kind, [ref])
                    folded.append(f"{found_ledger.name} {subject_kind} {ref}")
        return folded

    folded = run_with_connection(data, work)
    if not folded:
        raise SubjectUnknown(f"{subject}; kinds of subjects: {', '.join(sorted(BY_SUBJECT))}")
    if as_json:
        show_json({"folded": folded})
    else:
        for name in folded:
            show(f"Folded from the start: {name}")


HAS_FACTS = "SELECT EXISTS (SELECT FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject = $3)"


def list_generations(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the generations of the projections with their states."""

    async def work(_environment: Environment, connection: Connection) -> list[Generation]:
        await generations.ensure_active_generation(connection)
        return await generations.list_generations(connection)

    listed = run_with_connection(data, work)
    if as_json:
        show_json([generation_json(generation_listed) for generation_listed in listed])
        return
    columns = ("generation", "status", "basis", "created_at", "promoted_at", "unexpected")
    rows = [
        {**generation_json(generation_listed), "unexpected": (generation_listed.comparison or {}).get("unexpected")}
        for generation_listed in listed
    ]
    show_table(columns, ([row[column] for column in columns] for row in rows))


def promote_generation(
    generation: Annotated[
        int | None, typer.Argument(help="The generation's number. Default: the newest ready one.")
    ] = None,
    expect: ExpectOption = None,
    force: ForceOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a ready generation the active one. With --expect it is compared again first."""

    async def work(environment: Environment, connection: Connection) -> Generation:
        ready = [
            generation_listed.generation
            for generation_listed in await generations.list_generations(connection)
            if generation_listed.state == "ready"
        ]
        if generation is None and not ready:
            raise NotPromoted("no generation is ready; run `loyalty rebuild` first")
        chosen = await generations.find_generation(connection, ready[-1] if generation is None else generation)
        if expect and chosen.state == "ready":
            await rebuild.compare_with_active(environment.dsn, chosen, expect)
        ledgers = await registry.list_ledgers(connection)
        await record_command(connection, f"promote {chosen.generation}", *ledgers)
        return await promotion.promote(environment.dsn, chosen.generation, force=force)

    _show_active(run_with_connection(data, work), as_json=as_json)


def roll_back(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make the previous generation active again, at once. It has followed the ledger."""

    async def work(environment: Environment, connection: Connection) -> Generation:
        await record_command(connection, "rollback", *await registry.list_ledgers(connection))
        return await promotion.roll_back(environment.dsn)

    _show_active(run_with_connection(data, work), as_json=as_json)


def drop_generation(
    generation: Annotated[int, typer.Argument(show_default=False)], data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Remove a generation that is not active. If a reader still uses it, it is removed when the reader has switched."""

    async def work(_environment: Environment, connection: Connection) -> bool:
        ledgers = await registry.list_ledgers(connection)
        await record_command(connection, f"generation drop {generation}", *ledgers)
        return await promotion.drop_generation(connection, generation)

    gone = run_with_connection(data, work)
    if as_json:
        show_json({"generation": generation, "dropped": gone})
    else:
        show(
            f"Generation {generation} is dropped."
            if gone
            else f"Generation {generation} will be dropped when no reader uses it."
        )


def _show_active(active: Generation, *, as_json: bool) -> None:
    if as_json:
        show_json(generation_json(active))
    else:
        show(f"Generation {active.generation} is active now.")
