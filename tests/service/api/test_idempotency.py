"""Idempotency-Key: every POST of the API changes something once, and answers a repeated request as before."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from ledger.store.read import tail
from service.api.requests import idempotency
from service.server.routes import OPERATIONS
from service.settings import Settings
from tests.service.api.test_generations import admin_of, rebuilt
from tests.support.client import TenantClient, serving
from tests.support.payloads import issued, merged, samples

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"
AUTHOR = {"author": "Jane Roe", "reason": "Ann showed her receipt"}
TERMS = {"effective_from": "2023-11-01", "time_zone": "UTC", "expiry": {"rule": "fixed", "days": 30}}
RECEIVER = "http://127.0.0.1:9/hook"  # nothing listens there
PARKED = "/v1/reconciliation/parked/retry"
FAILING = "SELECT 1 / ($1::int - $1::int), $2::bytea, $3::bytea, $4::int, $5::bytea"
KEYED = {operation.operation_id for operation in OPERATIONS if operation.is_keyed}


class Change(NamedTuple):
    """A request that changes something, and a body that differs; None where only the path can differ."""

    path: str
    body: Mapping[str, Any] | None
    other: Mapping[str, Any] | None = None


# In the order in which they are sent. A new POST has its line here.
CHANGES: Mapping[str, Change] = {
    "post_adjustment": Change(f"{ACCOUNT}/adjustments", {"points": 5, **AUTHOR}, {"points": 6, **AUTHOR}),
    "post_reversal": Change(f"{ACCOUNT}/adjustments/post_adjustment/reversal", AUTHOR, {**AUTHOR, "reason": "x"}),
    "post_terms": Change("/v1/programmes/capillary:9001:77/terms", TERMS, {**TERMS, "time_zone": "Asia/Kolkata"}),
    "post_item_refund": Change("/v1/order-items/{item}/refund", AUTHOR, {**AUTHOR, "reference": "t-77"}),
    "unmerge_customer": Change("/v1/customers/capillary:9001:2/unmerge", AUTHOR, {**AUTHOR, "reason": "x"}),
    "post_close": Change("/v1/periods/2023-11/close", None),
    "post_reopen": Change("/v1/periods/2023-11/reopen", None),
    "erase_customer": Change("/v1/customers/capillary:9001:1/erasure", {"reason": "asked"}, {"reason": "by letter"}),
    "retry_parked": Change(PARKED, {}, {"subject_kind": "account"}),
    "create_endpoint": Change("/v1/endpoints", {"url": RECEIVER}, {"url": RECEIVER, "label": "x"}),
    "send_test_message": Change("/v1/endpoints/{endpoint}/test", None),
    "rotate_secret": Change("/v1/endpoints/{endpoint}/rotate", None),
    "settle_secret": Change("/v1/endpoints/{endpoint}/settle", None),
    "disable_endpoint": Change("/v1/endpoints/{endpoint}/disable", None),
    "enable_endpoint": Change("/v1/endpoints/{endpoint}/enable", None),
    "replay_messages": Change("/v1/endpoints/{endpoint}/replay", {"after": 0}, {"after": 1}),
    "start_rebuild": Change("/v1/generations", {"basis": "facts"}, {"basis": "ledger"}),
    "promote_generation": Change("/v1/generations/{generation}/promote", {}, {"force": True}),
    "roll_back_generation": Change("/v1/generations/rollback", None),
}
OF_GENERATIONS = ("promote_generation", "roll_back_generation", "start_rebuild")
OF_ENDPOINTS = [name for name, change in CHANGES.items() if change.path.startswith("/v1/endpoints")]


class Answer(NamedTuple):
    status: int
    body: Any
    replayed: str | None


async def send(acme: TenantClient, admin: str, path: str, body: Any, key: str) -> Answer:
    headers = {"Authorization": f"Bearer {admin}", "Idempotency-Key": key}
    response = await acme.client.post(path, json=body, headers=headers)
    return Answer(response.status, await response.json(), response.headers.get("Idempotency-Replayed"))


async def send_twice(acme: TenantClient, admin: str, name: str, change: Change) -> None:
    """Send a change twice, and another one with the same key. It is made once."""
    first = await send(acme, admin, change.path, change.body, name)
    async with acme.database() as connection:
        after = await tail(connection, acme.ledger.ledger_id)
    again = await send(acme, admin, change.path, change.body, name)
    other = await send(acme, admin, *((change.path, change.other) if change.other else (PARKED, {})), name)

    assert (first.status in (200, 201, 202), first.replayed) == (True, None), (name, first)
    assert again == (first.status, first.body, "true"), name
    assert (other.status, other.body["type"]) == (422, "/v1/errors/idempotency-key-reused"), name
    async with acme.database() as connection:
        assert await tail(connection, acme.ledger.ledger_id) == after, name


def test_every_post_of_the_api_is_tried() -> None:
    posts = {one.operation_id for one in OPERATIONS if one.method == "POST"}

    assert set(CHANGES) == KEYED
    assert posts - KEYED == {"receive_delivery", "check_delivery"}  # event keys do it; nothing is changed


async def test_a_repeated_change_gets_the_first_answer_and_changes_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        admin = await admin_of(dsn, acme)
        await acme.deliver(issued("a", 0, 1, 300))
        await acme.deliver(issued("b", 0, 2, 30))
        await acme.deliver(merged("m", 5, 2, 3))
        for body in samples("ascenda"):
            await acme.deliver(body, "ascenda")
        items = (await acme.ask_now("/v1/order-items", refund="due"))["items"]

        for name, change in CHANGES.items():
            if name not in (*OF_GENERATIONS, *OF_ENDPOINTS):
                await send_twice(acme, admin, name, change._replace(path=change.path.format(item=items[0]["id"])))
                await acme.ask_now("/v1/projections")


async def test_a_repeated_change_of_generations_gets_the_first_answer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        admin = await admin_of(dsn, acme)
        await acme.deliver(issued("a", 0, 1, 300))
        await acme.ask_now("/v1/projections")
        generation = (await rebuilt(acme, admin))["generation"]

        for name in OF_GENERATIONS:
            change = CHANGES[name]
            await send_twice(acme, admin, name, change._replace(path=change.path.format(generation=generation)))


async def test_a_repeated_change_of_endpoints_gets_the_first_answer_and_no_secret_is_stored_in_the_clear(
    dsn: str,
) -> None:
    async with serving(dsn, "acme", settings=Settings(outgoing_networks="127.0.0.0/8")) as [acme]:
        admin = await admin_of(dsn, acme)
        await acme.deliver(issued("a", 0, 1, 300))
        endpoint = (await send(acme, admin, "/v1/endpoints", {"url": RECEIVER}, "first")).body

        for name in OF_ENDPOINTS:
            change = CHANGES[name]
            path = change.path.format(endpoint=endpoint["endpoint_id"])
            await send_twice(acme, admin, name, change._replace(path=path))

        async with acme.database() as connection:
            stored = [row[0] for row in await connection.fetch("SELECT body FROM ledger.idempotent_answers")]
        assert len(stored) == 1 + len(OF_ENDPOINTS)
        assert not [body for body in stored if endpoint["secret"].encode() in body or b"whsec_" in body]


async def test_an_answer_is_repeated_after_a_restart_and_not_to_another_ledger(dsn: str) -> None:
    asked = {"points": 5, **AUTHOR}
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 300))
        admin = await admin_of(dsn, acme)
        first = await send(acme, admin, f"{ACCOUNT}/adjustments", asked, "case-1")

    async with serving(dsn, "other") as [other]:
        await other.deliver(issued("a", 0, 1, 300))
        again = await send(other, admin, f"{ACCOUNT}/adjustments", asked, '"case-1"')
        theirs = await send(other, await admin_of(dsn, other), f"{ACCOUNT}/adjustments", asked, "case-1")

    assert again == (201, first.body, "true")
    assert (theirs.status, theirs.body["position"], theirs.replayed) == (201, 2, None)


async def test_the_same_change_asked_for_many_times_at_once_is_made_once(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 300))
        admin = await admin_of(dsn, acme)
        asked = [send(acme, admin, f"{ACCOUNT}/adjustments", {"points": 5, **AUTHOR}, "case-1") for _ in range(12)]

        answers = await asyncio.gather(*asked)

        made = [answer for answer in answers if answer.status == 201]
        refused = {answer.body["type"] for answer in answers if answer.status != 201}
        assert {answer.body["position"] for answer in made} == {2}
        assert [answer.replayed for answer in made].count(None) == 1
        assert refused <= {"/v1/errors/idempotency-key-in-use"}
        assert (await acme.ask_now(ACCOUNT))["available"] == "305"


@pytest.mark.parametrize("name", ["post_adjustment", "post_terms", "post_item_refund", "unmerge_customer"])
async def test_a_change_whose_answer_cannot_be_stored_is_not_made(dsn: str, name: str, monkeypatch: Any) -> None:
    """The process may die between the two, so they are one transaction."""
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 300))
        await acme.deliver(issued("b", 0, 2, 30))
        await acme.deliver(merged("m", 5, 2, 3))
        for body in samples("ascenda"):
            await acme.deliver(body, "ascenda")
        item = (await acme.ask_now("/v1/order-items", refund="due"))["items"][0]["id"]
        change, admin = CHANGES[name], await admin_of(dsn, acme)
        path = change.path.format(item=item)
        async with acme.database() as connection:
            before = await tail(connection, acme.ledger.ledger_id)

            with monkeypatch.context() as patch:
                patch.setattr(idempotency, "STORE_ANSWER", FAILING)
                lost = await send(acme, admin, path, change.body, name)
            after_loss = await tail(connection, acme.ledger.ledger_id)
            made = await send(acme, admin, path, change.body, name)
            again = await send(acme, admin, path, change.body, name)

            assert (lost.status >= 400, after_loss) == (True, before)
            assert (made.status in (200, 201), made.replayed, made.body["position"]) == (True, None, before + 1)
            assert again == (made.status, made.body, "true")
            assert await tail(connection, acme.ledger.ledger_id) == before + 1


async def test_an_error_and_a_dry_run_leave_the_key_free(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 300))
        admin = await admin_of(dsn, acme)
        path = f"{ACCOUNT}/adjustments"

        refused = await send(acme, admin, path, {"points": "many", **AUTHOR}, "case-1")
        previewed = await send(acme, admin, f"{path}?dry_run=true", {"points": 5, **AUTHOR}, "case-1")
        made = await send(acme, admin, path, {"points": 5, **AUTHOR}, "case-1")

        assert (refused.status, previewed.status, previewed.body["position"]) == (400, 200, None)
        assert (made.status, made.replayed, made.body["id"]) == (201, None, "case-1")


@pytest.mark.parametrize("key", ["", "with a blank", "x" * 201, "jane@example.com"])
async def test_a_key_of_other_characters_is_refused(dsn: str, key: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        answer = await send(acme, await admin_of(dsn, acme), PARKED, {}, key)

        assert (answer.status, "Idempotency-Key" in answer.body["detail"]) == (400, True)
