"""Report files hold the rows of the views: whole, and as changes that add up to the whole."""

import csv
import json
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine.worker import catch_up
from projections.reports.views import REPORT_VIEWS, ReportView
from service.reporting.export_reports import ExportRequest, export_reports
from service.reporting.file_formats import CHANGE_COLUMNS
from service.reporting.manifest import ReportManifest, read_manifest
from service.reporting.row_hashes import HashedRow, RowComparison
from tests.support.payloads import VAULT, delivery, issued, merged, redeemed, returned, samples

BY_NAME = {view.name: view for view in REPORT_VIEWS}
LATEST = """
    SELECT * EXCLUDE (n, _change, _position) FROM (
        SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY _position DESC, filename DESC) AS n
          FROM read_parquet('{files}', filename = true))
     WHERE n = 1 AND _change = 'written'
"""


async def deliver(connection: Connection, ledger: Ledger, *bodies: bytes, source: str | None = None) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body, source) for body in bodies])
    await catch_up(connection, ledger.ledger_id)


async def rows_of(connection: Connection, ledger: Ledger, view: ReportView) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(f"SELECT * FROM report.{view.name} WHERE ledger_id = $1", ledger.ledger_id)  # noqa: S608
    return sort(tuple(row) for row in rows)


def sort(rows: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=repr_of)


def repr_of(row: Sequence[Any]) -> str:
    return repr([value.normalize() if isinstance(value, Decimal) else value for value in row])


def read(folder: Path, manifest: ReportManifest, name: str) -> list[dict[str, Any]]:
    """Return the lines of a view in Parquet files, oldest first."""
    lines: list[dict[str, Any]] = []
    for file in manifest.views[name].files:
        lines += pyarrow.parquet.read_table(folder / file.name).to_pylist()
    return lines


def applied(folder: Path, manifest: ReportManifest, name: str) -> list[tuple[Any, ...]]:
    """Return the rows of a view after all changes of its files."""
    rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for number, line in enumerate(read(folder, manifest, name)):
        key = tuple(line[column] for column in BY_NAME[name].key) or (number,)
        rows.pop(key, None)
        if line["_change"] == "written":
            rows[key] = tuple(line[column] for column in BY_NAME[name].column_names)
    return sort(rows.values())


