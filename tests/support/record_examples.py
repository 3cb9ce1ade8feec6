"""Record an answer of each GET operation on the published samples, as examples for the OpenAPI document.

`LOYALTY_RECORD_EXAMPLES=1 scripts/test tests/service/api/test_examples.py` writes them again.
"""

import re
from collections.abc import Iterator
from typing import Any

from ledger.store import api_keys
from service.api.requests.admission import Operation
from service.server.openapi.examples import DELIVERY_EXAMPLES
from service.server.routes import OPERATIONS
from tests.support.client import MASTER_KEY, TenantClient
from tests.support.payloads import sample, samples

SUBJECTS = "SELECT DISTINCT subject_kind, subject FROM facts WHERE ledger_id = $1 ORDER BY subject_kind, subject"
PROGRAMME = "capillary:150956:838"
ACCOUNT = "capillary:150956:87884897:838:points"
ITEMS_MAX = 1  # of any list of an example
VALUES = {
    "period": ["2023-11"],
    "position": ["1"],
    "problem": ["scope-missing"],
    "projection": ["coupons", "order-items", "tiers", "transfers", "bills"],
    "list": ["drift"],
}
QUERIES = {
    "/v1/customers/lookup": {"external_id": "2019"},
    "/v1/liability": {"from": "2023-01-01", "to": "2024-01-01"},
    "/v1/breakage": {"month": "2024-01"},
}


async def record_answers(client: TenantClient) -> dict[str, Any]:
    """Deliver the samples, send each GET operation with a JSON answer, and return the first answer 200 of each."""
    _, delivered = await client.deliver(sample("capillary", "pointsIssued"))
    for source in ("capillary", "ascenda", "fabric", "voucherify"):
        for body in samples(source):
            await client.deliver(body, source)
    await client.ask_now("/v1/projections")
    async with client.database() as connection:
        subjects = [row["subject"] for row in await connection.fetch(SUBJECTS, client.ledger.ledger_id)]
        key = await api_keys.create_key(connection, MASTER_KEY, client.ledger, ["read", "admin"])
    lots = await client.ask_now(f"/v1/accounts/{ACCOUNT}/lots")
    found = [await client.ask(f"/v1/{name}") for name in ("orders", "redemptions")]
    subjects += [item["id"] for _, page in found for item in page["items"]]
    answers = {}
    for one in OPERATIONS:
        if one.method != "GET" or one.answer is None or one.scopes == ("reveal",):
            continue
        for path in _paths(one, [ACCOUNT, PROGRAMME, *subjects], lots["items"][0]["id"]):
            status, answer = await client.ask(path, key=key, **QUERIES.get(one.template, {}))
            if status == 200:
                answers[one.operation_id] = shorten(answer)
                break
    return {**answers, "receive_delivery": delivered}


def _paths(one: Operation, subjects: list[str], lot: str) -> Iterator[str]:
    """Yield paths of an operation, each placeholder with every value that may fit."""
    paths = [one.template.replace("{id}/lots/{lot}", f"{ACCOUNT}/lots/{lot}")]
    for name in re.findall(r"{(\w+)}", paths[0]):
        values = VALUES.get(name, subjects if name == "id" else [])
        paths = [path.replace("{" + name + "}", value) for path in paths for value in values]
    yield from paths


def shorten(value: Any) -> Any:
    """Return an answer with at most ITEMS_MAX items of each list."""
    if isinstance(value, list):
        return [shorten(item) for item in value[:ITEMS_MAX]]
    if isinstance(value, dict):
        return {key: shorten(item) for key, item in value.items()}
    return value


def deliveries() -> dict[str, bytes]:
    """Return the published payloads that the document shows, by name."""
    return {name: sample(*name.split("/")) for name in DELIVERY_EXAMPLES}
