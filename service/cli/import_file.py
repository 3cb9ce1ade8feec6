"""loyalty import: append the deliveries of a file to a ledger."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

import typer
import uvloop
from rich.progress import Progress

from ledger.errors import FileDamaged
from ledger.gc_tuning import freeze_loaded_objects
from ledger.intake.identify import UNKNOWN
from ledger.parsing import BODY_BYTES_MAX
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.registry import InboundConnection
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.export import import_exported
from service.cli.terminal.console import DataOption, JsonOption, progress_bar, show_json, show_note, show_table
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, load_settings, open_environment
from service.importing import worker_pool
from service.importing.block_appender import BlockAppender
from service.importing.deliveries import LINE_NUMBERS_SHOWN_MAX, ImportSummary, import_lines, is_damaged_file, open_file
from service.importing.preview import preview_import
from service.importing.split import DeliveryLine, DeliveryReader

PARALLEL_BYTES_MIN = 32 * 1024 * 1024  # starting processes takes longer than importing less
UNKNOWN_KIND_NOTE = "of an unknown kind. They are stored, and interpreted once a version of this software reads them"

DeliveryLines = Iterator[DeliveryLine]
ReportSummary = Callable[[ImportSummary], None]


class ImportOptions(NamedTuple):
    """Options of an import of deliveries."""

    repair: bool
    quarantine: bool
    dry_run: bool
    workers: int | None


FileArgument = Annotated[
    Path | None,
    typer.Argument(
        help="NDJSON, documents over several lines, or an array; .gz or .zst too; - is standard input.",
        show_default=False,
    ),
]
ConnectionOption = Annotated[
    str | None,
    typer.Option(
        "--connection",
        help="The connection's id; deliveries are treated as if it had received them.",
        show_default=False,
    ),
]


def import_file(
    file: FileArgument = None,
    connection_id: ConnectionOption = None,
    exported: Annotated[
        Path | None,
        typer.Option(help="Instead of FILE: a file of `loyalty export`.", show_default=False),
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(help="With --exported: the name of the restored ledger.", show_default=False)
    ] = None,
    exporter_key_file: Annotated[
        Path | None,
        typer.Option(
            "--exporter-key", help="With --exported: a file with the exporter's master key, if it differs from ours."
        ),
    ] = None,
    older: Annotated[
        Path | None,
        typer.Option(help="With --exported: a checkpoint that was kept, to compare with.", exists=True, dir_okay=False),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Repair deliveries that are not JSON: trailing commas, markdown, a missing brace."
        ),
    ] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Store unreadable deliveries too, and quarantine them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count kinds, unreadable deliveries and duplicates; store nothing.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Processes for a large file. Default: one for each core if the size is known."
        ),
    ] = None,
    advance: Annotated[bool, typer.Option(help="Bring the projections up to date afterwards.")] = True,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append the deliveries of a file. Run it again after an interruption: stored events are not appended twice.

    If the database is away, for example during a failover, the import waits up to two minutes and goes on.

    Positions follow the order of the file; webhooks may arrive in between. Ends with 1 if a delivery cannot be read or
    is longer than 1 MiB. All others are stored.

    With --exported and --ledger it restores an exported ledger, with equal positions, entries and hashes.
    """
    if exported is not None:
        if ledger is None or file is not None or connection_id is not None:
            raise typer.BadParameter("--exported needs --ledger, and excludes FILE and --connection")
        if repair or quarantine or dry_run:
            raise typer.BadParameter("--exported excludes --repair, --quarantine and --dry-run")
        import_exported(exported, ledger, exporter_key_file, older, advance=advance, data=data, as_json=as_json)
        return
    if file is None or connection_id is None:
        raise typer.BadParameter("give FILE and --connection, or --exported and --ledger")
    options = ImportOptions(repair, quarantine, dry_run, workers)
    summary, marks = _import_deliveries(file, connection_id, options, data, advance=advance and not dry_run)
    _show_summary(summary, marks, options, as_json=as_json)
    if summary.too_long or (summary.unreadable and not quarantine):
        raise typer.Exit(FINDINGS)


def _import_deliveries(
    file: Path, connection_id: str, options: ImportOptions, data: Path | None, *, advance: bool
) -> tuple[ImportSummary, int]:
    """Import a file. Return the summary, and the number of byte order marks skipped."""
    with open_environment(load_settings(data)) as environment, progress_bar() as progress, ExitStack() as opened:
        inbound = uvloop.run(_find(environment, connection_id))
        raw, size = _open(file, opened)
        deliveries = DeliveryReader(open_file(file, raw))
        report_summary = ProgressReporter(progress, raw, size)
        try:
            summary = _import(environment, inbound, deliveries, report_summary, options, size)
            if advance:
                progress.add_task("bringing the projections up to date", total=None)
                uvloop.run(_catch_up(environment, inbound))
        except KeyboardInterrupt:
            progress.stop()
            show_note(_interrupted(report_summary.last, options))
            raise
        except Exception as error:
            if is_damaged_file(error):
                done = "nothing was stored" if options.dry_run else "the deliveries before the damage are appended"
                raise FileDamaged(f"{file}; {done}") from error
            raise
        return summary, deliveries.marks


async def _find(environment: Environment, connection_id: str) -> InboundConnection:
    async with environment.connection() as connection:
        return await registry.find_connection(connection, environment.master_key, connection_id)


class ProgressReporter:
    """Shows the progress of an import, by bytes if the size is known. Remembers the last summary."""

    def __init__(self, progress: Progress, raw: BinaryIO, size: int | None) -> None:
        self.last = ImportSummary()
        self._progress, self._raw, self._size = progress, raw, size
        self._task = progress.add_task("", total=size)

    def __call__(self, summary: ImportSummary) -> None:
        self.last = summary
        done = self._raw.tell() if self._size else None
        self._progress.update(self._task, completed=done, description=f"{summary.lines:,} deliveries")


