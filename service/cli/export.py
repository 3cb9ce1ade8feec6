"""loyalty export, move, and `loyalty import --exported`: copy a whole ledger to a file and back, or elsewhere."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from ledger.database import Connection, connect
from ledger.errors import ExportWrong
from ledger.privacy.encryption import MasterKey
from ledger.store import registry
from ledger.transparency.checkpoints import write_hash
from ledger.transparency.kept_checkpoints import read_kept_checkpoints
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.reporting.export_views import export_views
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    progress_bar,
    show,
    show_json,
    show_note,
    show_result,
)
from service.environment import Environment, load_settings, open_environment, run_with_connection
from service.importing.deliveries import is_damaged_file, open_file
from service.importing.exported_ledger import (
    RestoredLedger,
    compare_checkpoints,
    open_output,
    restore_ledger,
    write_export,
)
from service.importing.move import LedgerMove, MasterKeys, MoveResult
from service.reporting.file_formats import REPORT_FORMATS
from service.startup_checks import check_schema


def export_ledger(
    ledger: LedgerOption,
    output: Annotated[
        Path,
        typer.Option(
            help="The file to write; .gz and .zst are compressed; - is standard output. For report views: a folder.",
            show_default=False,
        ),
    ] = Path("-"),
    form: Annotated[
        str, typer.Option("--format", help=f"ledger: all events, to restore them. Views: {', '.join(REPORT_FORMATS)}.")
    ] = "ledger",
    view: Annotated[
        list[str] | None, typer.Option("--view", help="Only this report view; may be repeated.", show_default=False)
    ] = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Of report views, write only what changed since the last export.")
    ] = False,
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys", help="Include persons' keys, encrypted under the master key, which is not included."
        ),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a ledger as lines of JSON. `loyalty import --exported` restores an equal ledger, hash for hash.

    Personal values stay encrypted. Without --with-keys they can never be decrypted from this file.
    With --format parquet, ndjson or csv, write the report views to a folder instead.
    """
    if form != "ledger":
        export_views(ledger, output, form, view or (), incremental=incremental, data=data, as_json=as_json)
        return
    if as_json and str(output) == "-":
        raise typer.BadParameter(
            "--json needs --output FILE, because the export goes to standard output", param_hint="--json"
        )

    async def work(environment: Environment, connection: Connection) -> int:
        found = await registry.find_ledger(connection, ledger)
        with progress_bar() as progress, open_output(output) as file:
            task = progress.add_task("", total=None)

            def report_progress(lines: int, _of: int) -> None:
                progress.update(task, description=f"{lines:,} lines")

            return await write_export(
                connection, environment.master_key, found, file, with_keys=with_keys, report_progress=report_progress
            )

    lines = run_with_connection(data, work)
    if as_json:
        show_json({"ledger": ledger, "file": str(output), "lines": lines})
    show_note(f"Wrote {lines:,} lines of the ledger {ledger}.")


def import_exported(
    file: Path,
    ledger: str,
    exporter_key_file: Path | None,
    older: Path | None,
    *,
    advance: bool,
    data: Path | None,
    as_json: JsonOption,
) -> None:
    """Restore an exported ledger, and compare it with a checkpoint that was kept, if there is one.

    Needs the database's owner, not the role of the service.
    """
    kept = None if older is None else read_kept_checkpoints(older.read_bytes())
    exporter = MasterKey.from_text(exporter_key_file.read_text().strip()) if exporter_key_file else None

    async def work(environment: Environment, connection: Connection) -> tuple[RestoredLedger, str | None]:
        key = exporter or environment.master_key
        with progress_bar() as progress, ExitStack() as opened:
            task = progress.add_task("", total=None)

            def report_progress(done: int, of: int) -> None:
                progress.update(task, completed=done, total=of, description=f"{done:,} events")

            raw = opened.enter_context(file.open("rb"))
            restored = await restore_ledger(
                connection, open_file(file, raw), ledger, key, environment.master_key, report_progress
            )
            if advance:
                await generations.ensure_active_generation(connection)
                await catch_up(connection, restored.ledger.ledger_id)
        return restored, None if kept is None else await compare_checkpoints(connection, restored, kept)

    try:
        restored, compared = run_with_connection(data, work, may_make=True)
    except Exception as error:
        if is_damaged_file(error):
            raise ExportWrong("the file is damaged or truncated") from error
        raise
    root, written = restored.root.hex(), write_hash(restored.root)
    if as_json:
        report = {"ledger": restored.ledger.name, "events": restored.events, "root": root, "root_base64": written}
        show_json({**report, "checkpoint": compared})
    else:
        show(f"The ledger {restored.ledger.name} now equals the export: {restored.events:,} events, hash for hash.")
        show(f"The root over these {restored.events:,} events is {root}, in a checkpoint written {written}.")
        show(
            f"Compared: {compared}."
            if compared
            else "It was not compared with a checkpoint. Use --older FILE with a kept checkpoint of this ledger."
        )


def move(
    ledger: Annotated[str, typer.Argument(help="Name of the ledger.", show_default=False)],
    to_database: Annotated[
        str, typer.Option("--to", help="Address of the other database, as its owner.", show_default=False)
    ],
    to_url: Annotated[str, typer.Option(help="URL of the other service, for redirects.", show_default=False)],
    to_key_file: Annotated[
        Path | None, typer.Option(help="File with the other master key. Default: the same as here.", dir_okay=False)
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a ledger to another installation while it takes deliveries. Repeat it if it was broken off.

    Events, rows and roots are compared. If they differ, the ledger stays here. Deliveries get 503 only while the last
    events are copied, and afterwards the address of the other service. Needs the owners of both databases.
    """

    async def work(environment: Environment) -> MoveResult:
        await environment.prepare()
        other = MasterKey.from_text(to_key_file.read_text().strip()) if to_key_file else environment.master_key
        await check_schema(to_database)
        source, target = await connect(environment.dsn), await connect(to_database)
        try:
            with progress_bar() as progress:
                task = progress.add_task("", total=None)

                def report_progress(done: int, of: int) -> None:
                    progress.update(task, completed=done, total=of, description=f"{done:,} events")

                keys = MasterKeys(environment.master_key, other)
                return await LedgerMove(source, target, keys, report_progress).run(ledger, to_url.rstrip("/"))
        finally:
            await source.close()
            await target.close()

    with open_environment(load_settings(data)) as environment:
        moved = uvloop.run(work(environment))
    report = {"ledger": ledger, "events": moved.events, "root": moved.root.hex(), "digest": moved.digest}
    show_result(
        {**report, "seconds_held": round(moved.seconds_held, 3)},
        f"The ledger {ledger} has moved: {moved.events:,} events, the same root and the same rows. "
        f"Deliveries waited for {moved.seconds_held:.1f} s.",
        as_json=as_json,
    )
