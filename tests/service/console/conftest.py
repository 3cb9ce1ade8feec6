"""One server, one browser and one ledger for all tests of the console in a browser."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from ledger.store import api_keys
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.console_ledger import fill

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
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
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["read", "audit", "reveal", "admin"])
        yield Served(acme, str(acme.client.make_url("")).rstrip("/"), key)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI tests the console in a browser, so scripts/test must install Chromium"
        pytest.skip("Chromium is not installed: on Debian, apt install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        await browser.close()


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


class Watched(NamedTuple):
    """A page, and everything that went wrong on it."""

    page: Page
    problems: list[str]


@pytest_asyncio.fixture(loop_scope="module")
async def watched(signed_in: BrowserContext, served: Served) -> AsyncIterator[Watched]:
    """A page that collects errors of its console, violations of its policy, and requests to anywhere else."""
    page = await signed_in.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(served.url) else problems.append(request.url))
    await page.add_init_script(
        "document.addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))"
    )
    yield Watched(page, problems)
    await page.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which checks a page by the rules of WCAG."""
    return AXE.read_text()
