"""Conflicts: events that share a key but not what they say, side by side, and the policy that says which is folded."""

from typing import Any

from aiohttp import web

from ledger.identify import KEY_BYTES
from ledger.read import conflicts_after, twins
from projections.conflicts import DEFAULT_POLICY, POLICIES, policies_of, winners
from projections.policies import set_policy
from service.answers import answer, decode_cursor, encode_cursor, page
from service.house import HOUSE
from service.window.events import shown_payload
from service.window.reading import body_of, limit_of, reach, reader


async def list_conflicts(request: web.Request) -> web.Response:
    """GET /v1/reconciliation/conflicts: one item a key, in order of its first conflict, with every content told for it,
    the policy, and which of them is folded."""
    after = decode_cursor(request.query.get("cursor")) or [0]
    limit = limit_of(request)
    async with reader(request) as read:
        ledger_id = read.ledger.ledger_id
        policies = await policies_of(read.connection, ledger_id)
        conflicts = await conflicts_after(read.connection, ledger_id, int(after[0]), limit)
        items: dict[bytes, dict[str, Any]] = {}
        for _position, event_key in conflicts:
            key = event_key[:KEY_BYTES]
            if key in items:
                continue
            events = await twins(read.connection, ledger_id, key)
            folded = {event.position for event in winners(events, policies)}
            items[key] = {
                "event_key": key,
                "source": events[0].source,
                "kind": events[0].kind,
                "policy": policies.get((events[0].source, events[0].kind), DEFAULT_POLICY),
                "contents": [
                    {
                        "position": event.position,
                        "occurred_at": event.occurred_at,
                        "recorded_at": event.recorded_at,
                        "folded": event.position in folded,
                        "payload": shown_payload(event.payload),
                    }
                    for event in events
                ],
            }
        cursor = encode_cursor(conflicts[-1][0]) if len(conflicts) == limit else None
        return page(list(items.values()), cursor, **await reach(read))


async def list_policies(request: web.Request) -> web.Response:
    """GET /v1/reconciliation/policies: how conflicts are settled, where not by the default."""
    async with reader(request) as read:
        policies = await policies_of(read.connection, read.ledger.ledger_id)
        items = [{"source": source, "kind": kind, "policy": policy} for (source, kind), policy in policies.items()]
        return page(items, None, default=DEFAULT_POLICY, policies=list(POLICIES))


async def put_policy(request: web.Request) -> web.Response:
    """PUT /v1/reconciliation/policies/{source}/{kind} with {"policy": "earliest" | "latest" | "both"}: settle all
    conflicts of a kind so, past ones too; the rows follow at once. Scope admin."""
    source, kind = request.match_info["source"], request.match_info["kind"]
    asked = await body_of(request)
    async with reader(request, "admin") as read:
        policy = str(asked.get("policy", ""))
        conflicts = await set_policy(read.connection, read.ledger.ledger_id, source, kind, policy)
        request.app[HOUSE].projector.wake()
        return answer({"source": source, "kind": kind, "policy": policy, "conflicts": conflicts})


ROUTES = [
    web.get("/v1/reconciliation/conflicts", list_conflicts),
    web.get("/v1/reconciliation/policies", list_policies),
    web.put("/v1/reconciliation/policies/{source}/{kind}", put_policy),
]
