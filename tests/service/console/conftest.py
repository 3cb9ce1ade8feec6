"""One server, one browser and one ledger for all tests of the console in a browser."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext

from ledger.store import api_keys
from service.embedded.server import EmbeddedPostgres
from service.outgoing import administration
from service.outgoing.addresses import PUBLIC_ONLY
from service.outgoing.endpoint_options import EndpointOptions
from tests.conftest import fresh_database
from tests.support.browser import Watched, launched_chromium, watched_page
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.console_ledger import HOSTILE, fill

AXE = Path(__file__).with_name("axe.min.js")


class Served(NamedTuple):
    """The served ledger, the address of the service, and a key with every scope."""

    acme: TenantClient
    url: str
    key: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(postgres: EmbeddedPostgres) -> AsyncIterator[Served]:
    """A ledger with something on every screen."""
    async with fresh_database(postgres) as dsn, serving(dsn, "acme") as [acme]:
        await fill(acme)
        async with acme.database() as connection:
            await administration.create(
                connection, MASTER_KEY, acme.ledger, "https://receiver.example/hook", EndpointOptions(label=HOSTILE),
                destinations=PUBLIC_ONLY, after=None, since=None,
            )  # fmt: skip
            key = await api_keys.create_key(
                connection, MASTER_KEY, acme.ledger, ["read", "audit", "reveal", "admin", "operator"]
            )
        yield Served(acme, str(acme.client.make_url("")).rstrip("/"), key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    async with launched_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed_in(chromium: Browser, served: Served) -> AsyncIterator[BrowserContext]:
    """A window of the browser that is signed in."""
    context = await chromium.new_context(base_url=served.url)
    page = await context.new_page()
    await page.goto("/console/login")
    await page.get_by_label("API key").fill(served.key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Ledger acme").wait_for()
    await page.close()
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def watched(signed_in: BrowserContext, served: Served) -> AsyncIterator[Watched]:
    """A page that collects errors of its console, violations of its policy, and requests to anywhere else."""
    async with watched_page(signed_in, served.url) as page:
        yield page


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which checks a page by the rules of WCAG."""
    return AXE.read_text()
