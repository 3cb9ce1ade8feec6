"""From a figure of finance to the accounts behind it: the shares sum to the figure."""

from decimal import Decimal

import orjson

from tests.support.client import serving
from tests.support.console_browser import Browser
from tests.support.payloads import issued, redeemed

DAY = 86_400
PROGRAMME = "capillary:9001:77"
MONTH = {"from": "2023-11-01", "to": "2023-11-30", "programme": PROGRAMME, "unit": "points"}


async def test_the_accounts_behind_a_figure_sum_to_it(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (
            issued("a1", 0, 1, 600, lapses="2023-11-20"),
            redeemed("a2", DAY, 1, 100),
            issued("b1", DAY, 2, 75),
            issued("c1", 60 * DAY, 3, 40),
        ):
            await acme.deliver(body)
        await acme.ask_now("/v1/projections")
        browser = Browser(acme.client)
        await browser.sign_in(acme.key)

        async def rows(path: str, **query: str) -> list[dict[str, str]]:
            text = "&".join(f"{name}={value}" for name, value in {**query, "format": "json"}.items())
            items: list[dict[str, str]] = orjson.loads((await browser.get(f"{path}?{text}"))[1])["items"]
            return items

        [month] = await rows("/console/finance", **MONTH)
        closing = await rows("/console/finance/accounts", figure="closing", **MONTH)
        lapsed = await rows("/console/finance/accounts", figure="lapsed", **MONTH)
        classes = await rows("/console/finance/trial-balance", at="2023-11-30")
        of_class = {"class": "available", "programme": PROGRAMME, "unit": "points", "at": "2023-11-30"}
        available = await rows("/console/finance/trial-balance/accounts", **of_class)
        _, page = await browser.get("/console/finance?from=2023-11-01&to=2023-11-30")

    assert [(one["account"], one["closing"]) for one in closing] == [("capillary:9001:2:77:points", "75")]
    assert month["closing"] == "75"
    assert [(one["account"], one["lapsed"]) for one in lapsed] == [("capillary:9001:1:77:points", "500")]
    assert month["lapsed"] == "500"
    total = next(one["points"] for one in classes if one["class"] == "available")
    assert sum(Decimal(one["points"]) for one in available) == Decimal(total) == 75
    assert "/console/finance/accounts?figure=closing" in page
