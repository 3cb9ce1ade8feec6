"""Lists in the console: the filters, cursors and times of the API's lists, as a page and as a file."""

import csv
import io

import orjson

from tests.support.client import serving
from tests.support.console_browser import Browser
from tests.support.payloads import issued, sent

DAY = 86_400


async def test_a_list_is_filtered_paged_and_shown_as_it_was(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in range(1, 61):
            await acme.deliver(issued(f"a{customer}", customer * DAY, customer, 10 * customer))
        await acme.deliver(sent("t1", 90 * DAY, 60, 20, 1, "T-1"))
        await acme.ask_now("/v1/projections")
        browser = Browser(acme.client)
        await browser.sign_in(acme.key)

        _, first = await browser.get("/console/lists/accounts")
        _, page = await browser.get("/console/lists/accounts?format=json")
        _, rich = await browser.get("/console/lists/accounts?available_min=590&format=csv")
        _, early = await browser.get("/console/lists/accounts?at=2023-11-16&format=csv")
        status, shown = await browser.get("/console/lists/accounts?at=2023-11-16")
        _, transfers = await browser.get("/console/lists/transfers?customer=60&status=initiated&format=csv")
        _, none = await browser.get("/console/lists/coupons?code=missing")
        unknown, _ = await browser.get("/console/lists/nothing")
        misspelt, _ = await browser.get("/console/lists/accounts?statu=x")

    assert "cursor=" in first
    assert len(orjson.loads(page)["items"]) == 60
    assert [row["customer"].rpartition(":")[2] for row in csv.DictReader(io.StringIO(rich))] == ["59"]
    assert [row["available"] for row in csv.DictReader(io.StringIO(early))] == ["10", "20"]
    assert status == 200
    assert "as they were at" in shown
    assert [row["points"] for row in csv.DictReader(io.StringIO(transfers))] == ["20"]
    assert "None of the coupons matches code “missing”." in none
    assert (unknown, misspelt) == (404, 400)
