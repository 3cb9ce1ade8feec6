"""The console's screen of breakage: figures, curves as a drawing and as a table, and the assumptions."""

import orjson

from service.finance.breakage_forecast import ASSUMPTIONS
from tests.service.finance.test_breakage import LAST, PROGRAMME, deliver_vintages
from tests.support.client import serving
from tests.support.console_browser import Browser

SCREEN = f"/console/finance/breakage?month={LAST}"


async def test_the_screen_shows_the_forecast_its_curves_and_its_assumptions(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_vintages(acme)
        await acme.ask_now("/v1/projections")
        browser = Browser(acme.client)
        await browser.sign_in(acme.key)

        _, page = await browser.get(SCREEN)
        _, young = await browser.get("/console/finance/breakage?month=2023-12")
        _, refused = await browser.get("/console/finance/breakage?month=2199-01")
        files = {
            name: orjson.loads((await browser.get(f"{SCREEN}&format=json&table={name}"))[1])["items"]
            for name in ("breakage", "vintages", "curves")
        }

    assert page.count('class="line curve"') == 10
    assert "at most 40 % used" in page
    assert all(assumption in page for assumption in ASSUMPTIONS)
    [item] = files["breakage"]
    assert (item["programme"], item["expected_breakage"], item["outstanding"]) == (PROGRAMME, "180", "220")
    assert sum(int(row["expected_breakage"]) for row in files["vintages"]) == 180
    assert {row["vintage"] for row in files["curves"]} >= {"2023-11", "2024-08"}
    assert "the history has 2 of the 6 vintages that are needed" in young
    assert "must be over" in refused
