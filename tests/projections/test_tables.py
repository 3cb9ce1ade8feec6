"""The row type of a table gives its columns in PostgreSQL, and its rows."""

from datetime import date
from decimal import Decimal
from typing import Annotated, NamedTuple

import msgspec
import pytest

from ledger.database import Connection
from projections.column_descriptions import COLUMN_DESCRIPTIONS
from projections.engine.generations import active_schema
from projections.registry import PROJECTIONS
from projections.tables import Column, Identifier, Position, SqlType, StateOnly, Table, columns_of, row_from

READ_COLUMNS = """
    SELECT table_name, column_name, format_type(a.atttypid, a.atttypmod) AS type, is_nullable = 'YES' AS nullable
      FROM information_schema.columns
      JOIN pg_attribute a ON attrelid = (table_schema || '.' || table_name)::regclass AND attname = column_name
     WHERE table_schema = $1 ORDER BY table_name, ordinal_position
"""


class StampRow(NamedTuple):
    customer: Identifier | None
    stamps: Annotated[Decimal, SqlType("numeric CHECK (stamps >= 0)")]
    given_on: Annotated[date | None, "day of the last stamp"]
    cards: list[str]
    last_position: Position


class StampCard(msgspec.Struct):
    stamps: Decimal
    given_on: date | None = None
    customer: str | None = None
    cards: list[str] = []
    position: int = 0


def test_annotations_give_types_and_descriptions_of_columns() -> None:
    assert columns_of(StampRow) == (
        Column("customer", str, True, COLUMN_DESCRIPTIONS["customer"], 'text COLLATE "C"'),
        Column("stamps", Decimal, False, None, "numeric CHECK (stamps >= 0)"),
        Column("given_on", date, True, "Day of the last stamp.", "date"),
        Column("cards", list[str], False, None, "text[]"),
        Column("last_position", int, False, COLUMN_DESCRIPTIONS["last_position"], "bigint"),
    )


def test_a_key_within_a_subject_begins_with_the_subject() -> None:
    indexes = {"flagged": "(ledger_id, subject) WHERE stamps > 9"}

    assert Table("stamps", StampRow, indexes, key=("customer",)).index == (
        "ALTER TABLE stamps ADD PRIMARY KEY (ledger_id, subject, customer)",
        "CREATE INDEX stamps_flagged ON stamps (ledger_id, subject) WHERE stamps > 9",
        "CREATE INDEX stamps_customer ON stamps (ledger_id, customer)",
    )
    assert Table("stamps", StampRow, key=("customer",), unique_key=True).index == (
        "ALTER TABLE stamps ADD PRIMARY KEY (ledger_id, customer)",
        "CREATE INDEX stamps_subject ON stamps (ledger_id, subject)",
        "CREATE INDEX stamps_customer ON stamps (ledger_id, customer)",
    )


def test_a_row_takes_columns_by_name_from_the_state() -> None:
    card = StampCard(Decimal(3), given_on=date(2024, 5, 1), customer="capillary:1:2", position=7)

    assert row_from(card, StampRow, cards=["a"], last_position=card.position) == StampRow(
        "capillary:1:2", Decimal(3), date(2024, 5, 1), ["a"], 7
    )


class Visit(msgspec.Struct):
    customer: Identifier | None = None
    seen: StateOnly[dict[str, int]] = {}


class VisitRow(Visit, kw_only=True):
    visits: Annotated[int, "repeated reports count once"]


def test_a_row_type_adds_computed_columns_to_a_state() -> None:
    assert [column.name for column in columns_of(VisitRow)] == ["customer", "visits"]
    row = row_from(Visit("capillary:1:2", {"a": 1}), VisitRow, visits=1)

    assert row == ("capillary:1:2", 1)
    assert row._asdict() == {"customer": "capillary:1:2", "visits": 1}  # type: ignore[attr-defined]


def test_a_row_refuses_a_value_for_no_column() -> None:
    with pytest.raises(TypeError, match=r"StampRow has no columns \['postion'\]"):
        row_from(StampCard(Decimal(1)), StampRow, last_position=1, postion=1)


async def test_the_database_has_the_columns_that_row_types_declare(connection: Connection) -> None:
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for table, *column in await connection.fetch(READ_COLUMNS, await active_schema(connection)):
        found.setdefault(table, []).append(tuple(column))

    for table in (table for projection in PROJECTIONS for table in projection.tables):
        declared = [
            (column.name, column.sql_type.split(" COLLATE")[0].split(" CHECK")[0], column.nullable)
            for column in columns_of(table.row)
        ]
        formats = {"int": "integer", "timestamptz": "timestamp with time zone"}
        assert found[table.name] == [
            ("ledger_id", "integer", False),
            ("subject", "text", False),
            *((name, formats.get(sql_type, sql_type), nullable) for name, sql_type, nullable in declared),
            *((name, "bigint", True) for name in table.sort_keys),
        ]
