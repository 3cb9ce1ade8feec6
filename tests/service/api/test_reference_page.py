"""The reference page in a real browser: it shows every operation of the document."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from service.embedded.server import EmbeddedPostgres
from service.server.openapi.document import FILE
from service.server.routes import OPERATIONS
from tests.conftest import fresh_database
from tests.support.browser import Watched, launched_chromium, watched_page
from tests.support.client import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOWN_MS_MAX = 30_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(postgres: EmbeddedPostgres) -> AsyncIterator[Watched]:
    """The reference page, after it has shown the document."""
    async with (
        fresh_database(postgres) as dsn,
        serving(dsn, "acme") as [acme],
        launched_chromium() as browser,
        watched_page(await browser.new_context(), str(acme.client.make_url("")).rstrip("/")) as watched,
    ):
        await watched.page.goto(str(acme.client.make_url("/v1/docs")))
        await watched.page.locator(".opblock-tag").first.wait_for()
        yield watched


async def test_the_page_shows_every_operation_of_the_document(watched: Watched) -> None:
    document = json.loads(FILE.read_text())
    described = {
        f"operations-{operation['tags'][0]}-{operation['operationId']}"
        for path in document["paths"].values()
        for operation in path.values()
    }
    described |= {f"operations-webhooks-{path['post']['operationId']}" for path in document["webhooks"].values()}

    shown = await watched.page.locator(".opblock").evaluate_all("all => all.map(one => one.id)")
    tags = await watched.page.locator(".opblock-tag").evaluate_all("all => all.map(one => one.dataset.tag)")

    assert set(shown) == described
    assert len(shown) == len(OPERATIONS) + len(document["webhooks"])
    assert tags == [tag["name"] for tag in document["tags"]]
    assert watched.problems == []


@pytest.mark.parametrize("name", ["receive_delivery", "get_account", "post_adjustment"])
async def test_an_opened_operation_shows_its_parameters_its_example_and_its_errors(watched: Watched, name: str) -> None:
    operation = watched.page.locator(f'.opblock[id$="-{name}"]')

    await operation.locator(".opblock-summary-control").click()

    await expect(operation.locator(".parameters-col_description").first).to_be_visible(timeout=SHOWN_MS_MAX)
    await expect(operation.locator('.response[data-code="200"] .highlight-code')).to_be_visible(timeout=SHOWN_MS_MAX)
    await expect(operation.locator('.response[data-code="401"]')).to_contain_text(
        "bad-credentials", timeout=SHOWN_MS_MAX
    )
    assert watched.problems == []


# Words of the questions of docs/questions.md, and the request that answers each.
QUESTIONS = {
    "redemption notes": "get_redemption",
    "redemption reversed partly": "get_redemption",
    "bill earned taken back": "get_bill_points",
    "promotion points returned": "get_bill_points",
    "promised points before due": "list_promises",
    "activity conversion": "explain_balance",
    "ratio at the time of the entry": "explain_balance",
    "group members": "get_group",
    "account by customer and programme": "list_accounts",
    "account loyalty card": "list_accounts",
    "programme name default ratio tiers": "get_programme",
    "campaign": "get_programme",
    "names alternate currencies": "list_units",
    "coupons code series end limits issue": "list_coupons",
    "redemptions left": "list_coupons",
    "payment modes conversion ratio": "get_reward",
    "reward dates tier quantity issued": "list_reward_redemptions",
    "badge limits": "get_badge",
    "promotion limits": "get_promotion",
    "milestone groups rule": "list_milestone_groups",
    "request reason time": "get_request",
    "cash refund due": "list_order_items",
    "partner points product quantity": "list_order_items",
    "items not fulfilled": "list_order_items",
    "order amount items metadata": "get_bill",
    "fabric record": "list_redemption_records",
}


async def test_the_filter_finds_the_request_for_each_question_by_words_of_the_question(watched: Watched) -> None:
    box = watched.page.get_by_label("Filter operations")
    shown = watched.page.locator('.opblock:not([id^="operations-webhooks"])')
    for question, operation in QUESTIONS.items():
        await box.fill("no operation has these words")
        await expect(shown).to_have_count(0, timeout=SHOWN_MS_MAX)
        await box.fill(question)
        await expect(watched.page.locator(f'.opblock[id$="-{operation}"]')).to_be_visible(timeout=SHOWN_MS_MAX)

    await box.fill("")
    await expect(watched.page.locator('.opblock[id$="-get_info"]')).to_be_visible(timeout=SHOWN_MS_MAX)
    assert watched.problems == []
