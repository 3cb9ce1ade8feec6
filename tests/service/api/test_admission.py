"""On every route, nothing is spent before the key is checked, and no parameter is ignored."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ledger.errors import LedgerError
from ledger.store import api_keys
from ledger.store.api_keys import API_KEY_PATTERN
from service.api.requests.admission import Operation
from service.api.requests.app_context import _password
from service.api.transparency.tlog import takes_gzip
from service.formatting import decode_cursor
from service.parameters import parse_int, parse_time
from service.server.routes import OPERATIONS
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import sample

NO_KEY_OF_OURS = f"ll_{'0' * 12}_{'A' * 43}"
SECONDS_MAX = 5.0
# Locks every table but those that the look-up of a key reads.
LOCK_ALL_OTHERS = """
    DO $$ DECLARE one text; BEGIN
      FOR one IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                  WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
                    AND tablename NOT IN ('api_keys', 'ledgers')
      LOOP EXECUTE 'LOCK TABLE ' || one || ' IN ACCESS EXCLUSIVE MODE'; END LOOP;
    END $$
"""


def path_of(operation: Operation) -> str:
    return re.sub(r"\{\w+\}", "1", operation.template)


KEYED = [(operation.method, path_of(operation)) for operation in OPERATIONS if operation.scopes]


async def first_line(port: int, request: str) -> bytes:
    """Send the head of a request alone. Return the first line of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        async with asyncio.timeout(SECONDS_MAX):
            return await reader.readline()
    finally:
        writer.close()


def port_of(neighbour: TenantClient) -> int:
    port = neighbour.client.port
    assert port is not None
    return port


@asynccontextmanager
async def all_but_keys_locked(neighbour: TenantClient) -> AsyncIterator[None]:
    async with neighbour.database() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(LOCK_ALL_OTHERS)
        try:
            yield
        finally:
            await transaction.rollback()


def test_every_route_declares_what_it_asks_for() -> None:
    assert len(KEYED) > 40
    assert {operation.scopes for operation in OPERATIONS if operation.path in ("/live", "/ready")} == {()}


async def test_without_a_key_nothing_is_read_looked_up_or_judged(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme], all_but_keys_locked(acme):
        for method, path in KEYED:
            head = f"{method} {path}?nonsense=1&limit=x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            for key in ("", "Authorization: Bearer nonsense\r\n", f"Authorization: Bearer {NO_KEY_OF_OURS}\r\n"):
                assert (await first_line(port_of(acme), f"{head}{key}\r\n")).split()[1] == b"401", (method, path)


