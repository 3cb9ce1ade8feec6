"""Stored values are compared by what they are, and shown in one spelling, whatever a driver makes of them."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.database import Connection, connect
from ledger.decimals import format_decimal, normalize
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from projections.rebuild.estimate import plan_rebuild
from projections.rebuild.scope import EVERYTHING
from projections.rebuild.verify_rows import check_rows
from service.cli.terminal.console import format_value
from tests.support.payloads import VAULT, delivery, issued, redeemed, returned

FIGURES = ("10000", "20000", "5000000", "1E+7", "0.000001", "3011.50", "999999999999", "100.10", "0.5", "1E+12")
SPELT_1E4 = "UPDATE accounts SET available = available + 1 WHERE subject = $1"


@pytest.mark.parametrize("figure", FIGURES)
def test_equal_numbers_have_one_spelling(figure: str) -> None:
    number = Decimal(figure)

    assert "E" not in format_decimal(number)
    assert Decimal(format_decimal(number)) == number
    assert str(normalize(number)) == format_decimal(number) == format_decimal(number + Decimal("0.000"))


async def test_figures_of_every_magnitude_are_equal_to_themselves(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    bodies = []
    for customer, figure in enumerate(FIGURES, 1):
        points = Decimal(figure)
        bodies += [
            issued(f"i{customer}", 0, customer, points, bill="b", programCurrentPoints=points),  # type: ignore[arg-type]
            issued(f"j{customer}", 1, customer, points),  # type: ignore[arg-type]
            redeemed(f"r{customer}", 2, customer, points / 2),  # type: ignore[arg-type]
            returned(f"t{customer}", 3, customer, points / 4, "b"),  # type: ignore[arg-type]
        ]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
    await catch_up(connection, ledger.ledger_id)

    plain_connection = await connect(dsn)  # one that reads 10000 as 1E+4
    checked = await check_rows(plain_connection, ledger)
    planned = await plan_rebuild(plain_connection, ledger, EVERYTHING, "ledger", 1)
    report = await rebuild(dsn, workers=1)
    rows = await plain_connection.fetch("SELECT postings FROM statement")
    written = {posting[2] for row in rows for posting in json.loads(row["postings"])}
    await plain_connection.close()

    assert checked.wrong == []
    assert planned.places == {}
    assert report.differing == {}
    assert "10000" in written
    assert {format_decimal(Decimal(text)) for text in written} == written


async def test_a_difference_is_shown_in_plain_words(connection: Connection, dsn: str, ledger: Ledger) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("1", 0, 1, 10_000))])
    await catch_up(connection, ledger.ledger_id)
    await connection.execute(SPELT_1E4, "capillary:9001:1")

    fresh = await connect(dsn)
    [wrong] = (await check_rows(fresh, ledger)).wrong
    await fresh.close()

    assert (wrong.column, format_value(wrong.stored), format_value(wrong.folded)) == ("available", "10001", "10000")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Decimal("1E+4"), "10000"),
        (Decimal("3.50"), "3.5"),
        (datetime(2026, 3, 31, tzinfo=UTC), "2026-03-31T00:00:00+00:00"),
        (b"\x01\xff", "01ff"),
        (None, "nothing"),
        (True, "true"),
        ({"available": Decimal("1E+4"), "last_at": None, "tags": [1, "a"]}, "available 10000, tags 1, a"),
    ],
)
def test_no_spelling_of_a_programming_language_is_shown(value: object, words: str) -> None:
    assert format_value(value) == words
