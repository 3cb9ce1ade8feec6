"""Policies: which of the events that share a key but not what they say is folded."""

from aiohttp import web

from projections.conflicts import DEFAULT_POLICY, POLICIES, policies_of
from service.admission import change, get
from service.answers import answer, page
from service.house import HOUSE
from service.settling import settle_by
from service.window.reading import body_of, reader


async def list_policies(request: web.Request) -> web.Response:
    """GET /v1/reconciliation/policies: how conflicts are settled, where not by the default."""
    async with reader(request) as read:
        policies = await policies_of(read.connection, read.ledger.ledger_id)
        items = [{"source": source, "kind": kind, "policy": policy} for (source, kind), policy in policies.items()]
        return page(items, None, default=DEFAULT_POLICY, policies=list(POLICIES))


async def put_policy(request: web.Request) -> web.Response:
    """PUT /v1/reconciliation/policies/{source}/{kind} with {"policy": "earliest" | "latest" | "both"}: settle all
    conflicts of a kind so, past ones too; the rows follow at once. What was known as of a position before stays as it
    was. Scope admin."""
    source, kind = request.match_info["source"], request.match_info["kind"]
    asked = await body_of(request)
    async with reader(request, "admin") as read:
        policy = str(asked.get("policy", ""))
        house = request.app[HOUSE]
        by = f"key {read.key_id}"
        done = await settle_by(read.connection, house.vault, read.ledger, source, kind, policy, by=by)
        house.projector.wake()
        return answer(done._asdict())


ROUTES = [
    get("/v1/reconciliation/policies", list_policies),
    change("PUT", "/v1/reconciliation/policies/{source}/{kind}", put_policy),
]
