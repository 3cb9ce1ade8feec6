"""Write the report views of a ledger to files: whole, or only what changed since the last time.

1. All views are read in one repeatable-read transaction, so the files show one position.
2. Rows are read from the tables of the session's generation by the queries of the views. So a promotion does not wait.
3. Rows are streamed. Memory does not grow with the ledger.
4. A file appears under its name when it is complete. The manifest is replaced last.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ledger import clock
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store.registry import Ledger
from projections.engine import store
from projections.queries.account_history import snapshot
from projections.reports.views import REPORT_VIEWS, ReportView
from service.formatting import format_time
from service.reporting.file_formats import (
    CHANGE_COLUMNS,
    DECIMAL_MAX,
    DECIMAL_PLACES,
    ReportWriter,
    Values,
    file_name,
    import_arrow,
    open_writer,
)
from service.reporting.manifest import (
    STATE,
    ReportedView,
    ReportFile,
    ReportManifest,
    one_export_at_a_time,
    read_manifest,
    replacing,
    write_manifest,
)
from service.reporting.row_hashes import HashedRow, HashWriter, RowComparison, key_values, read_hashes

ROWS_PER_FETCH = 2_000
CURRENT_SCHEMA = "SELECT current_schema()"
WRITTEN, DELETED = "written", "deleted"


class ExportRequest(NamedTuple):
    """Parameters of an export: the folder, the format, the views (empty: all), and whether only changes are written."""

    folder: Path
    form: str
    views: Sequence[str] = ()
    incremental: bool = False


async def export_reports(connection: Connection, ledger: Ledger, request: ExportRequest) -> ReportManifest:
    """Write the views to a folder, and return its manifest. Raises RequestInvalid, SetupWrong."""
    views = choose_views(request.views)
    if request.form == "parquet":
        import_arrow()
    with one_export_at_a_time(request.folder):
        before = read_manifest(request.folder)
        if before is not None and (before.ledger, before.format) != (ledger.name, request.form):
            raise RequestInvalid(
                f"the folder holds {before.format} files of the ledger {before.ledger}: choose another folder"
            )
        async with snapshot(connection):
            export = _Export(
                connection, ledger, request, before, await store.read_checkpoint(connection, ledger.ledger_id)
            )
            written = {view.name: await export.write_view(view) for view in views}
            manifest = ReportManifest(
                ledger.name,
                request.form,
                export.sequence,
                export.position,
                await connection.fetchval(CURRENT_SCHEMA),
                format_time(clock.now()),
                {**(before.views if before is not None and request.views else {}), **written},
            )
        write_manifest(request.folder, manifest)
    return manifest


def choose_views(names: Sequence[str]) -> Sequence[ReportView]:
    """Return the named views, or all. Raises RequestInvalid."""
    known = {view.name: view for view in REPORT_VIEWS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RequestInvalid(f"there is no view {unknown[0]}: see `loyalty report views`")
    return [known[name] for name in names] or REPORT_VIEWS


class _Export:
    """One export in progress."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        request: ExportRequest,
        before: ReportManifest | None,
        position: int,
    ) -> None:
        self._connection = connection
        self._ledger_id = ledger.ledger_id
        self._request = request
        self._before = before
        self.position = position
        self.sequence = 1 if before is None else before.sequence + 1

    async def write_view(self, view: ReportView) -> ReportedView:
        """Write the file of one view, unless nothing changed. Return its entry in the manifest."""
        folder, form = self._request.folder, self._request.form
        (folder / view.name).mkdir(exist_ok=True)
        text_columns = await self._oversized_columns(view) if form == "parquet" else []
        before = self._comparable(view, text_columns)
        name = Path(view.name) / file_name(form, self.sequence, self.position)
        hashes = Path(STATE) / f"{view.name}-{self.sequence:06d}.gz" if view.key else None
        counts = {WRITTEN: 0, DELETED: 0}
        rows = 0
        with ExitStack() as opened:
            file = opened.enter_context(replacing(folder / name))
            writer = open_writer(form, file, (*view.columns, *CHANGE_COLUMNS), text_columns)
            hash_writer = HashWriter(folder / hashes) if hashes else None
            opened.callback(hash_writer.close if hash_writer else int)
            known = read_hashes(folder / before.hashes if before and before.hashes else None)
            comparison = RowComparison(known) if hashes else None
            async for block in self._read(view):
                rows += len(block)
                self._write(writer, self._changed(view, block, comparison, hash_writer), counts)
            if comparison is not None:
                self._write(writer, (self._deleted(view, change.key) for change in comparison.rest()), counts)
            writer.close()
        files = list(before.files) if before else []
        if before and not any(counts.values()):
            (folder / name).unlink()
        else:
            after = self._before.position if before and self._before else None
            files.append(ReportFile(str(name), after, self.position, counts[WRITTEN], counts[DELETED]))
        return ReportedView(
            view.column_names, list(view.key), text_columns, rows, str(hashes) if hashes else None, files
        )

    def _comparable(self, view: ReportView, text_columns: list[str]) -> ReportedView | None:
        """Return the last export of a view if changes can be added to it. None: the view is written whole."""
        if not self._request.incremental or self._before is None or not view.key:
            return None
        before = self._before.views.get(view.name)
        if before is None or before.hashes is None or not (self._request.folder / before.hashes).exists():
            return None
        same = (before.columns, before.key, before.text_columns) == (view.column_names, list(view.key), text_columns)
        return before if same else None

    async def _oversized_columns(self, view: ReportView) -> list[str]:
        """Return the columns with a value that does not fit into a decimal of a Parquet file."""
        names = [column.name for column in view.columns if column.sql_type == "numeric"]
        if not names:
            return []
        checks = ", ".join(
            f'bool_or(scale(trim_scale("{name}")) > {DECIMAL_PLACES} OR abs("{name}") >= {DECIMAL_MAX:f})'
            for name in names
        )
        row = await self._connection.fetchrow(
            f"SELECT {checks} FROM ({view.select}) AS shown WHERE ledger_id = $1",  # noqa: S608 - our own names
            self._ledger_id,
        )
        assert row is not None
        return [name for name, oversized in zip(names, row, strict=True) if oversized]

    async def _read(self, view: ReportView) -> AsyncIterator[Sequence[Any]]:
        """Yield the rows of a view in blocks, each with its columns, its key and its hash, in the order of the keys."""
        names = ", ".join(f'"{name}"' for name in view.column_names)
        query = f"SELECT {names} FROM ({view.select}) AS shown WHERE ledger_id = $1"  # noqa: S608 - our own names
        if view.key:
            key = ", ".join(f'"{name}"' for name in view.key)
            query = (
                f"SELECT {names}, jsonb_build_array({key})::text AS key_of_row, "  # noqa: S608 - our own names
                f"left(encode(sha256(convert_to(ROW({names})::text, 'UTF8')), 'hex'), 32) AS hash_of_row "
                f"FROM ({view.select}) AS shown WHERE ledger_id = $1 "
                f'ORDER BY jsonb_build_array({key})::text COLLATE "C"'
            )
        cursor = await self._connection.cursor(query, self._ledger_id)
        while block := await cursor.fetch(ROWS_PER_FETCH):
            yield block

    def _changed(
        self, view: ReportView, block: Sequence[Any], comparison: RowComparison | None, hashes: HashWriter | None
    ) -> Iterator[Values]:
        """Yield the rows of a block that changed, and the keys that are gone, as lines of the file."""
        width = len(view.columns)
        for record in block:
            values = tuple(record)
            if comparison is None or hashes is None:
                yield (*values, WRITTEN, self.position)
                continue
            row = HashedRow(values[width], values[width + 1])
            hashes.write(row)
            for change in comparison.compare(row):
                if change.deleted:
                    yield self._deleted(view, change.key)
                else:
                    yield (*values[:width], WRITTEN, self.position)

    def _deleted(self, view: ReportView, key: str) -> Values:
        """Return the line of a deleted row: its ledger and its key; all other columns are null."""
        known = dict(zip(view.key, key_values(key), strict=True)) | {"ledger_id": self._ledger_id}
        types = {column.name: column.sql_type for column in view.columns}
        values = (
            date.fromisoformat(known[name]) if types[name] == "date" and known.get(name) else known.get(name)
            for name in view.column_names
        )
        return (*values, DELETED, self.position)

    @staticmethod
    def _write(writer: ReportWriter, lines: Iterator[Values], counts: dict[str, int]) -> None:
        """Write lines in blocks, and count them."""
        while block := list(islice(lines, ROWS_PER_FETCH)):
            writer.write(block)
            for line in block:
                counts[line[-2]] += 1
