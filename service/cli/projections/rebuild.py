"""loyalty rebuild: build the projections again, compare them with the active generation, and promote them."""

from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Annotated, Any

import typer
import uvloop

from ledger.database import Connection
from ledger.errors import SetupWrong, SubjectUnknown
from ledger.store import registry
from projections.engine import generations, store
from projections.engine.retry import refold_subjects
from projections.rebuild import RebuildReport, rebuild
from projections.rebuild.comparison import Comparison
from projections.rebuild.pipeline import MakeWorkers, Source
from projections.rebuild.scope import RebuildScope, check_scope
from projections.registry import BY_SUBJECT
from service.cli.projections.rebuild_checks import show_plan
from service.cli.projections.rebuild_progress import join_running, show_stages
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    format_value,
    show,
    show_json,
    show_note,
    show_table,
)
from service.cli.terminal.exit_codes import FINDINGS
from service.cluster.dask_workers import open_cluster
from service.environment import Environment, load_settings, open_environment, run_with_connection

SUBJECTS_SHOWN_MAX = 20

# The options that have a meaning beside these; any other would be ignored, so it is refused.
OPTIONS_BESIDE = {
    "join": {"workers"},
    "plan": {"projection", "source", "ledger", "workers"},
    "subject": {"ledger"},
    "scheduler": {"projection", "source", "ledger", "compare", "promote", "expect", "force"},
}

ExpectOption = Annotated[
    list[str] | None,
    typer.Option(
        "--expect", help="A projection, or projection.column, that may differ. Can be repeated.", show_default=False
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Promote even if the comparison found unexpected differences.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Let the workers of a Dask cluster do the work; tls://HOST:PORT of its scheduler.",
        show_default=False,
    ),
]
JoinOption = Annotated[
    bool, typer.Option("--join", help="Take part in the rebuild that another host has begun, until its end.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Number of processes. Default: the number of processors.")
]


def rebuild_projections(
    context: typer.Context,
    projection: Annotated[
        list[str] | None, typer.Option(help="Rebuild only this projection. Can be repeated.", show_default=False)
    ] = None,
    source: Annotated[
        Source, typer.Option("--basis", help="ledger: derive facts and rows; facts: rows only.")
    ] = "ledger",
    ledger: Annotated[str | None, typer.Option(help="Rebuild only this ledger.", show_default=False)] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            help="Only fold this subject of --ledger from the start, in the active generation; kind:ref or ref.",
            show_default=False,
        ),
    ] = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    join: JoinOption = False,
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
    _refuse_ignored_options(context)
    scope = RebuildScope(tuple(projection or ()), (ledger,) if ledger else ())
    if join:
        join_running(workers, data, as_json=as_json)
        return
    if plan:
        show_plan(scope, source, workers, data, as_json=as_json)
        return
    if subject is not None:
        if ledger is None:
            raise typer.BadParameter("--ledger is required with --subject", param_hint="--ledger")
        _refold_subject(subject, ledger, data, as_json=as_json)
        return

    async def work(environment: Environment, cluster: MakeWorkers | None) -> RebuildReport:
        async with environment.connection() as connection:
            await generations.ensure_active_generation(connection)
            await check_scope(connection, scope)
        with show_stages() as progress:
            return await rebuild(
                environment.dsn, source=source, scope=scope, workers=workers, cluster=cluster, expect=expect or (),
                force=force, to_promote=promote or not compare, progress=progress,
            )  # fmt: skip

    report = _run_rebuild(work, scheduler, data)
    _show_report(report, as_json=as_json)
    if report.refused or (not report.promoted and report.comparison and report.comparison.unexpected):
        raise typer.Exit(FINDINGS)


def _refuse_ignored_options(context: typer.Context) -> None:
    """Raise BadParameter if one option of the command line excludes another."""
    names = {
        param.name: param.opts[0]
        for param in context.command.params
        if param.name
        and (place := context.get_parameter_source(param.name)) is not None
        and place.name == "COMMANDLINE"
    }
    for one, beside in OPTIONS_BESIDE.items():
        excluded = [name for other, name in names.items() if other not in {one, "data", "as_json", *beside}]
        if one in names and excluded:
            raise typer.BadParameter(f"{names[one]} excludes {', '.join(excluded)}", param_hint=names[one])


def _run_rebuild(
    work: Callable[[Environment, MakeWorkers | None], Coroutine[Any, Any, RebuildReport]],
    scheduler: str | None,
    data: DataOption,
) -> RebuildReport:
    """Open the database, and the cluster if a scheduler is named, and run the rebuild."""
    with open_environment(load_settings(data)) as environment:
        if scheduler is not None and environment.embedded:
            raise SetupWrong("--scheduler needs DATABASE_URL: other hosts cannot reach the embedded PostgreSQL")
        with open_cluster(scheduler) if scheduler else nullcontext() as cluster:
            return uvloop.run(work(environment, cluster))


def _show_report(report: RebuildReport, *, as_json: bool) -> None:
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
