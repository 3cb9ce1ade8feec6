"""Chromium for tests of pages, and a page that collects everything that goes wrong on it."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
REPORT_POLICY = (
    "document.addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))"
)


class Watched(NamedTuple):
    """A page, and everything that went wrong on it."""

    page: Page
    problems: list[str]


@asynccontextmanager
async def launched_chromium() -> AsyncIterator[Browser]:
    """Lend Debian's Chromium. Skip the test if it is not installed, but never in CI."""
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI tests pages in a browser, so scripts/test must install Chromium"
        pytest.skip("Chromium is not installed: on Debian, apt install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@asynccontextmanager
async def watched_page(context: BrowserContext, url: str) -> AsyncIterator[Watched]:
    """Lend a page that collects errors of its console, violations of its policy, and requests to anywhere else."""
    page = await context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(url) else problems.append(request.url))
    await page.add_init_script(REPORT_POLICY)
    yield Watched(page, problems)
    await page.close()
