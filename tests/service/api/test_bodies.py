"""Reading a body: limits of time and memory, content codings, byte order marks."""

import asyncio
import gzip
import json
import logging
import zlib

import pytest

from ledger.errors import CodingUnknown, DeliveryTooLarge
from ledger.parsing import BODY_BYTES_MAX
from ledger.store import api_keys
from service.api.requests import bodies
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import BodyBudget
from service.api.requests.content_codings import decode_body
from service.importing.deliveries import zstd
from service.server.routes import OPERATIONS
from service.settings import Settings
from tests.service.api.test_admission import all_scopes, path_of, port_of
from tests.support.client import TenantClient, serving, wait_until
from tests.support.payloads import sample

ISSUED = sample("capillary", "pointsIssued")
MARK = b"\xef\xbb\xbf"


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(1, wbits=-15)
    return stream.compress(body) + stream.flush()


def encoded(body: bytes) -> dict[str, bytes]:
    return {
        "gzip": gzip.compress(body, 1),
        "x-gzip": gzip.compress(body[:100]) + gzip.compress(body[100:], 1),
        "deflate": zlib.compress(body, 1),
        "Deflate ": raw_deflate(body),
        "zstd": zstd.compress(body),
        "identity": body,
        "": body,
    }


@pytest.mark.parametrize("coding", encoded(b""))
def test_a_body_is_read_through_its_content_coding(coding: str) -> None:
    assert decode_body(encoded(ISSUED)[coding], [coding], BODY_BYTES_MAX) == ISSUED


@pytest.mark.parametrize("codings", [["br"], ["gzip, gzip"], ["gzip", "zstd"], ["compress"], ["gzip;q=1"]])
def test_another_content_coding_is_not_decoded(codings: list[str]) -> None:
    with pytest.raises(CodingUnknown):
        decode_body(gzip.compress(ISSUED), codings, BODY_BYTES_MAX)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_body_that_is_not_in_the_coding_named_is_kept_as_it_is(coding: str) -> None:
    for body in (ISSUED, b"", encoded(ISSUED)[coding][:-5], encoded(ISSUED)[coding] + b"more"):
        assert decode_body(body, [coding], BODY_BYTES_MAX) == body


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_body_may_not_grow_beyond_the_limit(coding: str) -> None:
    at_the_limit, beyond = bytes(BODY_BYTES_MAX), bytes(BODY_BYTES_MAX + 1)

    assert decode_body(encoded(at_the_limit)[coding], [coding], BODY_BYTES_MAX) == at_the_limit
    with pytest.raises(DeliveryTooLarge):
        decode_body(encoded(beyond)[coding], [coding], BODY_BYTES_MAX)
    with pytest.raises(DeliveryTooLarge):
        decode_body(encoded(bytes(40 * BODY_BYTES_MAX))[coding], [coding], BODY_BYTES_MAX)


def test_a_body_of_very_many_compressed_members_is_not_decoded() -> None:
    members = gzip.compress(b"") * 50_000

    assert decode_body(members, ["gzip"], BODY_BYTES_MAX) == members


async def deliver(acme: TenantClient, body: bytes, **headers: str) -> tuple[int, list[tuple[int, str, str]]]:
    of = acme.inbound["capillary"]
    status, told = await acme.deliver(body, **{of.header: of.secrets[0].decode()}, **headers)
    return status, [(one["position"], one["outcome"], one["kind"]) for one in told.get("events", [])]


async def test_a_compressed_delivery_is_the_event_that_it_holds(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        first = await deliver(acme, gzip.compress(ISSUED), **{"Content-Encoding": "gzip"})
        again = await deliver(acme, ISSUED)
        other = await deliver(acme, ISSUED, **{"Content-Encoding": "br"})
        event = await acme.ask_now("/v1/ledger/events/1")

        assert first == (200, [(1, "appended", "pointsIssued")])
        assert again == (200, [(1, "duplicate", "pointsIssued")])
        assert other == (415, [])
        assert event["facts"]


@pytest.mark.parametrize("body", [ISSUED, b'{"nobody": "knows this"}', b"no JSON", b'{"a": 1, "a": 2}', b"[1]"])
async def test_a_byte_order_mark_makes_no_other_event(dsn: str, body: bytes) -> None:
    async with serving(dsn, "acme") as [acme]:
        marked = await deliver(acme, MARK + body)
        bare = await deliver(acme, body)
        event = await acme.ask_now("/v1/ledger/events/1")

        kind = marked[1][0][2]
        assert (marked, bare) == ((200, [(1, "appended", kind)]), (200, [(1, "duplicate", kind)]))
        readable = kind != "unreadable"
        assert (event["unread"] == "quarantined") is not readable
        rules = [repair["rule"] for repair in event["repairs"]]
        assert (rules[:1] == ["a byte order mark before the text"]) is readable


async def test_what_stands_behind_a_byte_order_mark_is_cut_out_and_put_back(dsn: str) -> None:
    body = MARK + b'{"eventName": "customerAdded", "data": {"em\\u0061il": "ann@example.com", "mobile": "61"}}'
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, body)
        key = await all_scopes(acme)
        event = await acme.ask_now("/v1/ledger/events/1")
        response = await acme.client.get(
            "/v1/ledger/events/1/delivery?reason=test", headers={"Authorization": f"Bearer {key}"}
        )

        assert "ann@example" not in json.dumps(event)
        assert await response.read() == body


