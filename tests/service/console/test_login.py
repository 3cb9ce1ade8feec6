"""Signing in to the console, and everything that must not get in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from ledger.store import api_keys
from service.api.requests import app_context
from service.console.sessions import SessionKeeper
from service.settings import Settings
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.console_browser import Browser
from tests.support.payloads import activity, capillary, issued

ACCOUNT = "/console/accounts/capillary:9001:1:77:points"


@asynccontextmanager
async def visiting(dsn: str, settings: Settings | None = None) -> AsyncIterator[tuple[TenantClient, Browser]]:
    """Serve a ledger, and yield its client with a browser that is signed in."""
    async with serving(dsn, "acme", settings=settings) as [acme]:
        browser = Browser(acme.client)
        assert await browser.sign_in(acme.key) == (303, "/console")
        yield acme, browser


async def test_a_key_opens_a_session_in_a_strict_cookie_that_no_script_reads(dsn: str) -> None:
    async with visiting(dsn) as (acme, browser):
        assert acme.key not in browser.set_cookie
        assert "HttpOnly" in browser.set_cookie
        assert "SameSite=Strict" in browser.set_cookie
        assert "Secure" not in browser.set_cookie  # plain HTTP, on the loopback interface

        status, text = await browser.get("/console")

    assert status == 200
    assert "Ledger acme" in text


async def test_over_https_the_cookie_has_the_host_prefix(dsn: str) -> None:
    async with visiting(dsn, Settings(public_url="https://loyalty.example.com")) as (_, browser):
        assert browser.set_cookie.startswith("__Host-loyalty=")
        assert "Secure" in browser.set_cookie
        assert "Path=/;" in f"{browser.set_cookie};"
        assert "Domain" not in browser.set_cookie


async def test_over_plain_http_the_login_is_refused_elsewhere_than_on_the_machine_itself(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        browser = Browser(acme.client)
        token = await browser.token("/console/login")

        form = await browser.get("/console/login", Host="evil.example:8080")
        sent = await browser.post(
            "/console/login",
            {"key": acme.key, "token": token},
            **{"Host": "evil.example:8080", "Sec-Fetch-Site": "same-origin"},
        )

    assert "needs HTTPS" in form[1]
    assert "API key</label>" not in form[1]
    assert sent[0] == 400
    assert browser.cookie == ""


async def test_a_wrong_key_opens_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        browser = Browser(acme.client)

        for key in ("", "wrong", "ll_0123456789ab_" + "A" * 43):
            status, text = await browser.sign_in(key)
            assert status == 401
            assert "This key opens no ledger" in text
            assert browser.cookie == ""


async def test_a_revoked_key_ends_its_sessions(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_context, "CALLER_CACHE_SECONDS", 0.001)
    async with visiting(dsn) as (acme, browser):
        async with acme.database() as connection:
            await api_keys.revoke_key(connection, MASTER_KEY, acme.ledger, acme.key.split("_")[1])

        assert await browser.get("/console") == (303, "/console/login")
        assert await browser.get(f"{ACCOUNT}?at=2024-01-01") == (
            303,
            f"/console/login?next={quote(ACCOUNT, safe='')}%3Fat%3D2024-01-01",
        )


async def test_a_page_without_a_session_leads_to_the_login_and_back(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        browser = Browser(acme.client)
        assert await browser.get("/console/ledger?after=0") == (
            303,
            "/console/login?next=%2Fconsole%2Fledger%3Fafter%3D0",
        )

        assert await browser.sign_in(acme.key, next="/console/ledger?after=0") == (303, "/console/ledger?after=0")


ELSEWHERE = ("https://evil.example", "//evil.example", "/console//evil.example", "/console/\\evil", "/v1/hooks/x")


async def test_the_login_leads_to_no_other_site(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for place in ELSEWHERE:
            assert await Browser(acme.client).sign_in(acme.key, next=place) == (303, "/console")


async def test_a_link_on_another_site_opens_after_it_was_loaded_once_more(dsn: str) -> None:
    """A strict cookie does not come with a link of another site."""
    async with serving(dsn, "acme") as [acme]:
        status, text = await Browser(acme.client).get("/console/ledger", **{"Sec-Fetch-Site": "cross-site"})

    assert status == 200
    assert '<meta http-equiv="refresh" content="0">' in text


async def test_signing_out_removes_the_cookie(dsn: str) -> None:
    async with visiting(dsn) as (_, browser):
        token = await browser.token("/console")

        assert await browser.post("/console/logout", {"token": token}) == (303, "/console/login")

    assert "Max-Age=0" in browser.set_cookie


FOREIGN = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Referer": "https://evil.example/"},
)


async def test_a_form_of_another_site_is_refused_even_with_the_right_token(dsn: str) -> None:
    async with visiting(dsn) as (_, browser):
        token = await browser.token("/console")

        for headers in FOREIGN:
            status, text = await browser.post("/console/search", {"q": "1", "token": token}, **headers)
            assert status == 401, headers
            assert "sent by another site" in text


async def test_a_form_without_the_token_of_its_session_is_refused(dsn: str) -> None:
    async with visiting(dsn) as (_, browser):
        before_login = await Browser(browser.client).token("/console/login")

        for token in ("", "0" * 64, before_login):
            status, text = await browser.post("/console/search", {"q": "1", "token": token})
            assert status == 401
            assert "load the page again" in text


async def test_a_one_time_link_signs_in_by_its_button_once(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        once = SessionKeeper(MASTER_KEY).make_one_time_token(acme.key)
        first, second = Browser(acme.client), Browser(acme.client)
        token = await first.token(f"/console/login?once={once}")

        assert await first.post("/console/login", {"once": once, "token": token}) == (303, "/console")
        status, text = await second.post("/console/login", {"once": once, "token": token})

    assert status == 401
    assert "was used already" in text


async def test_the_name_of_a_person_is_believed_from_a_proxy_only(dsn: str) -> None:
    async with visiting(dsn, Settings(console_user_header="X-Forwarded-User")) as (_, browser):
        shown = (await browser.get("/console", **{"X-Forwarded-User": "ann"}))[1]
        hostile = (await browser.get("/console", **{"X-Forwarded-User": "<b>ann</b>"}))[1]

    assert 'acme</b><span class="key"> · ann<' in shown
    assert "&lt;b&gt;ann" in hostile


async def test_the_name_of_a_person_from_elsewhere_is_ignored(dsn: str) -> None:
    settings = Settings(console_user_header="X-Forwarded-User", proxies="10.0.0.0/8")
    async with visiting(dsn, settings) as (_, browser):
        assert " · ann<" not in (await browser.get("/console", **{"X-Forwarded-User": "ann"}))[1]


async def test_the_console_can_be_turned_off(dsn: str) -> None:
    async with serving(dsn, "acme", settings=Settings(console=False)) as [acme]:
        assert (await acme.client.get("/console/login")).status == 404


async def test_pages_run_no_script_but_their_own_and_are_in_no_frame(dsn: str) -> None:
    async with visiting(dsn) as (acme, _):
        headers = (await acme.client.get("/console/login")).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


async def test_a_table_is_a_file_at_the_same_address_for_a_script_with_its_key(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 60, programCurrentPoints=60))
        await acme.ask_now("/v1/projections")
        bearer = {"Authorization": f"Bearer {acme.key}"}

        as_csv = await acme.client.get(f"{ACCOUNT}?format=csv", headers=bearer)
        as_json = await acme.client.get(f"{ACCOUNT}?format=json&table=lapses", headers=bearer)
        wrong = await acme.client.get(f"{ACCOUNT}?format=csv&table=x", headers=bearer)
        unknown = await acme.client.get(f"{ACCOUNT}?known-at=2024-01-01", headers=bearer)
        nobody = await acme.client.get(ACCOUNT, headers={"Authorization": "Bearer x"})

        assert (await as_csv.text()).splitlines() == [
            "occurred_at,kind,points,balance,claimed,drift,reference,position",
            "2023-11-14T22:13:20Z,Issued,60,60,60,0,,1",
        ]
        assert (await as_json.json())["items"] == [{"expires_on": None, "points": "60", "lots": 1}]
        assert wrong.status == 400
        assert unknown.status == 400
        assert nobody.status == 401


async def test_text_of_vendors_is_escaped_on_every_page(dsn: str) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    async with visiting(dsn) as (acme, browser):
        await acme.deliver(capillary("pointsIssued", hostile, 0, hostile, **lot_of(hostile)))
        await acme.deliver(capillary(hostile, hostile, 0, hostile))
        await acme.ask_now("/v1/projections")

        for path in ("/console", "/console/ledger", "/console/events/1", "/console/events/2"):
            status, text = await browser.get(path)
            assert status == 200, path
            assert "<script>alert" not in text
            assert "<img src=x" not in text
        for found in await hostile_pages(acme):
            status, text = await browser.get(found)
            assert status == 200, found
            assert "<script>alert" not in text
            assert "<img src=x" not in text


def lot_of(text: str) -> dict[str, Any]:
    """Return the data of points that are issued for a bill with a text in its number."""
    return {
        "totalPointsIssued": 5,
        "regularPointsIssued": 5,
        "regularPointsBreakup": [{"points": 5, "promotionName": text, "promotionId": text}],
        "triggeringActivity": activity(billId=text, billNumber=text),
    }


async def hostile_pages(acme: TenantClient) -> list[str]:
    """Return the pages of the customer and the account that a hostile delivery made."""
    async with acme.database() as connection:
        row = await connection.fetchrow("SELECT account_id, customer FROM accounts")
    assert row is not None
    account, customer = quote(row["account_id"], safe=""), quote(row["customer"], safe="")
    return [
        f"/console/customers/{customer}",
        f"/console/accounts/{account}",
        f"/console/accounts/{account}/lots",
        f"/console/accounts/{account}/losses",
        f"/console/explain/accounts/{account}",
    ]
