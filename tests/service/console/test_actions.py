"""Actions in the console: a dry run, a confirmation of exactly its effects, and a record with the person's name."""

import io
import re
import tarfile
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from ledger.store import api_keys, registry
from ledger.transparency.signer import Signer
from service.api.requests.app_context import APP_CONTEXT
from service.embedded.server import EmbeddedPostgres
from service.outgoing import administration
from service.outgoing.addresses import PUBLIC_ONLY
from service.outgoing.endpoint_options import EndpointOptions
from service.settings import Settings
from tests.conftest import fresh_database
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.console_browser import ORIGIN, Browser
from tests.support.payloads import issued, merged, redeemed

pytestmark = pytest.mark.asyncio(loop_scope="module")

PERSON = {"X-Forwarded-User": "Ann Example"}
DAY = 86_400
WHY = {"reason": "ticket 7"}


class Acting(NamedTuple):
    """A served ledger behind a proxy that names people, and a browser with every scope."""

    acme: TenantClient
    browser: Browser

    async def send(self, path: str, fields: dict[str, str], form_path: str = "/console") -> tuple[int, str]:
        token = await self.browser.token(form_path)
        return await self.browser.post(path, {**WHY, **fields, "token": token}, **ORIGIN, **PERSON)

    async def preview_and_confirm(self, path: str, fields: dict[str, str]) -> tuple[str, int, str]:
        """Send a form, and confirm its dry run. Return the page of the dry run, and the answer to the confirmation."""
        status, page = await self.send(path, fields)
        assert status == 200, page
        assert "This is a dry run" in page
        confirmed = re.search(r'name="confirmed" value="([0-9a-f]+)"', page)
        assert confirmed is not None
        return page, *await self.send(path, {**fields, "confirmed": confirmed[1]})

    async def last_record(self) -> tuple[str, str]:
        async with self.acme.database() as connection:
            row = await connection.fetchrow("SELECT what, why FROM ledger.access ORDER BY access DESC LIMIT 1")
        return ("", "") if row is None else (row["what"], row["why"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acting(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Acting]:
    settings = Settings(console_user_header="X-Forwarded-User", proxies="127.0.0.1")
    async with fresh_database(postgres) as dsn, serving(dsn, "acme", settings=settings) as [acme]:
        for body in (
            issued("a1", 0, 1, 600, bill="B-1", lapses="2099-12-31"),
            redeemed("a2", 40 * DAY, 1, 100),
            issued("b1", DAY, 2, 75),
            merged("m1", 50 * DAY, 2, 1),
        ):
            assert (await acme.deliver(body))[0] == 200
        await acme.ask_now("/v1/projections")
        acme.client.app[APP_CONTEXT].signer = Signer(tmp_path_factory.mktemp("signer"), site="logs.example")
        async with acme.database() as connection:
            scopes = ["read", "audit", "reveal", "admin", "operator"]
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, scopes)
        browser = Browser(acme.client)
        await browser.sign_in(key)
        yield Acting(acme, browser)


async def test_a_month_is_closed_after_its_dry_run_and_reopened(acting: Acting) -> None:
    month = {"period": "2023-12", "do": "close"}

    page, status, _ = await acting.preview_and_confirm("/console/finance/periods", month)

    assert "Close the month 2023-12" in page
    assert status == 303
    assert await acting.last_record() == ("close of month 2023-12", "ticket 7 (console, Ann Example)")
    await acting.acme.ask_now("/v1/periods")
    _, shown = await acting.browser.get("/console/finance/periods/2023-12")
    assert "closed" in shown

    await acting.preview_and_confirm("/console/finance/periods", {**month, "do": "reopen"})
    assert (await acting.last_record())[0] == "reopen of month 2023-12"


async def test_a_month_that_is_not_over_is_not_closed(acting: Acting) -> None:
    status, page = await acting.send("/console/finance/periods", {"period": "2199-01", "do": "close"})

    assert status == 409
    assert "2199-01 is not over" in page


async def test_an_action_without_a_reason_is_refused_and_not_recorded(acting: Acting) -> None:
    before = await acting.last_record()

    status, page = await acting.send("/console/finance/periods", {"period": "2023-12", "do": "close", "reason": ""})

    assert status == 400
    assert "reason" in page
    assert await acting.last_record() == before


async def test_a_confirmation_of_other_effects_shows_the_dry_run_again(acting: Acting) -> None:
    form = {"period": "2023-12", "do": "close", "confirmed": "0" * 32}

    status, page = await acting.send("/console/finance/periods", form)

    assert status == 200
    assert "The data have changed since the preview" in page


async def test_a_rotated_secret_is_shown_once_and_works(acting: Acting) -> None:
    connection_id = acting.acme.inbound["capillary"].connection_id
    path = f"/console/operations/connections/{connection_id}"

    _, status, page = await acting.preview_and_confirm(path, {"do": "rotate"})
    secret = re.search(r"<p><code>([^<]+)</code></p></div>", page)
    _, again = await acting.browser.get(path)

    assert status == 200
    assert secret is not None
    assert secret[1] not in again
    assert (await acting.last_record())[0] == f"rotate of connection {connection_id}"
    async with acting.acme.database() as connection:
        found = await registry.find_connection(connection, MASTER_KEY, connection_id)
    assert found.secrets[-1].decode() == secret[1]
    assert len(found.secrets) == 2


async def test_an_endpoint_is_disabled_enabled_and_its_secret_rotated(acting: Acting) -> None:
    async with acting.acme.database() as connection:
        made = await administration.create(
            connection, MASTER_KEY, acting.acme.ledger, "https://receiver.example/hook", EndpointOptions(),
            destinations=PUBLIC_ONLY, after=None, since=None,
        )  # fmt: skip
    path = f"/console/operations/endpoints/{made.endpoint_id}"

    await acting.preview_and_confirm(path, {"do": "disable"})
    assert "disabled" in (await acting.browser.get(path))[1]
    assert (await acting.last_record())[0] == f"disable of endpoint {made.endpoint_id}"
    await acting.preview_and_confirm(path, {"do": "enable"})
    _, status, page = await acting.preview_and_confirm(path, {"do": "rotate"})

    assert status == 200
    assert "This is the new secret" in page
    assert "https://receiver.example/hook" in (await acting.browser.get("/console/operations/endpoints"))[1]
    assert (await acting.browser.get("/console/operations/endpoints/nothing"))[0] == 404


async def test_an_endpoint_is_created_changed_replayed_and_removed(acting: Acting) -> None:
    path = "/console/operations/endpoints"
    form = {"url": "https://new.example/hook", "label": "shop", "type tier.changed": "on", "kinds": "Issued, Redeemed"}

    page, status, made = await acting.preview_and_confirm(path, form)
    assert "It gets what is recorded from now on" in page
    assert (status, "whsec_" in made) == (200, True)
    assert await acting.last_record() == ("creation of an endpoint", "ticket 7 (console, Ann Example)")
    found = re.search(r'action="(/console/operations/endpoints/ep_[0-9a-f]+)"', made)
    assert found is not None

    edited = {"do": "edit", "url": "https://newer.example/hook", "label": "shop", "notice_days": "7"}
    page, status, _ = await acting.preview_and_confirm(found[1], edited)
    assert all(text in page for text in ("https://newer.example/hook", "Days of notice", "Types of messages"))
    assert status == 303
    _, shown = await acting.browser.get(found[1])
    assert "<code>https://newer.example/hook</code>" in shown
    assert "whsec_" not in shown

    page, status, _ = await acting.preview_and_confirm(found[1], {"do": "replay", "after": "2"})
    assert "what follows event #2" in page
    assert status == 303
    assert "Sent up to</dt><dd>2," in (await acting.browser.get(found[1]))[1]

    await acting.preview_and_confirm(found[1], {"do": "delete"})
    assert (await acting.browser.get(found[1]))[0] == 404
    assert (await acting.last_record())[0].startswith("delete of endpoint ep_")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"url": "ftp://receiver.example"}, "url"),
        ({"url": "https://receiver.example/hook", "kinds": "Nothing"}, "kinds"),
        ({"url": "https://receiver.example/hook", "after": "999999"}, "after"),
        ({"url": "https://receiver.example/hook", "notice_days": "0"}, "notice_days"),
    ],
)
async def test_a_wrong_endpoint_is_refused_before_its_dry_run(
    acting: Acting, fields: dict[str, str], problem: str
) -> None:
    status, page = await acting.send("/console/operations/endpoints", fields)

    assert status == 400
    assert f"`{problem}`" in page


