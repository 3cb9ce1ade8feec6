"""The dry run of an adjustment in the console makes all checks, and a form that is sent twice adjusts once."""

import re

from ledger.store import api_keys
from tests.support.client import MASTER_KEY, serving
from tests.support.console_browser import Browser
from tests.support.payloads import issued

ADJUST = "/console/accounts/capillary:9001:1:77:points/adjust"
FORM = {"how": "points", "points": "25", "author": "Ann", "reason": "ticket 7"}


async def test_a_dry_run_refuses_a_past_last_day_and_a_form_sent_twice_adjusts_once(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["read", "admin"])
        browser = Browser(acme.client)
        await browser.sign_in(key)
        form = {**FORM, "token": await browser.token(ADJUST)}

        past, refused = await browser.post(ADJUST, {**form, "expires_on": "2020-01-01"})
        status, page = await browser.post(ADJUST, form)
        confirmed = {**form, **dict(re.findall(r'name="(confirmed|adjustment)" value="([^"]+)"', page))}
        answers = [await browser.post(ADJUST, confirmed) for _ in range(2)]
        account = await acme.ask_now("/v1/accounts/capillary:9001:1:77:points")

    assert (past, "expires_on" in refused) == (400, True)
    assert (status, confirmed["confirmed"]) == (200, "100 125")
    assert [status for status, _ in answers] == [303, 303]
    assert account["available"] == "125"
