"""The computed report views equal the answers of the service."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ledger import clock
from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.accounts.classes import MOVEMENTS
from projections.engine.worker import catch_up
from projections.queries.roll_forward import RollForwardQuery
from service.finance.liability import Liability, liability_row_json
from service.finance.periods import read_liability
from service.operations.programme_terms import set_terms
from tests.support.payloads import (
    VAULT,
    delivery,
    issued,
    merged,
    received,
    redeemed,
    redemption_reversed,
    returned,
    samples,
    sent,
)

DAY = 86_400
PROGRAMME = "capillary:9001:77"
STORY = (
    issued("a", 0, 1, 100, lapses="2023-12-20", bill="A"),
    issued("b", 20 * DAY, 1, 50),
    redeemed("c", 21 * DAY, 1, 30, "R1"),
    redemption_reversed("d", 40 * DAY, 1, 10, "R1"),
    issued("e", 41 * DAY, 2, 70, bill="B"),
    redeemed("f", 42 * DAY, 2, 70),
    returned("g", 43 * DAY, 2, 70, "B"),
    issued("h", 80 * DAY, 2, 100),
    sent("i", 81 * DAY, 2, 20, 3, "T"),
    received("j", 81 * DAY, 3, 20, 2, "T"),
    issued("k", 82 * DAY, 4, 5, lapses="2024-03-31"),
    merged("l", 90 * DAY, 4, 1),
)


async def prepare(connection: Connection, ledger: Ledger) -> None:
    terms = {
        "effective_from": "2023-01-01",
        "time_zone": "Asia/Kolkata",
        "expiry": {"rule": "fixed", "days": 60},
        "points_to_currency": {"ratio": "0.25", "currency": "INR"},
    }
    await set_terms(connection, VAULT, ledger, PROGRAMME, terms, by="test")
    bodies = [*STORY, *samples("capillary")]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
    await catch_up(connection, ledger.ledger_id)


async def liability(connection: Connection, ledger: Ledger) -> Liability:
    first = await connection.fetchval("SELECT min(month) FROM report.movements")
    wanted = RollForwardQuery(first, clock.now().date(), monthly=True)
    return await read_liability(connection, ledger.ledger_id, wanted, None)


def figures(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("opening", *dict.fromkeys(MOVEMENTS.values()), "closing", "value", "currency")}


async def test_liability_by_month_and_movements_equal_the_roll_forward(connection: Connection, ledger: Ledger) -> None:
    await prepare(connection, ledger)
    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("m", 100 * DAY, 9, 1))])
    await catch_up(connection, ledger.ledger_id)

    rolled = await liability(connection, ledger)
    view = await connection.fetch("SELECT * FROM report.liability_by_month")
    moved = await connection.fetch(
        "SELECT programme, unit, vintage, sum(points) AS points FROM report.movements GROUP BY 1, 2, 3"
    )

    expected = {
        (row.key.programme, row.key.unit, row.key.period.replace(day=1)): figures(liability_row_json(row))
        for row in rolled.totals
    }
    shown = {(row["programme"], row["unit"], row["month"]): figures(dict(row)) for row in view}
    nothing = {key: row for key, row in shown.items() if key not in expected}
    assert {key: row for key, row in shown.items() if key in expected} == expected
    assert not any(row[name] for row in nothing.values() for name in (*MOVEMENTS.values(), "closing"))
    assert any(row["lapsed"] for row in shown.values())
    last = max(row.key.period for row in rolled.rows)
    by_vintage = {(*row.key[:2], row.key.vintage): row.closing for row in rolled.rows if row.key.period == last}
    assert {tuple(row)[:3]: row["points"] for row in moved if row["points"]} == {
        key: points for key, points in by_vintage.items() if points
    }


async def test_balances_and_the_lapse_schedule_leave_lapsed_lots_out(connection: Connection, ledger: Ledger) -> None:
    never = issued("z", 0, 8, 7, lapses="2090-12-31")
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in (*STORY, never)])
    await catch_up(connection, ledger.ledger_id)

    balances = await connection.fetch("SELECT customer, available FROM report.balances ORDER BY account_id")
    schedule = await connection.fetch("SELECT * FROM report.lapse_schedule")
    states = await connection.fetch("SELECT lot_id, status, remaining FROM report.lots WHERE status = 'lapsed'")

    rolled = await liability(connection, ledger)
    [total] = {row.closing for row in rolled.totals if row.last_day == clock.now().date()}
    assert sum(row["available"] for row in balances) == total
    assert [(row["expires_on"], row["points"], row["lots_count"]) for row in schedule] == [
        (date(2090, 12, 31), Decimal(7), 1)
    ]
    assert sum(row["remaining"] for row in states) > 0


@pytest.mark.parametrize("source", ["ascenda"])
async def test_orders_have_the_sums_of_their_items(connection: Connection, ledger: Ledger, source: str) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body, source) for body in samples(source)])
    await catch_up(connection, ledger.ledger_id)

    orders = await connection.fetch("SELECT * FROM report.orders")
    items = await connection.fetch("SELECT order_id, points_paid, refund_due FROM order_items")

    assert sum(row["items_count"] for row in orders) == len(items) > 0
    assert {row["order_id"] for row in orders} == {row["order_id"] for row in items}
    assert sum(row["refund_due"] for row in orders) == sum(row["refund_due"] for row in items)
