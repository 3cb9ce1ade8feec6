"""Formats of report files: Parquet, NDJSON and CSV. Each writer takes blocks of rows, so memory does not grow.

pyarrow writes Parquet (extra `parquet`). Apache maintains it, it has wheels for all platforms, and it writes exact
decimals in blocks. DuckDB would need rows in Arrow first. DuckDB reads the files in the tests.

Points are DECIMAL(38, 12), which DuckDB and pandas sum exactly. A column with a value that does not fit is text in all
rows of the file, so that nothing is rounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ledger.errors import SetupWrong
from projections.reports.views import ReportColumn
from service.formatting import encode_json
from service.reconciliation.formats import csv_line

DECIMAL_DIGITS, DECIMAL_PLACES = 38, 12
DECIMAL_MAX = Decimal(10) ** (DECIMAL_DIGITS - DECIMAL_PLACES)  # values must be below
ROWS_PER_GROUP = 50_000
CHANGE_COLUMNS = (
    ReportColumn("_change", "text", "written, or deleted"),
    ReportColumn("_position", "bigint", "the file shows the events up to this position"),
)
Values = Sequence[Any]


class ReportWriter(Protocol):
    """Writes one file. `close` completes it."""

    def write(self, rows: Sequence[Values]) -> None:
        """Write a block of rows."""

    def close(self) -> None:
        """Write the end of the file. The file itself stays open."""


class ParquetWriter:
    """Writes Parquet in groups of ROWS_PER_GROUP rows."""

    def __init__(self, file: BinaryIO, columns: Sequence[ReportColumn], text_columns: Iterable[str]) -> None:
        self._arrow, parquet = import_arrow()
        exact = set(text_columns)
        self._types = [self._type(column, text=column.name in exact) for column in columns]
        self._texts = [column.name in exact for column in columns]
        fields = [
            self._arrow.field(column.name, type_, metadata={"description": column.description})
            for column, type_ in zip(columns, self._types, strict=True)
        ]
        self._schema = self._arrow.schema(fields)
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._rows = 0

    def _type(self, column: ReportColumn, *, text: bool) -> Any:
        arrow = self._arrow
        if text:
            return arrow.string()
        types: Mapping[str, Any] = {
            "boolean": arrow.bool_(),
            "int": arrow.int32(),
            "bigint": arrow.int64(),
            "text": arrow.string(),
            "numeric": arrow.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES),
            "date": arrow.date32(),
            "timestamptz": arrow.timestamp("us", tz="UTC"),
            "text[]": arrow.list_(arrow.string()),
        }
        return types[column.sql_type]

    def write(self, rows: Sequence[Values]) -> None:
        """Add a block of rows. A group is written as soon as it is full."""
        arrays = []
        for values, type_, text in zip(zip(*rows, strict=True), self._types, self._texts, strict=True):
            cells = [None if value is None else f"{value:f}" for value in values] if text else values
            arrays.append(self._arrow.array(cells, type=type_))
        self._batches.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= ROWS_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._batches:
            table = self._arrow.Table.from_batches(self._batches, schema=self._schema)
            self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        self._batches, self._rows = [], 0

    def close(self) -> None:
        """Write the last group and the footer."""
        self._write_group()
        self._writer.close()


class NdjsonWriter:
    """Writes one JSON object a line. Points are strings, as in every answer."""

    def __init__(self, file: BinaryIO, columns: Sequence[ReportColumn], _text_columns: Iterable[str]) -> None:
        self._file = file
        self._names = [column.name for column in columns]

    def write(self, rows: Sequence[Values]) -> None:
        """Write a block of lines."""
        self._file.writelines(encode_json(dict(zip(self._names, row, strict=True))) for row in rows)

    def close(self) -> None:
        """Do nothing: lines have no end."""


class CsvWriter:
    """Writes CSV by RFC 4180 with a heading. An empty cell is null."""

    def __init__(self, file: BinaryIO, columns: Sequence[ReportColumn], _text_columns: Iterable[str]) -> None:
        self._file = file
        file.write(csv_line([column.name for column in columns]))

    def write(self, rows: Sequence[Values]) -> None:
        """Write a block of lines."""
        self._file.writelines(csv_line(row) for row in rows)

    def close(self) -> None:
        """Do nothing: lines have no end."""


def import_arrow() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet. Raises SetupWrong without the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SetupWrong("Parquet needs more packages. Install loyalty-ledger[parquet]") from None
    return pyarrow, pyarrow.parquet


def open_writer(
    form: str, file: BinaryIO, columns: Sequence[ReportColumn], text_columns: Iterable[str]
) -> ReportWriter:
    """Return the writer of a format. Raises SetupWrong if its packages are missing."""
    writer: ReportWriter = WRITERS[form](file, columns, text_columns)
    return writer


def file_name(form: str, sequence: int, position: int) -> Path:
    """Return the name of a file: names sort in the order in which the files were written."""
    return Path(f"{sequence:06d}-{position:012d}.{form}")


WRITERS: Mapping[str, Any] = {"parquet": ParquetWriter, "ndjson": NdjsonWriter, "csv": CsvWriter}
REPORT_FORMATS = tuple(WRITERS)
