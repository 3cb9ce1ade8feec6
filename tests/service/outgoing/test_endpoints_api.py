"""Endpoints over HTTP: what an administrator of one ledger may do, and what is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ledger.privacy.access_log import accesses_after
from ledger.store import api_keys
from service.settings import Settings
from tests.service.outgoing.conftest import dispatching, until
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued
from tests.support.receiver import receiving

SETTINGS = Settings(outgoing_networks="127.0.0.0/8")


class Administrator:
    """Sends requests with a key of scope `admin`."""

    def __init__(self, tenant: TenantClient, key: str) -> None:
        self.tenant, self.key = tenant, key

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.key}"}
        response = await self.tenant.client.request(method, path, params=query, json=body, headers=headers)
        return response.status, await response.json()


@asynccontextmanager
async def administrators(dsn: str, *names: str, settings: Settings = SETTINGS) -> AsyncIterator[list[Administrator]]:
    async with serving(dsn, *names, settings=settings) as tenants:
        made = []
        for tenant in tenants:
            async with tenant.database() as connection:
                key = await api_keys.create_key(connection, MASTER_KEY, tenant.ledger, ["admin"])
            made.append(Administrator(tenant, key))
        yield made


async def test_an_endpoint_from_its_creation_to_its_end(dsn: str) -> None:
    async with administrators(dsn, "acme") as [acme], receiving() as receiver, dispatching(dsn):
        status, made = await acme.ask("POST", "/v1/endpoints", {"url": receiver.url, "types": ["fact.recorded"]})
        path = f"/v1/endpoints/{made['endpoint_id']}"
        tested = await acme.ask("POST", f"{path}/test")
        await acme.tenant.deliver(issued("a", 0, 1, 10))
        await until(lambda: got(receiver.ids, "1/0"))
        rotated = await acme.ask("POST", f"{path}/rotate")
        await until(lambda: is_behind(acme, path, 0))
        replayed = await acme.ask("POST", f"{path}/replay", {"after": 0})
        await until(lambda: got(receiver.ids, "1/0", 2))
        receiver.verify(made["secret"])
        settled = await acme.ask("POST", f"{path}/settle")
        disabled = await acme.ask("POST", f"{path}/disable")
        shown = await acme.ask("GET", path)
        enabled = await acme.ask("POST", f"{path}/enable")
        listed = await acme.ask("GET", "/v1/endpoints")
        attempts = await acme.ask("GET", f"{path}/attempts", limit="1")
        further = await acme.ask("GET", f"{path}/attempts", cursor=attempts[1]["next"])
        deleted = await acme.ask("DELETE", path)
        gone = await acme.ask("GET", path)

    assert (status, made["status"], made["position"]) == (201, "active", 0)
    assert (tested[0], tested[1]["outcome"], tested[1]["status"]) == (200, "delivered", 204)
    assert [event["type"] for event in receiver.accepted][:2] == ["endpoint.test", "fact.recorded"]
    assert rotated[1]["secret"].startswith("whsec_")
    assert (replayed[1]["position"], settled[1]["live_secrets"]) == (0, 1)
    assert (disabled[1]["disabled"], shown[1]["status"], enabled[1]["disabled"]) == (True, "disabled", False)
    assert [one["endpoint_id"] for one in listed[1]["items"]] == [made["endpoint_id"]]
    assert len(attempts[1]["items"]) == 1
    assert further[1]["items"][-1]["outcome"] == "test"
    assert (deleted[1]["deleted"], gone[0], gone[1]["type"]) == (True, 404, "/v1/errors/endpoint-unknown")


async def test_options_of_an_endpoint_change_and_each_change_is_recorded(dsn: str) -> None:
    async with administrators(dsn, "acme", "other") as [acme, other]:
        _, made = await acme.ask("POST", "/v1/endpoints", {"url": "https://a.example/hook", "types": ["tier.changed"]})
        path = f"/v1/endpoints/{made['endpoint_id']}"

        status, changed = await acme.ask("PATCH", path, {"url": "https://b.example/hook", "notice_days": 7})
        wrong = await acme.ask("PATCH", path, {"kinds": ["Nothing"]})
        foreign = await other.ask("PATCH", path, {"label": "mine"})
        shown = await acme.ask("GET", path)

        async with acme.tenant.database() as connection:
            looks = await accesses_after(connection, acme.tenant.ledger.ledger_id, 0, 10)

    assert (status, changed["url"], changed["types"], changed["notice_days"]) == (
        200,
        "https://b.example/hook",
        ["tier.changed"],
        7,
    )
    assert (wrong[0], foreign[0], shown[1]["label"]) == (400, 404, "")
    assert [look.object for look in looks] == ["POST /v1/endpoints", f"PATCH {path}", f"PATCH {path}"]


async def got(ids: list[str], identifier: str, times: int = 1) -> bool:
    return ids.count(identifier) >= times


async def is_behind(acme: Administrator, path: str, events: int) -> bool:
    return bool((await acme.ask("GET", path))[1]["events_behind"] == events)


async def test_an_endpoint_of_another_ledger_is_unknown(dsn: str) -> None:
    async with administrators(dsn, "acme", "other") as [acme, other]:
        _, made = await acme.ask("POST", "/v1/endpoints", {"url": "https://example.com/hooks"})
        path = f"/v1/endpoints/{made['endpoint_id']}"
        answers = [
            await other.ask(method, f"{path}{rest}", body)
            for method, rest, body in (
                ("GET", "", None), ("DELETE", "", None), ("POST", "/enable", None), ("POST", "/disable", None),
                ("POST", "/rotate", None), ("POST", "/settle", None), ("POST", "/test", None),
                ("POST", "/replay", {"after": 0}), ("GET", "/attempts", None), ("PUT", "/credentials", {"token": "t"}),
            )
        ]  # fmt: skip
        still = await acme.ask("GET", path)

    assert {status for status, _ in answers} == {404}
    assert (still[0], still[1]["live_secrets"]) == (200, 1)


async def test_what_cannot_be_an_endpoint_is_refused(dsn: str) -> None:
    refused = (
        {"url": "http://example.com/"}, {"url": "https://10.0.0.1/"}, {"url": "https://example.com/", "types": ["x"]},
        {"url": "https://example.com/", "kinds": ["x"]}, {"url": "https://example.com/", "after": 5},
        {"url": "https://example.com/", "events_per_request": 0}, {"url": "https://example.com/", "notice_days": 0},
        {"url": "https://example.com/", "since": "2999-01-01T00:00:00Z"}, {"url": "https://example.com/", "more": 1},
        {"url": "https://example.com/", "label": "ann@example.com"},
    )  # fmt: skip
    async with administrators(dsn, "acme", settings=Settings()) as [acme]:
        answers = [await acme.ask("POST", "/v1/endpoints", body) for body in refused]
        reader = Administrator(acme.tenant, acme.tenant.key)
        forbidden = [
            await reader.ask("GET", "/v1/endpoints"),
            await reader.ask("POST", "/v1/endpoints", {"url": "https://example.com/"}),
        ]

    assert [status for status, _ in answers] == [400] * len(refused)
    assert [status for status, _ in forbidden] == [403, 403]


async def test_a_stream_is_created_without_a_secret_and_shows_no_credentials(dsn: str) -> None:
    settings = Settings(outgoing_servers="nats.example:4222 Kafka-1.example:9092")
    body = {"url": "nats+tls://nats.example", "credentials": {"user": "loyalty", "password": "p-4711-p"}}
    async with administrators(dsn, "acme", settings=settings) as [acme]:
        status, made = await acme.ask("POST", "/v1/endpoints", body)
        path = f"/v1/endpoints/{made['endpoint_id']}"
        replaced = await acme.ask("PUT", f"{path}/credentials", {"token": "t-4711-t"})
        refused = [
            await acme.ask("POST", f"{path}/rotate"),
            await acme.ask("PUT", f"{path}/credentials", {"ca": "no certificate"}),
            await acme.ask("PATCH", path, {"url": "nats://nats.example"}),  # the credentials in the clear
            await acme.ask("PATCH", path, {"url": "nats+tls://kafka-1.example:9092"}),  # to another server
            await acme.ask("PATCH", path, {"url": "https://example.com/"}),
            await acme.ask("POST", "/v1/endpoints", {"url": "nats://other.example"}),
            await acme.ask("POST", "/v1/endpoints", {**body, "url": "https://example.com/"}),
            await acme.ask("POST", "/v1/endpoints", {**body, "url": "kafka://kafka-1.example/topic-of-others"}),
        ]
        changed = await acme.ask("PATCH", path, {"url": "nats+tls://nats.example?mode=binary"})
        shown = await acme.ask("GET", path)

    assert changed[0] == 200
    assert (status, made["secret"], made["live_secrets"]) == (201, None, 0)
    assert replaced == (200, {"endpoint_id": made["endpoint_id"], "replaced": True})
    assert [status for status, _ in refused] == [400] * len(refused)
    assert "4711" not in str((made, replaced, refused, shown))
