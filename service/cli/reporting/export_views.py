"""`loyalty export --format parquet`: write the report views of a ledger to a folder."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store import registry
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.terminal.console import show_json, show_note, show_table
from service.environment import Environment, run_with_connection
from service.reporting.export_reports import ExportRequest, choose_views, export_reports
from service.reporting.file_formats import REPORT_FORMATS
from service.reporting.manifest import MANIFEST, ReportManifest


def export_views(
    ledger: str, folder: Path, form: str, views: Sequence[str], *, incremental: bool, data: Path | None, as_json: bool
) -> None:
    """Write report views to a folder, and show what was written. Raises RequestInvalid."""
    if form not in REPORT_FORMATS:
        raise RequestInvalid(f"--format must be one of ledger, {', '.join(REPORT_FORMATS)}")
    if str(folder) == "-":
        raise RequestInvalid("report views need `--output FOLDER`")
    choose_views(views)

    async def work(_environment: Environment, connection: Connection) -> ReportManifest:
        await generations.ensure_active_generation(connection)
        found = await registry.find_ledger(connection, ledger)
        await catch_up(connection, found.ledger_id)
        return await export_reports(connection, found, ExportRequest(folder, form, views, incremental))

    manifest = run_with_connection(data, work)
    if as_json:
        show_json(msgspec.to_builtins(manifest))
        return
    rows = []
    for name, view in manifest.views.items():
        new = [file for file in view.files if int(Path(file.name).name.split("-")[0]) == manifest.sequence]
        written, deleted = sum(file.written for file in new), sum(file.deleted for file in new)
        rows.append((name, view.rows, written, deleted, new[0].name if new else None))
    show_table(("view", "rows", "written", "deleted", "file"), rows)
    show_note(f"The files show position {manifest.position:,}. {folder / MANIFEST} lists them.")