async def test_a_typed_name_is_recorded_where_no_proxy_states_one(acting: Acting) -> None:
    token = await acting.browser.token("/console/operations")
    form = {"do": "drop", "generation": "1", "reason": "ticket 8", "token": token}

    nameless = await acting.browser.post("/console/operations/generations", form, **ORIGIN)
    address = await acting.browser.post(
        "/console/operations/generations", {**form, "author": "ann@example.com"}, **ORIGIN
    )
    look = {"reason": "ticket 9", "author": "Bob  Typed", "token": token}
    await acting.browser.post("/console/events/1", look, **ORIGIN)

    assert (nameless[0], address[0]) == (400, 400)
    assert "your name is required" in nameless[1]
    assert await acting.last_record() == ("event 1", "ticket 9 (console, Bob Typed, as typed)")


async def test_a_connection_of_another_ledger_is_not_found(acting: Acting) -> None:
    assert (await acting.browser.get(f"/console/operations/connections/{'0' * 32}"))[0] == 404


async def test_a_rebuild_is_begun_promoted_and_rolled_back(acting: Acting) -> None:
    path = "/console/operations/generations"
    await acting.preview_and_confirm(path, {"do": "rebuild"})
    context = acting.acme.client.app[APP_CONTEXT]
    assert context.rebuild_task is not None
    await context.rebuild_task

    page, status, _ = await acting.preview_and_confirm(path, {"do": "promote", "generation": "2"})
    assert "in place of generation 1" in page
    assert status == 303
    _, shown = await acting.browser.get(path)
    assert "Roll back" in shown

    await acting.preview_and_confirm(path, {"do": "rollback"})
    assert await acting.last_record() == ("rollback of the generations", "ticket 7 (console, Ann Example)")
    await acting.preview_and_confirm(path, {"do": "drop", "generation": "2"})
    assert (await acting.last_record())[0] == "drop of generation 2"


