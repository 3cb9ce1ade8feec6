"""A script in every text that a vendor controls: each page of the console shows it as text."""

import html
import json
import re
from collections import deque
from typing import Any

from ledger.store import api_keys
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.console_browser import Browser
from tests.support.payloads import sample

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
# The texts of a sample that are replaced: names, descriptions, codes, messages and ids, by the source and the sample.
TEXTS = {
    ("capillary", "customerAdded"): ("loyaltyType", "source", "code", "name"),
    ("capillary", "transactionAdded"): ("billNumber", "currencyCode", "code", "name", "billType"),
    ("capillary", "pointsIssued"): ("value", "tierName", "name"),
    ("capillary", "tierUpgraded"): ("notes", "upgradeType", "name"),
    ("capillary", "CouponIssue"): ("code", "description", "discount_code", "discount_type"),
    ("capillary", "badgeEarned"): ("badgeId", "earnId"),
    ("capillary", "rewardCreated"): ("name", "description", "label", "group", "tier"),
    ("capillary", "rewardIssued"): ("intouchCouponCode", "vendorVoucher", "type"),
    ("capillary", "issueRewardFailure"): ("message", "errorMessage", "statusMessage"),
    ("capillary", "requestWorkflowEvent"): ("requestType", "reason", "comments"),
    ("ascenda", "order_item.fulfillment.failed"): ("description", "message", "code", "error_message", "program_name"),
    ("voucherify", "voucher.loyalty_card.transaction.created-accrual"): ("reason", "source", "banner", "code", "name"),
}
SCOPES = ("read", "audit", "reveal", "admin", "operator")
FIRST_PAGES = (
    "/console",
    "/console/lists",
    "/console/reconciliation",
    "/console/ledger?after=0",
    "/console/finance",
    "/console/finance/breakage",
    "/console/finance/trial-balance",
    "/console/lapses?from=2020-01-01&to=2029-12-31",
    "/console/operations",
    "/console/operations/endpoints",
    "/console/operations/generations",
    "/console/audit",
)
PAGES_MAX = 140
LINK = re.compile(r'href="(/console[^"#]*)"')
SKIPPED = ("/console/static", "/proof", "format=", "/console/logout", "live=")


def with_hostile_texts(document: Any, names: tuple[str, ...]) -> Any:
    """Replace the texts with certain names anywhere in a document."""
    if isinstance(document, list):
        return [with_hostile_texts(one, names) for one in document]
    if isinstance(document, dict):
        return {
            key: HOSTILE if key.strip() in names and isinstance(value, str) else with_hostile_texts(value, names)
            for key, value in document.items()
        }
    return document


async def fill(acme: TenantClient) -> None:
    for (source, name), names in TEXTS.items():
        body = json.dumps(with_hostile_texts(json.loads(sample(source, name)), names)).encode()
        assert (await acme.deliver(body, source))[0] == 200
    unknown = {
        "eventName": HOSTILE,
        "eventId": HOSTILE,
        "orgId": 1,
        "createdAt": 1_700_000_000_000,
        "data": {"a": HOSTILE},
    }
    assert (await acme.deliver(json.dumps(unknown).encode()))[0] == 200
    await acme.ask_now("/v1/projections")


async def test_no_page_holds_a_script_of_a_vendor(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await fill(acme)
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, SCOPES, label=HOSTILE)
        browser = Browser(acme.client)
        await browser.sign_in(key)
        waiting = deque(FIRST_PAGES)
        seen, escaped = set(waiting), 0
        while waiting and len(seen) < PAGES_MAX:
            path = waiting.popleft()
            status, text = await browser.get(path)

            assert status < 500, path
            assert "<script>alert" not in text, path
            assert "<img src=x" not in text, path
            escaped += "&lt;script&gt;" in text
            for found in LINK.findall(text):
                link = html.unescape(found)
                if link not in seen and not any(part in link for part in SKIPPED):
                    seen.add(link)
                    waiting.append(link)

    assert escaped >= 12