async def test_a_body_is_not_read_before_the_header_that_carries_the_secret_is_right(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        of = acme.inbound["capillary"]
        head = f"POST /v1/hooks/{of.connection_id} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"

        for given in ("", f"{of.header}: wrong\r\n"):
            assert (await first_line(port_of(acme), f"{head}{given}\r\n")).split()[1] == b"401"


async def all_scopes(neighbour: TenantClient) -> str:
    async with neighbour.database() as connection:
        return await api_keys.create_key(connection, MASTER_KEY, neighbour.ledger, api_keys.SCOPES)


async def test_an_unknown_parameter_is_named_with_those_that_the_path_takes(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        key = {"Authorization": f"Bearer {await all_scopes(acme)}"}
        for operation in OPERATIONS:
            if operation.ignores_parameters:
                continue
            path = f"{path_of(operation)}?known-at=2020-01-01T00:00:00Z&ann@example.com=1"
            response = await acme.client.request(operation.method, path, headers=key)
            told = await response.json()

            assert response.status == 400, operation.path
            assert "unknown parameter `known-at`" in told["detail"]
            assert "example" not in told["detail"]
            assert all(f"`{parameter.name}`" in told["detail"] for parameter in operation.parameters)


@pytest.mark.parametrize(
    "question",
    [
        "/v1/ledger/events?known_at=2020-01-01T00:00:00Z",
        "/v1/ledger/events?order=desc",
        "/v1/accounts/1:1:points?format=csv",
        "/v1/accounts/1:1:points/statement?from=2024-01-01",
        "/v1/accounts/1:1:points/lots?state=open",
        "/v1/accounts/1:1:points?explain=true",
        "/v1/accounts/1:1:points?limit=1",
        "/v1/ledger/events/1?reveal=true",
        "/v1/ledger/events?limit=1&limit=2",
        "/v1/ledger/events?kind=a%00b",
        "/v1/ledger/events?min_position=1",
    ],
)
async def test_what_would_have_been_ignored_is_refused(dsn: str, question: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        path, _, query = question.partition("?")
        response = await acme.client.get(f"{path}?{query}", headers={"Authorization": f"Bearer {acme.key}"})

        assert (response.status, (await response.json())["type"]) == (400, "/v1/errors/request-invalid")


async def test_a_hook_takes_any_parameter_since_to_refuse_one_would_lose_events(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        of = acme.inbound["capillary"]
        response = await acme.client.post(
            f"/v1/hooks/{of.connection_id}?token=1&token=2",
            data=sample("capillary", "pointsIssued"),
            headers={of.header: of.secrets[0].decode()},
        )

        assert response.status == 200


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", "Paths begin with one of: /live, /ready, /v1/accounts"),
        ("/v1", "/v1/customers"),
        ("/v1/orders/1/items", "There is: /v1/orders, /v1/orders/{id}."),
        ("/v1/order-items/1/refunds", "There is: /v1/order-items"),
        ("/v1/ledger/events/ann@example.com/proof", "/v1/ledger/events/{position}/proof"),
        ("/nowhere/ann@example.com", "There is nothing at this path."),
    ],
)
async def test_an_unknown_path_is_answered_with_those_there_are(dsn: str, path: str, says: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        response = await acme.client.get(path)
        told = await response.json()

        assert (response.status, response.content_type) == (404, "application/problem+json")
        assert says in told["detail"]
        assert "example" not in told["detail"]


async def test_a_wrong_method_is_answered_with_those_there_are(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        response = await acme.client.put(f"/v1/hooks/{acme.inbound['capillary'].connection_id}", data=b"{}")

        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert (await response.json())["detail"] == "This path takes POST."


def refused(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def tried(text: str) -> Any:
        try:
            return read(text)
        except LedgerError:
            return None

    return tried


@pytest.mark.parametrize("unit", [" ", ",", ";", "gzip;q=", "=", ".", "0", "A", "[", "x000/", "\t", "ll_", "+", "-"])
@pytest.mark.parametrize(
    "read",
    [
        takes_gzip,
        refused(_password),
        refused(decode_cursor),
        refused(lambda text: parse_int(text, "limit", least=0, most=9)),
        refused(lambda text: parse_time(text, "at")),
        API_KEY_PATTERN.fullmatch,
    ],
)
def test_what_reads_a_header_or_a_parameter_takes_time_in_proportion_to_it(
    read: Callable[[str], Any], unit: str
) -> None:
    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit)) + "x"
        best = float("inf")
        for _ in range(3):
            begun = time.thread_time()
            read(text)
            best = min(best, time.thread_time() - begun)
        return best

    half, whole = seconds(32_000), seconds(64_000)  # eight times the limit of a header

    assert whole < max(0.01, 3 * half)


def test_basic_credentials_hold_the_key_as_the_password() -> None:
    assert _password(base64.b64encode(b"any:the key").decode()) == "the key"


RULES = {
    "/v1/accounts/x?at=2026-03-31T12:00:00": "`at` must have a time zone",
    "/v1/accounts/x?at=yesterday": "`at` must be an RFC 3339 time",
    "/v1/accounts/x?as_of_position=-1": "`as_of_position` must be a whole number from 0",
    "/v1/accounts/x?as_of_position=0&known_at=2026-01-01T00:00:00Z": "`as_of_position` and `known_at` exclude",
    "/v1/accounts/x?known_at=2999-01-01T00:00:00Z": "`known_at` must not be in the future",
    "/v1/accounts/x?min_position=99": "`min_position` is 99, but the last event has position 0",
    "/v1/accounts/x/explanation?after_step=-1": "`after_step` must be a whole number from 0",
    "/v1/accounts/x/lots?limit=0": "`limit` must be a whole number from 1 to 1000",
    "/v1/accounts/x/lots?cursor=%21": "`cursor` must be the `next` of an earlier answer",
    "/v1/reconciliation/drift?format=xml": "`format` must be json or csv",
    "/v1/reconciliation/drift?cursor=WzFd": "`cursor` must be the `next` of an earlier answer",
    "/v1/liability?by=week": "`by` must be day or month",
    "/v1/liability?from=2026-02-01&to=2026-01-01": "`from` must not be after `to`",
    "/v1/liability?vintage=2026": "`vintage` must be a month",
    "/v1/periods/2026-13": "`period` must be a month",
    "/v1/customers/lookup": "exactly one of these parameters is needed: email, mobile, external_id",
}


async def test_a_refused_parameter_is_named_with_its_rule(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        answers = {path: await acme.ask(path) for path in RULES}

    for path, (status, problem) in answers.items():
        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid"), path
        assert RULES[path] in problem["detail"]
