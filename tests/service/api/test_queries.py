"""Queries over HTTP: answers, refusals, and the isolation of ledgers (invariant 10)."""

import base64
import time
from typing import Any

import orjson
import pytest

from ledger.database import connect
from ledger.store import api_keys
from service.api.requests.app_context import APP_CONTEXT
from tests.support.client import MASTER_KEY, serving
from tests.support.payloads import sample

ACCOUNT = "/v1/accounts/capillary:150956:87884897:838:points"
PATHS = [
    "/v1/customers/capillary:150956:87884897",
    ACCOUNT,
    f"{ACCOUNT}/lots",
    f"{ACCOUNT}/statement",
    "/v1/coupons/capillary:998:792947747",
    "/v1/ledger/events/1",
]


@pytest.mark.parametrize("path", [*PATHS, "/v1/ledger/events", "/v1/projections", "/v1/reconciliation/quarantine"])
@pytest.mark.parametrize("key", ["", "nonsense", "ll_000000000000_guess", "ll_ключ_guess", "ll_000000000000_ключ"])
async def test_nobody_reads_without_a_key(dsn: str, path: str, key: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await acme.ask(path, key=key)

        assert (status, problem["status"]) == (401, 401)


async def test_a_foreign_ledger_is_not_there(dsn: str) -> None:
    async with serving(dsn, "acme", "other") as [acme, other]:
        for name in ("pointsIssued", "CouponRedeem"):
            await acme.deliver(sample("capillary", name))
        await acme.ask_now("/v1/projections")

        for path in PATHS:
            status, _ = await other.ask(path)
            assert status == 404, path
        assert (await other.ask_now("/v1/ledger/events"))["items"] == []
        assert (await other.ask_now("/v1/projections"))["ledger_position"] == 0


async def test_a_key_without_the_scope_is_403(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        database = await connect(dsn)
        key = await api_keys.create_key(database, MASTER_KEY, acme.ledger, ["reveal"])
        await database.close()

        status, problem = await acme.ask("/v1/projections", key=key)

        assert (status, problem["type"]) == (403, "/v1/errors/scope-missing")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (ACCOUNT, {"at": "yesterday"}),
        (ACCOUNT, {"at": "2023-06-01T00:00:00"}),
        (ACCOUNT, {"as_of_position": "-1"}),
        (ACCOUNT, {"min_position": "x"}),
        ("/v1/ledger/events", {"limit": "0"}),
        ("/v1/ledger/events", {"limit": "1001"}),
        ("/v1/ledger/events", {"cursor": "!!!"}),
        ("/v1/ledger/events", {"since": "2023"}),
        ("/v1/ledger/events/zero", {}),
        ("/v1/accounts/a%00b", {}),
        ("/v1/customers/a%00b", {}),
        ("/v1/ledger/events", {"kind": "\x00"}),
    ],
)
async def test_a_question_that_makes_no_sense_is_400(dsn: str, path: str, query: dict[str, str]) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        await acme.ask_now("/v1/projections")

        status, problem = await acme.ask(path, **query)

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")


@pytest.mark.parametrize(
    "path",
    [
        *(f"{ACCOUNT}/{name}" for name in ("statement", "lots", "claims", "adjustments")),
        "/v1/programmes",
        "/v1/programmes/838/lapses",
        "/v1/liability",
        "/v1/periods",
        "/v1/ledger/events",
        "/v1/reconciliation/transfers",
    ],
)
async def test_a_cursor_of_another_list_is_400(dsn: str, path: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        await acme.ask_now("/v1/projections")

        others: list[list[Any]] = [[], [None], [{}], [1.5], ["x", 1], ["x", "y"], [1, "x", "y", False], [5, 5]]
        for parts in others:
            status, problem = await acme.ask(path, cursor=base64.urlsafe_b64encode(orjson.dumps(parts)).decode())

            assert (status, problem["type"]) == (400, "/v1/errors/request-invalid"), parts


@pytest.mark.parametrize(
    "path", ["/v1/accounts/none", "/v1/customers/none", "/v1/coupons/none", "/v1/orders/none", "/v1/ledger/events/7"]
)
async def test_an_unknown_subject_is_404(dsn: str, path: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await acme.ask(path)

        assert (status, problem["status"]) == (404, 404)


async def test_a_caller_reads_its_own_writes(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for number in range(5):
            _, told = await acme.deliver(f'{{"eventName": "new", "eventId": "{number}", "data": {{}}}}'.encode())
            position = told["events"][0]["position"]
            status, answer = await acme.ask("/v1/reconciliation/unrecognised", min_position=str(position))
            assert (status, len(answer["items"])) == (200, number + 1)


async def test_a_position_that_does_not_come_is_not_awaited_for_ever(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        begun = time.monotonic()
        status, problem = await acme.ask("/v1/reconciliation/quarantine", min_position="99")

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")
        assert "`min_position` is 99, but the last event has position 0" in problem["detail"]
        assert time.monotonic() - begun < acme.client.app[APP_CONTEXT].settings.wait_seconds_max / 2


async def test_what_we_knew_at_a_position_and_what_held_at_a_time(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for name in ("pointsIssued", "CouponRedeem"):
            await acme.deliver(sample("capillary", name))

        known = await acme.ask_now(ACCOUNT, as_of_position="1", at="2023-06-01T00:00:00Z")
        before, _ = await acme.ask(ACCOUNT, at="2020-01-01T00:00:00Z")

        assert (known["available"], known["as_of_position"]) == ("165", 1)
        assert before == 404


async def test_live_and_ready_need_no_key(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        assert await acme.ask("/live", key="") == (200, {"status": "live"})
        assert (await acme.ask("/ready", key=""))[0] == 200


async def test_errors_are_problem_documents_also_for_unknown_routes_and_methods(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for method, path, status in (("GET", "/nowhere", 404), ("DELETE", "/v1/projections", 405)):
            response = await acme.client.request(method, path)
            assert (response.status, response.content_type) == (status, "application/problem+json")
            assert response.headers["Cache-Control"] == "no-store"


async def test_rows_of_another_version_without_a_needed_column_answer_that_a_rebuild_is_due(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        await acme.ask_now(ACCOUNT)
        async with acme.database() as database:
            await database.execute("ALTER TABLE accounts RENAME missing TO not_yet_known")
        key = acme.key
    async with serving(dsn, "other") as [other]:
        broken = await other.ask(ACCOUNT, key=key)
        async with other.database() as database:
            await database.execute("UPDATE projections.generations SET shapes = NULL")
        due = await other.ask(ACCOUNT, key=key)

    assert (broken[0], due[0]) == (500, 503)
    assert "loyalty rebuild" in due[1]["detail"]


async def test_a_customer_is_shown_without_a_projection_that_waits_for_its_first_rebuild(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        before = await acme.ask_now("/v1/customers/87884897")
        async with acme.database() as connection:
            await connection.execute(
                "DROP TABLE badge_earnings, badges CASCADE"  # as left by an older version without the projection
            )

        for times in ({}, {"at": "2023-06-01T00:00:00Z"}):
            customer = await acme.ask_now("/v1/customers/87884897", **times)

            assert (customer["badges"], customer["rebuild_due"]) == (None, ["badges"])
            assert len(customer["accounts"]) == len(before["accounts"])
        assert "rebuild_due" not in before