@pytest.mark.parametrize("body", [b"", b" \r\n\t", MARK, MARK + b" \n", gzip.compress(b" ", mtime=0)])
async def test_a_delivery_without_a_body_is_refused_since_it_holds_no_event(dsn: str, body: bytes) -> None:
    async with serving(dsn, "acme") as [acme]:
        assert await deliver(acme, body, **{"Content-Encoding": "gzip"}) == (400, [])
        assert (await acme.ask_now("/v1/ledger/events"))["items"] == []


async def test_a_body_that_trickles_is_cut_off_on_every_route(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS_MAX", 0.05)
    taking = [
        (one.method, path_of(one))
        for one in OPERATIONS
        if one.scopes and one.body is not None and "hooks" not in one.template
    ]
    async with serving(dsn, "acme") as [acme]:
        of = acme.inbound["capillary"]
        hook = f"/v1/hooks/{of.connection_id}"
        key = f"Authorization: Bearer {await all_scopes(acme)}\r\n{of.header}: {of.secrets[0].decode()}"
        for method, path in [*taking, ("POST", hook), ("POST", f"{hook}/test")]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(acme))
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Length: 100\r\n\r\n{{".encode())
            async with asyncio.timeout(10):
                assert (await reader.readline()).split()[1] == b"408", path
            writer.close()


async def test_large_unfinished_bodies_share_one_budget_and_small_ones_need_none(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        acme.client.app[APP_CONTEXT].body_budget = BodyBudget(200_000)
        of = acme.inbound["capillary"]
        head = f"POST /v1/hooks/{of.connection_id} HTTP/1.1\r\nHost: x\r\n{of.header}: {of.secrets[0].decode()}\r\n"
        held = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(acme))
            writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b" " * 200_000)
            held.append((reader, writer))
        async with asyncio.timeout(10):
            done, _ = await asyncio.wait(
                [asyncio.create_task(reader.readline()) for reader, _ in held], return_when=asyncio.FIRST_COMPLETED
            )

        small = await deliver(acme, ISSUED)
        for _, writer in held:
            writer.close()
        await wait_until(lambda: acme.client.app[APP_CONTEXT].body_budget._left == 200_000)
        large = await deliver(acme, ISSUED + b" " * 200_000)

        assert [one.result().split()[1] for one in done] == [b"503"]
        assert small[0] == large[0] == 200


async def test_refused_deliveries_are_logged_with_their_reasons_and_many_are_summed_up(
    dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.requests.refusals.SECONDS_PER_SUMMARY", 0.5)
    async with serving(dsn, "acme") as [acme]:
        of = acme.inbound["capillary"]
        for _ in range(40):
            await acme.deliver(b'{"email": "ann@example.com"}', **{of.header: "a-wrong-secret"})
        await deliver(acme, b" " * (BODY_BYTES_MAX + 1))
        await acme.client.post(f"/v1/hooks/{'0' * 32}", data=b"{}")
        await wait_until(lambda: "too_large" in caplog.text)

        lines = [record.getMessage() for record in caplog.records if record.name == "service.api.requests.refusals"]
        assert lines[0] == f"connection {of.connection_id}: a delivery was refused: credentials"
        assert lines[:10] == lines[:1] * 10
        assert len(lines) < 30
        assert f"connection {of.connection_id}: more deliveries were refused: credentials " in caplog.text
        assert "example" not in caplog.text
        assert "a-wrong-secret" not in caplog.text
        assert all(
            record.levelno == logging.WARNING
            for record in caplog.records
            if record.name == "service.api.requests.refusals"
        )


async def test_a_list_that_is_read_slowly_as_csv_holds_no_connection_to_the_database(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait_for_the_reader(*_: object) -> None:
        begun.set()
        await go_on.wait()

    monkeypatch.setattr("service.api.reconciliation.send", wait_for_the_reader)
    async with serving(dsn, "acme", settings=Settings(pool_size=1)) as [acme]:
        bearer = {"Authorization": f"Bearer {acme.key}"}
        path = "/v1/reconciliation/drift?format=csv&limit=5000"
        export = asyncio.create_task(acme.client.get(path, headers=bearer))
        await begun.wait()
        async with asyncio.timeout(10):
            status, _ = await acme.ask("/v1/reconciliation/drift")
        go_on.set()

        assert status == 200
        assert (await export).status == 200


async def test_a_key_that_is_no_key_of_ours_costs_no_connection_to_the_database(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.client.app[APP_CONTEXT].service_pool.close()

        for key in ("", "x", "ll_", "ll_0_x", "ll_" + "0" * 12 + "_" + "é" * 43, acme.key + "x"):
            assert (await acme.ask("/v1/projections", key=key))[0] == 401
        assert api_keys.API_KEY_PATTERN.fullmatch(acme.key)
