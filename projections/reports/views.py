"""The report views: one for each table of a projection, and some that are computed from several tables.

1. A view of a table has all columns of the table, under the same names, after `ledger_id` and `subject`.
2. The row type gives the columns, and the comments on them and on the view (tables.py).
3. Names are a contract: docs/reports.md lists them, and a test compares. A new version only adds columns.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from projections.column_descriptions import COLUMN_DESCRIPTIONS
from projections.registry import PROJECTIONS
from projections.reports.computed_views import COMPUTED_VIEWS, PROGRAMME_REF, ComputedView
from projections.tables import Column, Table, columns_of, description_of

SCHEMA = "report"
CHECKPOINTS = "checkpoints"  # the table of a generation that holds the position of each ledger

# Columns that a view computes beside those of its table: name, type, SQL and description.
COMPUTED_COLUMNS: Mapping[str, tuple[str, str, str, str]] = {
    "accounts": (
        "programme_ref",
        "text",
        PROGRAMME_REF.format("account_id"),
        "The programme: source:org:programme, as in lots and programmes.",
    ),
    "lots": (
        "status",
        "text",
        "CASE WHEN remaining = 0 THEN 'used' WHEN lapses_at <= now() THEN 'lapsed' ELSE 'open' END",
        "open, used or lapsed, as of now.",
    ),
}


class ReportColumn(NamedTuple):
    """One column of a view: its type in SQL, and the comment on it."""

    name: str
    sql_type: str
    description: str


class ReportView(NamedTuple):
    """One view. `key` identifies a row within its ledger. `tables` are the tables of a generation that it reads."""

    name: str
    description: str
    columns: Sequence[ReportColumn]
    select: str
    key: Sequence[str]
    tables: Sequence[str]

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


def _view_of_table(table: Table) -> ReportView:
    columns = [_column(column) for column in (*IDENTITY, *columns_of(table.row))]
    expressions = [f'"{column.name}"' for column in columns]
    if extra := COMPUTED_COLUMNS.get(table.name):
        name, sql_type, expression, description = extra
        columns.append(ReportColumn(name, sql_type, description))
        expressions.append(f"{expression} AS {name}")
    select = f"SELECT {', '.join(expressions)} FROM {table.name}"  # noqa: S608 - names of our own tables
    key = table.key if table.unique_key else ("subject", *table.key)
    return ReportView(table.name, description_of(table.row), columns, select, key, (table.name,))


def _computed_view(view: ComputedView) -> ReportView:
    columns = [_column(column) for column in columns_of(view.row)]
    return ReportView(view.name, description_of(view.row), columns, view.select, view.key, view.tables)


def _column(column: Column) -> ReportColumn:
    sql_type = column.sql_type.split(" ")[0]  # without COLLATE and CHECK
    assert column.description is not None, f"describe {column.name} in its row type or in COLUMN_DESCRIPTIONS"
    return ReportColumn(column.name, sql_type, column.description)


IDENTITY = (
    Column("ledger_id", int, False, COLUMN_DESCRIPTIONS["ledger_id"], "int"),
    Column("subject", str, False, COLUMN_DESCRIPTIONS["subject"], "text"),
)
TABLE_VIEWS = tuple(_view_of_table(table) for projection in PROJECTIONS for table in projection.tables)
REPORT_VIEWS: tuple[ReportView, ...] = (*TABLE_VIEWS, *(_computed_view(view) for view in COMPUTED_VIEWS))
TABLE_COLUMNS = {
    table.name: {"ledger_id", "subject", *table.columns} for projection in PROJECTIONS for table in projection.tables
}
REPORTED_TABLES = (CHECKPOINTS, *(view.name for view in TABLE_VIEWS))
