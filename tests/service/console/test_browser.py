"""The console in a real browser: every screen and path, accessible, without a script or a request of anyone else."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.service.console.conftest import Served
from tests.support.browser import Watched
from tests.support.payloads import issued

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN = "capillary:9001:101"
ACCOUNT = f"{ANN}:77:points"
CLASS = "/console/finance/trial-balance/accounts?programme=capillary:9001:77&unit=points"
SCREENS = {
    "home": "/console",
    "ledger": "/console/ledger?after=0",
    "live ledger": "/console/ledger?live=true",
    "ledger without a match": "/console/ledger?kind=nothing",
    "event": "/console/events/2",
    "unread event": "/console/events/12",
    "customer": f"/console/customers/{ANN}",
    "merged customer": "/console/customers/capillary:9001:102",
    "account": f"/console/accounts/{ACCOUNT}",
    "account at an earlier time": f"/console/accounts/{ACCOUNT}?at=2024-01-01T00:00:00&as_of_position=3",
    "customer's statement": f"/console/accounts/{ACCOUNT}/statement",
    "lots": f"/console/accounts/{ACCOUNT}/lots",
    "losses": f"/console/accounts/{ACCOUNT}/losses",
    "explained account": f"/console/explain/accounts/{ACCOUNT}",
    "reconciliation": "/console/reconciliation",
    "drift": "/console/reconciliation/drift",
    "unrecognised": "/console/reconciliation/unrecognised",
    "adjustment": f"/console/accounts/{ACCOUNT}/adjust",
    "liability": "/console/finance?from=2023-11-01&to=2024-10-31",
    "trial balance": "/console/finance/trial-balance",
    "expected breakage": "/console/finance/breakage?month=2024-10&programme=77&unit=points",
    "operations": "/console/operations",
    "outgoing endpoints": "/console/operations/endpoints",
    "tree heads": "/console/operations/tree-heads",
    "accounts behind a figure": "/console/finance/accounts?from=2024-01-01&to=2024-01-31&figure=closing",
    "accounts behind a class": f"{CLASS}&class=available",
    "audit": "/console/audit",
    "accounting periods": "/console/finance/periods",
    "month": "/console/finance/periods/2024-01",
    "erasure": f"/console/customers/{ANN}/changes",
    "generations": "/console/operations/generations",
    "lapses": "/console/lapses?from=2024-05-01&to=2024-06-30",
    "lists": "/console/lists",
    "list of order items": "/console/lists/order-items",
    "list as it was": "/console/lists/customers?at=2024-01-01T00:00:00",
    "list without a match": "/console/lists/coupons?code=none&status=issued",
    "list of merges": "/console/lists/customers?merged=true",
    "transfer": "/console/explain/transfers/capillary:9001:T-1",
    "tier": "/console/explain/tiers/capillary:50952:379499720:1676",
    "coupon": "/console/explain/coupons/capillary:1231:397759647",
    "badge": "/console/explain/badges/capillary:50933:381921157:650c0896aefcde237f3dba43",
    "breakage": "/console/finance/breakage?month=2024-01",
    "sorted accounts": "/console/lists/accounts?sort=available",
    "explained account in a lot": f"/console/explain/accounts/{ACCOUNT}?after_step=1",
    "nothing found by a search": "/console/reconciliation/refunds",
    "explained item": "/console/explain/order-items/4611fb1e-6d6d-4d92-9cb5-afd1a5ff2440",
}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SCREENSHOTS = os.environ.get("LOYALTY_TEST_SCREENSHOTS")  # a folder for pictures of every screen
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


# The focused element, and whether it is what a pointer in its middle would hit.
FOCUSED = """() => {
    const focused = document.activeElement;
    const box = focused.getClientRects()[0];
    const x = Math.max(1, Math.min(innerWidth - 2, box.x + Math.min(box.width, 40) / 2));
    const hit = document.elementFromPoint(x, box.y + Math.min(box.height, 20) / 2);
    const text = focused.innerText || focused.ariaLabel || focused.name || "";
    return {text, covers: focused.contains(hit) || hit?.contains(focused)};
}"""


async def violations(page: Page, axe: str) -> Sequence[str]:
    """Return what a page violates of WCAG 2.2 AA, with the elements."""
    await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES
    )
    return [f"{one['id']}: {[node['html'][:120] for node in one['nodes']][:3]}" for one in found["violations"]]


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_screen_is_accessible_and_fits_in_light_and_dark(watched: Watched, axe: str, screen: str) -> None:
    page = watched.page
    for size, scheme in ((WIDE, "light"), (NARROW, "dark")):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        response = await page.goto(SCREENS[screen])

        assert response is not None
        assert response.status == 200
        assert await violations(page, axe) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert await page.locator("h1").count() == 1
        if SCREENSHOTS:
            name = f"{screen.replace(' ', '-')}-{size['width']}-{scheme}.png"
            await page.screenshot(path=Path(SCREENSHOTS) / name, full_page=True)

    assert watched.problems == []


FORMS = {  # a page with a form, its button, and a value for each label; the answer is the dry run, or a look
    "creation of an endpoint": ("/console/operations/endpoints", {"Address that": "https://new.example/"}),
    "close of a month": ("/console/finance/periods", {"Month": "2024-01"}),
    "rebuild": ("/console/operations/generations", {}),
    "erasure": ("/console/customers/capillary:9001:101/changes", {}),
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_dry_run_is_accessible_on_the_screen_and_on_paper(watched: Watched, axe: str, form: str) -> None:
    page = watched.page
    path, values = FORMS[form]
    await page.goto(path)
    for label, value in values.items():
        await page.get_by_label(label).first.fill(value)
    await page.get_by_label("Your name").first.fill("Ann Agent")
    await page.get_by_label("Reason").first.fill("ticket 4714")

    await page.get_by_role("button", name="Preview").first.click()

    await expect(page.get_by_text("This is a dry run")).to_be_visible()
    for size, scheme in ((WIDE, "dark"), (NARROW, "light")):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await violations(page, axe) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    await page.emulate_media(media="print")
    assert await violations(page, axe) == []
    await page.emulate_media(media="screen")
    assert watched.problems == []


async def test_an_endpoint_with_a_script_in_its_label_is_shown_as_text(watched: Watched, axe: str) -> None:
    page = watched.page
    await page.goto("/console/operations/endpoints")
    await expect(page.get_by_text("<script>alert(1)").first).to_be_visible()

    await page.get_by_role("link", name="https://receiver.example/hook").click()

    await expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)")
    assert await violations(page, axe) == []
    assert watched.problems == []


async def test_a_chart_is_read_with_the_keyboard(watched: Watched) -> None:
    page = watched.page
    await page.goto(f"/console/accounts/{ACCOUNT}")
    chart = page.locator("svg[data-steps]")
    await chart.focus()

    await page.keyboard.press("Home")
    await expect(page.locator("figure output")).to_have_text(re.compile(r"^2023-11-14 .*: 600$"))
    await page.keyboard.press("ArrowRight")

    await expect(page.locator("figure output")).to_have_text(re.compile(": 850$"))
    assert watched.problems == []


async def test_each_focused_element_is_in_view_on_a_walk_with_the_tab_key(watched: Watched) -> None:
    page = watched.page
    await page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    await page.goto(f"/console/accounts/{ACCOUNT}")
    seen = []
    for _ in range(25):
        await page.keyboard.press("Tab")
        seen.append(await page.evaluate(FOCUSED))

    assert seen[0]["text"] == "Skip to the content"
    assert [one for one in seen if not one["covers"]] == []
    assert any("Where have the points gone?" in one["text"] for one in seen)


async def test_an_e_mail_address_leads_to_the_fate_of_500_points_in_three_clicks(watched: Watched) -> None:
    page = watched.page
    await page.goto("/console")
    await page.get_by_label("Search for").fill("Customer101@Example.com")

    await page.locator(".find").get_by_role("button", name="Search").click()
    await page.get_by_role("link", name=ACCOUNT).click()
    await page.get_by_role("link", name="Where have the points gone?").click()

    loss = page.get_by_role("listitem").filter(has_text="500 points were spent")
    await expect(loss).to_contain_text("On 13 Jan 2024, 500 points were spent.")
    await expect(loss).to_contain_text("earned on 14 Nov 2023 by bill")
    await expect(loss.get_by_role("link", name=re.compile("event #4"))).to_be_visible()
    assert "@" not in page.url
    assert watched.problems == []


async def test_no_address_of_a_search_holds_a_personal_value(watched: Watched) -> None:
    addresses: list[str] = []
    watched.page.on("request", lambda request: addresses.append(request.url))
    await watched.page.goto("/console/ledger")
    for text in ("customer101@example.com", "919000000101", "nobody@example.com"):
        await watched.page.get_by_label("Search the ledger").fill(text)
        await watched.page.get_by_role("search").get_by_role("button").click()
        await expect(watched.page.get_by_role("heading", level=1)).to_be_visible()

    assert not [one for one in addresses if "101" in one.replace(ANN, "") or "%40" in one or "@" in one]


async def test_script_in_the_text_of_vendors_does_not_run(watched: Watched) -> None:
    page = watched.page
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for path in ("/console/events/10", "/console/events/11", "/console/ledger?after=8"):
        await page.goto(path)
        await expect(page.get_by_text("<script>alert(1)").first).to_be_visible()

    assert dialogs == []
    assert watched.problems == []


async def test_personal_values_are_shown_after_a_reason_only_and_the_look_is_recorded(
    watched: Watched, served: Served
) -> None:
    page = watched.page
    await page.goto("/console/events/1")
    assert "customer101@example.com" not in await page.content()

    await page.get_by_label("Your name").fill("Ann Agent")
    await page.get_by_label("Reason for the look").fill("ticket 4711")
    await page.get_by_role("button", name="Show the delivered bytes").click()

    await expect(page.get_by_text("customer101@example.com")).to_be_visible()
    async with served.acme.database() as connection:
        row = await connection.fetchrow("SELECT what, why FROM ledger.access ORDER BY access DESC LIMIT 1")
    assert row is not None
    assert tuple(row) == ("event 1", "ticket 4711 (console, Ann Agent, as typed)")


async def test_pages_work_without_scripts(chromium: Browser, served: Served) -> None:
    context = await chromium.new_context(base_url=served.url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"/console/accounts/{ACCOUNT}")
    await page.get_by_label("API key").fill(served.key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(ACCOUNT)

    await page.get_by_text("Choose another time").click()
    await page.get_by_label("As it was at").fill("2024-01-01T00:00:00")
    await page.get_by_role("button", name="Show").click()

    await expect(page.get_by_text("All figures of this page are")).to_be_visible()
    await expect(page.locator(".figures .first dd")).to_have_text("850")
    await context.close()


async def test_a_drift_is_adopted_after_its_dry_run_and_taken_back(watched: Watched) -> None:
    page = watched.page
    await page.goto("/console/reconciliation")
    await page.get_by_role("link", name="Drift").click()
    await page.get_by_role("link", name=ACCOUNT).click()
    await page.get_by_role("link", name="Adopt or adjust").click()
    await page.get_by_label("Your name").fill("Ann Agent")
    await page.get_by_label("Reason").fill("ticket 4712")

    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator(".figures")).to_contain_text("+20")
    await page.get_by_role("button", name="Make the adjustment").click()

    await expect(page.locator(".figures .first dd")).to_have_text("385")
    await expect(page.get_by_text("drift +20")).to_have_count(0)
    await page.get_by_role("link", name="Adjust", exact=True).click()
    await page.get_by_text("Reverse it").click()
    await page.get_by_label("Your name").last.fill("Ann Agent")
    await page.get_by_label("Reason").last.fill("ticket 4713")
    await page.get_by_role("button", name="Reverse: −20 points").click()
    await page.get_by_role("button", name="Reverse the adjustment").click()
    await expect(page.locator(".figures .first dd")).to_have_text("365")
    await expect(page.get_by_text("drift +20")).to_be_visible()
    assert watched.problems == []


async def test_a_look_at_the_audit_needs_a_reason_and_is_one_of_the_looks(watched: Watched) -> None:
    page = watched.page
    await page.goto("/console/audit")
    await page.get_by_label("Your name").first.fill("Ann Agent")
    await page.get_by_label("Reason for the look").fill("yearly audit")

    await page.get_by_role("button", name="Show the looks").click()

    await expect(page.get_by_role("cell", name="yearly audit (console, Ann Agent, as typed)")).to_be_visible()
    assert watched.problems == []


async def test_the_live_ledger_shows_an_event_as_it_arrives(watched: Watched, served: Served) -> None:
    page = watched.page
    await page.goto("/console/ledger")
    await page.get_by_role("link", name="Follow live").click()

    _, told = await served.acme.deliver(issued("live", 0, 103, 5))

    position = told["events"][0]["position"]
    await expect(page.get_by_role("link", name=f"#{position}", exact=True)).to_be_visible(timeout=20_000)
    assert watched.problems == []