async def test_parquet_read_back_equals_the_rows_of_every_view(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    other = await create_ledger(connection, "other")
    await deliver(connection, other, issued("x", 0, 1, 99))
    for source in ("capillary", "voucherify", "ascenda", "fabric"):
        await deliver(connection, ledger, *samples(source), source=source)

    manifest = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet"))

    assert list(manifest.views) == list(BY_NAME)
    assert read_manifest(tmp_path) == manifest
    empty = []
    for name, view in BY_NAME.items():
        rows = await rows_of(connection, ledger, view)
        assert applied(tmp_path, manifest, name) == rows, name
        assert manifest.views[name].rows == len(rows)
        empty += [] if rows else [name]
        schema = pyarrow.parquet.read_schema(tmp_path / manifest.views[name].files[0].name)
        assert schema.names == [*view.column_names, *(column.name for column in CHANGE_COLUMNS)]
    assert len(empty) < 12, empty


async def test_changes_added_to_the_first_export_give_the_present_rows(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await deliver(connection, ledger, *(issued(f"a{n}", n, n, 10, bill=f"B{n}") for n in range(8)))
    first = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet"))
    nothing = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", incremental=True))
    late = issued("late", 1, 1, 7)  # placed before the account's other facts
    await deliver(
        connection, ledger, redeemed("r", 9, 2, 4), returned("t", 10, 3, 10, "B3"), late, merged("m", 11, 4, 0)
    )

    manifest = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", incremental=True))

    keyed = [name for name, view in BY_NAME.items() if view.key]
    assert all(nothing.views[name].files == first.views[name].files for name in keyed)
    for name, view in BY_NAME.items():
        assert applied(tmp_path, manifest, name) == await rows_of(connection, ledger, view), name
    [whole, change] = manifest.views["accounts"].files
    assert (whole.after, whole.position, change.after, change.position) == (None, 8, 8, 12)
    assert (whole.written, change.written, change.deleted) == (8, 5, 0)
    gone = [line for line in read(tmp_path, manifest, "statement") if line["_change"] == "deleted"]
    assert all(line["kind"] is None and line["account_id"] for line in gone)


async def test_duckdb_sums_exact_points_and_takes_the_latest_rows(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await deliver(connection, ledger, issued("a", 0, 1, Decimal("0.1")), issued("b", 0, 2, Decimal("0.2")))  # type: ignore[arg-type]
    await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", ("accounts",)))
    await deliver(connection, ledger, redeemed("c", 5, 2, 0.05))  # type: ignore[arg-type]
    await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", ("accounts",), incremental=True))

    latest = LATEST.format(key="ledger_id, account_id", files=tmp_path / "accounts" / "*.parquet")
    [(total,)] = duckdb.execute(f"SELECT sum(available) FROM ({latest})").fetchall()  # noqa: S608

    assert total == Decimal("0.25")


async def test_a_decimal_that_does_not_fit_makes_its_column_text_and_loses_nothing(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await deliver(connection, ledger, issued("a", 0, 1, 10), issued("b", 0, 2, 10))
    await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", ("lots",)))
    exact = "1234567890123456789012345678.123456789012345678"
    await connection.execute("UPDATE lots SET points = $1 WHERE account_id LIKE '%:1:77:points'", Decimal(exact))

    manifest = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", ("lots",), incremental=True))

    view = manifest.views["lots"]
    assert (view.text_columns, len(view.files), view.files[0].after) == (["points"], 1, None)  # written whole again
    lines = read(tmp_path, manifest, "lots")
    assert sorted(line["points"] for line in lines) == ["10", exact]
    assert {line["remaining"] for line in lines} == {Decimal(10)}


async def test_ndjson_and_csv_hold_the_same_rows(connection: Connection, ledger: Ledger, tmp_path: Path) -> None:
    await deliver(connection, ledger, *samples("capillary"))

    lines = {}
    for form in ("ndjson", "csv"):
        manifest = await export_reports(connection, ledger, ExportRequest(tmp_path / form, form, ("accounts", "lots")))
        lines[form] = (tmp_path / form / manifest.views["accounts"].files[0].name).read_text()

    objects = [json.loads(line) for line in lines["ndjson"].splitlines()]
    table = list(csv.DictReader(lines["csv"].splitlines()))
    accounts = await rows_of(connection, ledger, BY_NAME["accounts"])
    assert len(objects) == len(table) == len(accounts) > 3
    for line, cells in zip(objects, table, strict=True):
        assert {name: cells[name] for name in ("account_id", "available", "_change")} == {
            name: line[name] for name in ("account_id", "available", "_change")
        }


async def test_a_crash_leaves_the_last_complete_export(
    connection: Connection, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deliver(connection, ledger, issued("a", 0, 1, 10))
    names = ("accounts", "lots")
    first = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", names))
    await deliver(connection, ledger, issued("b", 1, 2, 20))

    with monkeypatch.context() as patched:
        patched.setattr("service.reporting.export_reports.write_manifest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", names, incremental=True))
    kept = read_manifest(tmp_path)
    again = await export_reports(connection, ledger, ExportRequest(tmp_path, "parquet", names, incremental=True))

    assert kept == first
    assert sorted(path.name for path in (tmp_path / "accounts").iterdir()) == [
        Path(file.name).name for file in again.views["accounts"].files
    ]
    assert applied(tmp_path, again, "accounts") == await rows_of(connection, ledger, BY_NAME["accounts"])


async def test_a_folder_of_another_ledger_or_format_is_refused(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    other = await create_ledger(connection, "other")
    await export_reports(connection, ledger, ExportRequest(tmp_path, "csv", ("drift",)))

    with pytest.raises(RequestInvalid, match="choose another folder"):
        await export_reports(connection, other, ExportRequest(tmp_path, "csv", ("drift",)))
    with pytest.raises(RequestInvalid, match="choose another folder"):
        await export_reports(connection, ledger, ExportRequest(tmp_path, "ndjson", ("drift",)))
    with pytest.raises(RequestInvalid, match="there is no view nothing"):
        await export_reports(connection, ledger, ExportRequest(tmp_path, "csv", ("nothing",)))


def test_the_changes_of_any_two_sets_of_rows_turn_one_into_the_other() -> None:
    drawn = random.Random(7)
    for _ in range(200):
        before, now = (
            {f"[{drawn.randrange(30):02d}]": str(drawn.randrange(2)) for _ in range(drawn.randrange(20))} for _ in "12"
        )

        comparison = RowComparison(iter([HashedRow(*row) for row in sorted(before.items())]))
        changes = [change for row in sorted(now.items()) for change in comparison.compare(HashedRow(*row))]
        changes += comparison.rest()

        written = {change.key for change in changes if not change.deleted}
        deleted = {change.key for change in changes if change.deleted}
        assert written == {key for key, hash_ in now.items() if before.get(key) != hash_}
        assert deleted == before.keys() - now.keys()
