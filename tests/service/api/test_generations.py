"""Generations over HTTP and by the command line, while callers keep reading."""

import asyncio
from typing import Any

from ledger.database import connect
from ledger.store import api_keys
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"


async def admin_of(dsn: str, acme: TenantClient) -> str:
    connection = await connect(dsn)
    try:
        return await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin", "operator"])
    finally:
        await connection.close()


async def act(acme: TenantClient, key: str, method: str, path: str, **body: Any) -> tuple[int, Any]:
    response = await acme.client.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
    return response.status, await response.json()


async def rebuilt(acme: TenantClient, key: str, **body: Any) -> dict[str, Any]:
    """Start a rebuild, and wait until its generation is compared."""
    before = (await act(acme, key, "GET", "/v1/generations"))[1]["items"][-1]["generation"]
    while (begun := await act(acme, key, "POST", "/v1/generations", **body))[0] == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # the rebuild before is just ending
    assert (begun[0], begun[1]["status"], begun[1]["generation"] > before) == (202, "filling", True)
    for _ in range(1_000):
        listed = (await act(acme, key, "GET", "/v1/generations"))[1]["items"]
        if listed[-1]["generation"] > before and listed[-1]["comparison"] is not None:
            newest: dict[str, Any] = listed[-1]
            return newest
        await asyncio.sleep(0.05)
    raise AssertionError("the rebuild did not end")


async def test_readers_under_load_see_no_error_and_one_whole_generation_while_others_are_promoted(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        key = await admin_of(dsn, acme)
        await acme.deliver(issued("a", 0, 1, 10))
        await acme.ask_now(ACCOUNT)
        stop = asyncio.Event()
        answers: list[tuple[int, str, int]] = []

        async def read() -> None:
            while not stop.is_set():
                status, body = await acme.ask(ACCOUNT)
                answers.append((status, body.get("available"), body.get("as_of_position", 0)))

        readers = [asyncio.create_task(read()) for _ in range(4)]
        for round_ in range(3):
            newest = await rebuilt(acme, key, basis="facts" if round_ else "ledger")
            assert newest["comparison"]["unexpected"] == 0
            status, promoted = await act(acme, key, "POST", f"/v1/generations/{newest['generation']}/promote")
            assert status == 200, promoted
            assert (status, promoted["status"]) == (200, "active")
            await acme.deliver(issued(f"b{round_}", 1 + round_, 1, 10))
            await acme.ask_now(ACCOUNT)
            status, back = await act(acme, key, "POST", "/v1/generations/rollback")
            assert (status, back["status"]) == (200, "active")
            assert (await acme.ask_now(ACCOUNT))["available"] == str(20 + 10 * round_)
        stop.set()
        await asyncio.gather(*readers)

        assert {status for status, _, _ in answers} == {200}
        assert all(points == str(10 * position) for _, points, position in answers)


async def test_missing_scopes_and_impossible_changes_are_refused(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        key = await admin_of(dsn, acme)

        assert (await acme.ask("/v1/generations"))[0] == 403
        assert (await act(acme, key, "POST", "/v1/generations", basis="thin air"))[0] == 400
        assert (await act(acme, key, "POST", "/v1/generations", projections=["horoscopes"]))[0] == 400
        assert (await act(acme, key, "POST", "/v1/generations/1/promote"))[0] == 409
        assert (await act(acme, key, "POST", "/v1/generations/9/promote"))[0] == 404
        assert (await act(acme, key, "POST", "/v1/generations/rollback"))[0] == 409
        assert (await act(acme, key, "DELETE", "/v1/generations/1"))[0] == 409
        assert (await act(acme, key, "DELETE", "/v1/generations/7"))[0] == 404


async def test_a_generation_that_is_not_wanted_is_dropped_and_parked_subjects_are_tried_again(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        key = await admin_of(dsn, acme)
        newest = await rebuilt(acme, key)

        dropped = await act(acme, key, "DELETE", f"/v1/generations/{newest['generation']}")
        retried = await act(acme, key, "POST", "/v1/reconciliation/parked/retry")

        assert dropped == (200, {"generation": newest["generation"], "dropped": True})
        assert (retried[0], retried[1]["tried"]) == (200, 0)