def _interrupted(last: ImportSummary, options: ImportOptions) -> str:
    if options.dry_run:
        return "Interrupted. A dry run stores nothing."
    return (
        f"Interrupted after {last.lines:,} deliveries: {last.appended:,} events appended, {last.duplicates:,} "
        "duplicates. Run the same command again to continue: stored events are not appended twice."
    )


def _import(
    environment: Environment,
    inbound: InboundConnection,
    deliveries: DeliveryReader,
    report_summary: ReportSummary,
    options: ImportOptions,
    size: int | None,
) -> ImportSummary:
    freeze_loaded_objects()
    lines = iter(deliveries)
    known_large = size is not None and size >= PARALLEL_BYTES_MIN
    workers = options.workers or ((os.cpu_count() or 1) if known_large else 1)
    if workers > 1 and not options.dry_run:
        lines, is_large = _look_ahead(lines)
        if is_large:
            task = worker_pool.ImportTask(
                environment.dsn, environment.master_key, inbound, options.repair, options.quarantine
            )
            return worker_pool.import_by_workers(task, lines, report_summary, workers)
    repair, quarantine, vault = options.repair, options.quarantine, Vault(environment.master_key)

    async def alone() -> ImportSummary:
        if options.dry_run:
            async with environment.connection() as connection:
                return await preview_import(
                    connection, vault, inbound, lines, report_summary, repair=repair, quarantine=quarantine
                )
        async with BlockAppender(environment.dsn, vault, inbound.ledger.ledger_id) as appender:
            return await import_lines(appender, inbound, lines, report_summary, repair=repair, quarantine=quarantine)

    return uvloop.run(alone())


def _look_ahead(lines: DeliveryLines) -> tuple[DeliveryLines, bool]:
    """Return all deliveries, and True if there are enough of them for several processes."""
    held: list[DeliveryLine] = []
    size = 0
    try:
        for line in lines:
            held.append(line)
            size += len(line.body or b"")
            if size >= PARALLEL_BYTES_MIN:
                return chain(held, lines), True
    except Exception as error:
        if not is_damaged_file(error):
            raise
        return chain(held, _raise_error(error)), False
    return iter(held), False


def _raise_error(error: Exception) -> DeliveryLines:
    raise error
    yield


async def _catch_up(environment: Environment, inbound: InboundConnection) -> None:
    async with environment.connection() as connection:
        await generations.ensure_active_generation(connection)
        await catch_up(connection, inbound.ledger.ledger_id)


def _open(file: Path, opened: ExitStack) -> tuple[BinaryIO, int | None]:
    """Open a file, or standard input for `-`. Return it with its size, None if unknown."""
    if str(file) == "-":
        return sys.stdin.buffer, None
    raw = opened.enter_context(file.open("rb"))
    return raw, file.stat().st_size


def _show_summary(summary: ImportSummary, marks: int, options: ImportOptions, *, as_json: bool) -> None:
    report: dict[str, Any] = {
        "lines": summary.lines,
        "appended": summary.appended,
        "duplicates": summary.duplicates,
        "conflicts": summary.conflicts,
        "unreadable": summary.unreadable,
        "too_long": summary.too_long,
    }
    places = summary.repaired_places + Counter({"byte order mark": marks})
    if as_json:
        report |= {"kinds": dict(sorted(summary.kinds.items())), "unreadable_lines": summary.unreadable_lines}
        if options.repair or marks:
            report["repaired"] = {"lines": summary.repaired_lines, "places": places}
        if options.dry_run:
            report["dry_run"] = True
        show_json(report)
    else:
        if options.dry_run:
            show_table(("kind", "events"), sorted(summary.kinds.items()))
        show_table(tuple(report), [[*list(report.values())[:-1], len(summary.too_long)]])
    _note_repairs(summary, places, options)
    _note_unread(summary, options)
    if options.dry_run:
        show_note("Dry run: nothing is stored.")


def _note_repairs(summary: ImportSummary, places: Counter[str], options: ImportOptions) -> None:
    listed = ", ".join(f"{rule} {count:,}" for rule, count in sorted(places.items()))
    if options.repair:
        show_note(f"Repaired: {summary.repaired_lines:,}{listed and f' ({listed})'}. The repaired text is stored.")
    elif places:
        show_note(f"Skipped: {listed}.")


def _note_unread(summary: ImportSummary, options: ImportOptions) -> None:
    if summary.unreadable:
        fate = "quarantined" if options.quarantine else "not stored"
        more = " and more" if summary.unreadable > len(summary.unreadable_lines) else ""
        show_note(f"Unreadable, {fate}: {summary.unreadable:,}, at {_line_numbers(summary.unreadable_lines)}{more}.")
        if not options.quarantine:
            show_note("Use `--repair` to repair common damage, or `--quarantine` to store unreadable deliveries.")
    if summary.kinds[UNKNOWN]:
        show_note(
            f"{summary.kinds[UNKNOWN]:,} events are {UNKNOWN_KIND_NOTE}. Check that the connection is the right one."
        )
    if summary.too_long:
        more = " and more" if len(summary.too_long) > LINE_NUMBERS_SHOWN_MAX else ""
        show_note(f"Longer than {BODY_BYTES_MAX:,} bytes, not stored: {_line_numbers(summary.too_long)}{more}.")


def _line_numbers(numbers: Sequence[int]) -> str:
    return f"line {', '.join(str(number) for number in numbers[:LINE_NUMBERS_SHOWN_MAX])}"
