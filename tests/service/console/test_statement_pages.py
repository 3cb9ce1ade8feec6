"""The statement in pages, newest first: lapses that no event reports are lines of it, and every page has its limit."""

from datetime import UTC, datetime
from decimal import Decimal

from ledger.database import connect
from service.console.cells import render_rows
from service.console.charts import step_chart
from service.console.tables import PageColumn, PageTable
from service.queries.account_overview import BalanceAt, lapses_of, load_account_to_show, read_balances, read_statement
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from tests.support.client import serving
from tests.support.console_browser import Browser
from tests.support.payloads import issued

DAY = 86_400
NAME = "capillary:9001:1:77:points"
HOSTILE = "<script>alert(1)</script>\"'>"


async def test_pages_of_a_statement_hold_every_line_and_lapse_once(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for number in range(4):
            await acme.deliver(issued(f"a{number}", number * DAY, 1, 10, lapses=f"2024-01-0{number + 1}"))
        await acme.ask_now("/v1/projections")
        connection = await connect(dsn)
        try:
            generation = await connection.fetchval("SELECT schema_name FROM projections.generations")
            await connection.execute(f"SET search_path = {generation}")
            query = QueryContext(connection, acme.ledger, "key", b"")
            for at in (datetime(2024, 2, 1, tzinfo=UTC), None):
                times = AsOfQuery(at or datetime.now(UTC), None, at is not None)
                view = await load_account_to_show(query, NAME, times)
                lapses = lapses_of(view)
                kinds, before = list[str](), None
                while True:
                    page = await read_statement(query, view, lapses, before, 3)
                    kinds += [line["kind"] for line in page.lines]
                    assert len(page.lines) <= 3
                    if page.older is None:
                        break
                    before = page.older
                course = await read_balances(query, view, lapses)

                assert kinds == ["Lapsed"] * 4 + ["Issued"] * 4
                assert [int(point.balance) for point in course] == [10, 20, 30, 40, 30, 20, 10, 0]
        finally:
            await connection.close()


def test_a_chart_of_many_steps_keeps_the_highest_and_the_lowest() -> None:
    course = [
        BalanceAt(datetime.fromtimestamp(1_700_000_000 + number, UTC), Decimal(5 if number != 40_000 else 99))
        for number in range(50_000)
    ]

    chart = step_chart(course, datetime.fromtimestamp(1_700_100_000, UTC))

    assert chart is not None
    assert (int(chart.highest), int(chart.lowest)) == (99, 5)
    assert "V2.0" in chart.line
    assert len(chart.line) < 60_000


def test_a_script_in_a_cell_of_any_kind_is_escaped() -> None:
    kinds = ("text", "any", "code", "short", "fact", "state", "list", "prose", "event")
    columns = [PageColumn(kind, HOSTILE, kind, lambda _: f"/console?q={HOSTILE}") for kind in kinds]
    table = PageTable("t", "t", columns, [dict.fromkeys(kinds, HOSTILE)], "none")

    html = str(render_rows(table))

    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= len(kinds)
    assert "\"'>" not in html


async def test_the_lots_of_a_month_are_those_whose_last_day_is_in_it(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for number, day in enumerate(("2099-01-31", "2099-02-01", "2099-02-28", "2099-03-01")):
            await acme.deliver(issued(f"a{number}", number, 1, 10 * (number + 1), lapses=day))
        await acme.ask_now("/v1/projections")
        browser = Browser(acme.client)
        await browser.sign_in(acme.key)

        _, month = await browser.get("/console/lapses?from=2099-02-01&format=csv&table=lots")
        _, none = await browser.get("/console/lapses?from=2098-02-01")
        status, _ = await browser.get("/console/lapses?from=2099-02-01&to=2099-01-01")

    assert [line.split(",")[3] for line in month.splitlines()[1:]] == ["20", "30"]
    assert "No points lapse in these days" in none
    assert status == 400