async def test_a_merge_is_undone_after_its_dry_run(acting: Acting) -> None:
    path = "/console/customers/capillary:9001:2/unmerge"

    page, status, _ = await acting.preview_and_confirm(path, {})

    assert "The merge of capillary:9001:2 into capillary:9001:1 is undone" in page
    assert "capillary:9001:2:77:points" in page
    assert status == 303
    account = await acting.acme.ask_now("/v1/accounts/capillary:9001:2:77:points")
    assert account["available"] == "75"


async def test_an_erasure_names_the_merged_customers_and_is_recorded(acting: Acting) -> None:
    page, status, _ = await acting.preview_and_confirm("/console/customers/capillary:9001:1/erasure", {})

    assert "no copy can be decrypted" in page
    assert status == 303
    assert await acting.last_record() == ("erasure of capillary:9001:1", "ticket 7 (console, Ann Example)")


async def test_an_audit_bundle_is_sent_after_a_reason(acting: Acting) -> None:
    token = await acting.browser.token("/console/audit")
    form = {"reason": "yearly audit", "from": "1", "to": "2", "token": token}
    response = await acting.acme.client.post(
        "/console/audit/bundle", data=form, headers={**ORIGIN, **PERSON, "Cookie": acting.browser.cookie}
    )
    body = await response.read()

    assert response.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert {"manifest.json", "checkpoint", "SHA256SUMS"} <= set(archive.getnames())
    what, reason = await acting.last_record()
    assert (what, reason) == ("POST /console/audit/bundle", "yearly audit (console, Ann Example)")


@pytest.mark.parametrize("scopes", [["read"], ["read", "audit"]])
async def test_keys_without_the_scope_are_shown_no_form_and_may_not_act(acting: Acting, scopes: list[str]) -> None:
    async with acting.acme.database() as connection:
        key = await api_keys.create_key(connection, MASTER_KEY, acting.acme.ledger, scopes)
    browser = Browser(acting.acme.client)
    await browser.sign_in(key)
    token = await browser.token("/console")

    for path in (
        "/console/finance/periods",
        "/console/operations/generations",
        f"/console/operations/connections/{acting.acme.inbound['capillary'].connection_id}",
        "/console/customers/capillary:9001:1/erasure",
        "/console/customers/capillary:9001:1/unmerge",
    ):
        assert (await browser.post(path, {**WHY, "author": "x", "do": "close", "token": token}))[0] == 403, path
    assert "Preview" not in (await browser.get("/console/finance/periods"))[1]
