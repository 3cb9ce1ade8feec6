"""Server-Sent Events: the same feed as webhooks, resumed by the reader."""

import asyncio
import json
from typing import Any

from service.api.outgoing import stream
from tests.support.client import TenantClient, serving
from tests.support.payloads import issued


async def read_stream(acme: TenantClient, headers: dict[str, str] | None = None, **query: str) -> list[dict[str, str]]:
    """Read a stream to its end. Return the fields of each event."""
    bearer = {"Authorization": f"Bearer {acme.key}", **(headers or {})}
    response = await acme.client.get("/v1/stream", params=query, headers=bearer)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    return events_of(await response.text())


def events_of(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("id: ")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


async def deliver(acme: TenantClient, count: int) -> None:
    for number in range(count):
        await acme.deliver(issued(f"e{number}", number, 1, 10))
    await acme.wait_for_position(count)


async def test_a_stream_holds_the_feed_and_is_resumed_after_any_event(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, 4)
        whole = await read_stream(acme)
        resumed = [await read_stream(acme, {"Last-Event-ID": one["id"]}) for one in whole]
        facts = await read_stream(acme, types="fact.recorded", after="2")

    assert [one["event"] for one in whole] == ["fact.recorded", "balance.changed"] * 4
    assert [json.loads(one["data"])["id"] for one in facts] == ["3/0", "4/0"]
    assert resumed == [whole[number:] for number in range(1, len(whole) + 1)]


async def test_a_stream_that_follows_gets_what_is_recorded_later_and_ends_with_the_service(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, 1)
        bearer = {"Authorization": f"Bearer {acme.key}"}
        response = await acme.client.get("/v1/stream", params={"follow": "true"}, headers=bearer)
        async with asyncio.timeout(30):
            text = ""
            while "1/0" not in text:
                text += (await response.content.readany()).decode()
            await acme.deliver(issued("later", 50, 1, 10))
            while "2/0" not in text:
                text += (await response.content.readany()).decode()
        app: Any = acme.client.server.app  # type: ignore[attr-defined]
        await stream.end_streams(app)

        assert not any(app[stream.STREAMS].values())
    assert [json.loads(one["data"])["id"] for one in events_of(text) if one["event"] == "fact.recorded"] == [
        "1/0",
        "2/0",
    ]


async def test_an_unknown_type_and_a_foreign_id_are_refused(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        bearer = {"Authorization": f"Bearer {acme.key}"}
        unknown = await acme.client.get("/v1/stream", params={"types": "points.will_lapse"}, headers=bearer)
        foreign = await acme.client.get("/v1/stream", headers={**bearer, "Last-Event-ID": "mine"})

    assert (unknown.status, foreign.status) == (400, 400)
