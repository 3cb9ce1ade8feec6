"""Authentication of webhooks: accepted and refused credentials, and the answers."""

import base64
import hmac
import io
import json
import time
from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from standardwebhooks import Webhook

from ledger.credentials import make_secret
from ledger.database import connect
from ledger.errors import BadCredentials
from ledger.parsing import BODY_BYTES_MAX, without_white_space
from ledger.store import registry
from ledger.store.registry import InboundConnection, Ledger
from service.api.requests.webhook_auth import authenticate
from tests.support.client import MASTER_KEY, serving
from tests.support.payloads import sample

NOW = 1_800_000_000.0

# domain.md §2: Voucherify's published vectors, recomputed.
VOUCHERIFY = [
    (b'{"a":1}', "a17d2ac229d1ebbb5f10e839c7985c4818e5986eab297f7e5979196d4d7d3ed2"),
    (b'{"a\\"b":1}', "f7cf97814a03146abedb9793f56e1dec34f618f82d10395310d053f749483ffb"),
    (b"  message  ", "53ff92957e1427ce23ad5bda9d0c5f2f4ff384d0806b83eeacb510c842d3a358"),
]


def inbound(scheme: str, header: str, *secrets: bytes) -> InboundConnection:
    return InboundConnection(Ledger(1, "acme"), "id", "capillary", None, scheme, header, secrets, None)


def let_in(of: InboundConnection, body: bytes, *headers: tuple[str, str], now: float = NOW) -> bool:
    try:
        authenticate(of, CIMultiDictProxy(CIMultiDict(headers)), body, now)
    except BadCredentials:
        return False
    return True


@pytest.mark.parametrize(("body", "signature"), VOUCHERIFY)
def test_voucherify_signs_the_body(body: bytes, signature: str) -> None:
    of = inbound("voucherify", "x-voucherify-signature", b"secretKey")

    assert let_in(of, body, ("X-Voucherify-Signature", signature))
    assert let_in(of, body, ("x-voucherify-signature", signature.upper()))
    assert not let_in(of, body + b"1", ("x-voucherify-signature", signature))
    assert not let_in(of, body, ("x-voucherify-signature", signature[:-1] + "0"))
    assert not let_in(of, body)


def test_voucherify_signs_without_the_white_space_outside_strings() -> None:
    of = inbound("voucherify", "x-voucherify-signature", b"secretKey")
    spaced = b'{ "a" : [1,\n 2],\t"b c": "d  \\" e" }'
    signature = hmac.digest(b"secretKey", b'{"a":[1,2],"b c":"d  \\" e"}', "sha256").hex()

    assert without_white_space(spaced) == b'{"a":[1,2],"b c":"d  \\" e"}'
    assert let_in(of, spaced, ("x-voucherify-signature", signature))


def test_a_header_carries_any_live_secret_and_stands_once() -> None:
    of = inbound("header", "x-webhook-secret", b"old", b"new")

    assert let_in(of, b"{}", ("X-Webhook-Secret", "old"))
    assert let_in(of, b"{}", ("X-Webhook-Secret", "new"))
    assert not let_in(of, b"{}", ("X-Webhook-Secret", "older"))
    assert not let_in(of, b"{}", ("X-Webhook-Secret", ""))
    assert not let_in(of, b"{}", ("X-Webhook-Secret", "new"), ("x-webhook-secret", "new"))


def test_standard_webhooks_sign_id_time_and_body() -> None:
    key = b"twenty-four random bytes"
    of = inbound("standard-webhooks", "webhook-signature", b"whsec_" + base64.b64encode(key))
    stamp = str(int(NOW))
    signature = "v1," + base64.b64encode(hmac.digest(key, f"msg_1.{stamp}.".encode() + b"{}", "sha256")).decode()
    sound = (("webhook-id", "msg_1"), ("webhook-timestamp", stamp), ("webhook-signature", f"v1,AAAA {signature}"))

    assert let_in(of, b"{}", *sound)
    assert not let_in(of, b"{ }", *sound)
    assert not let_in(of, b"{}", *sound[1:])
    assert not let_in(of, b"{}", *sound, now=NOW + 301)
    assert not let_in(of, b"{}", *sound, now=NOW - 301)
    assert not let_in(of, b"{}", ("webhook-id", "msg_2"), *sound[1:])


def signed(key: bytes, identifier: str, stamp: str, body: bytes) -> tuple[tuple[str, str], ...]:
    """Sign a body by Standard Webhooks, with any id and time stamp."""
    digest = hmac.digest(key, f"{identifier}.{stamp}.".encode() + body, "sha256")
    signature = "v1," + base64.b64encode(digest).decode()
    return (("webhook-id", identifier), ("webhook-timestamp", stamp), ("webhook-signature", signature))


def test_the_published_library_of_standard_webhooks_is_let_in_with_every_spelling_of_the_secret() -> None:
    made = make_secret("standard-webhooks")
    for secret in (made, made.removeprefix("whsec_"), made.rstrip("="), made.removeprefix("whsec_").rstrip("=")):
        of = inbound("standard-webhooks", "webhook-signature", secret.encode())
        stamp = datetime.fromtimestamp(NOW, UTC)
        signature = Webhook(made).sign("msg_1", stamp, '{"é": 1}')
        headers = (("webhook-id", "msg_1"), ("webhook-timestamp", str(int(NOW))), ("webhook-signature", signature))

        assert let_in(of, '{"é": 1}'.encode(), *headers)
        assert not let_in(of, '{"é": 2}'.encode(), *headers)


@pytest.mark.parametrize("secret", [b"", b"whsec_", b"whsec_====", b"whsec_AAAA", b"a text that was used as it is!"])
def test_a_secret_stored_before_it_was_checked_lets_nobody_in(secret: bytes) -> None:
    of = inbound("standard-webhooks", "webhook-signature", secret)

    for key in (b"", secret, secret.removeprefix(b"whsec_"), base64.b64decode(b"AAAA")):
        assert not let_in(of, b"{}", *signed(key, "msg_1", str(int(NOW)), b"{}"))


@pytest.mark.parametrize("scheme", ["header", "voucherify"])
def test_an_empty_secret_stored_before_lets_nobody_in(scheme: str) -> None:
    of = inbound(scheme, "x-any", b"")

    assert not let_in(of, b"{}", ("x-any", ""))
    assert not let_in(of, b"{}", ("x-any", hmac.digest(b"", b"{}", "sha256").hex()))


def test_a_signature_fits_no_other_id_time_stamp_and_body() -> None:
    key = bytes(range(32))
    of = inbound("standard-webhooks", "webhook-signature", b"whsec_" + base64.b64encode(key))
    later = str(int(NOW) + 86_400)
    body = b'{"text": "a.%b.b"}' % later.encode()
    captured = signed(key, "msg_1", str(int(NOW)), body)
    assert let_in(of, body, *captured)

    shifted = (
        ("webhook-id", f'msg_1.{int(NOW)}.{{"text": "a'),
        ("webhook-timestamp", later),
        captured[2],
    )
    assert not let_in(of, b'b"}', *shifted, now=NOW + 86_400)
    assert not let_in(of, body, *signed(key, "msg.1", str(int(NOW)), body))
    assert not let_in(of, body, *signed(key, "", str(int(NOW)), body))


@pytest.mark.parametrize(
    ("signed_body", "delivered"),
    [
        (b'{"points":10}', b'{"points":1 0}'),
        (b'{"points":-10}', b'{"points":- 10}'),
        (b'{"points":1.5}', b'{"points":1. 5}'),
        (b'{"a":true}', b'{"a":tr ue}'),
        (b'{"a":1}', b'{"a":1} x'),
        (b'{"a":1}', b'\xef\xbb\xbf{"a":1}'),
        (b'{"a":"bc"}', b'{"a":"b c"}'),
        (b"a,b", b"a, b"),
        (b'{"a":1,}', b'{"a":1, }'),
        (b"{'a':1}", b"{'a': 1}"),
        (b'{"a":1}', b'{"a":\x0b1}'),
    ],
)
def test_voucherifys_signature_fits_no_body_that_is_not_the_signed_document(
    signed_body: bytes, delivered: bytes
) -> None:
    of = inbound("voucherify", "x-voucherify-signature", b"secretKey")
    signature = hmac.digest(b"secretKey", signed_body, "sha256").hex()

    assert let_in(of, signed_body, ("x-voucherify-signature", signature))
    assert not let_in(of, delivered, ("x-voucherify-signature", signature))


async def test_a_captured_delivery_of_voucherify_never_makes_a_second_event(dsn: str) -> None:
    bodies = [
        sample("voucherify", "customer.rewarded.loyalty_points"),
        b'{"nobody":"knows this","points":10}',
        b'{"points":1,"points":2}',
        b"[1,2]",
    ]
    async with serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            of = await registry.create_connection(
                connection, MASTER_KEY, acme.ledger, source="voucherify", secret="shown-by-voucherify"
            )
        url = f"/v1/hooks/{of.connection_id}"
        for position, body in enumerate(bodies, 1):
            compact = without_white_space(body) or b""
            headers = {of.header: hmac.digest(b"shown-by-voucherify", compact, "sha256").hex()}
            copies = [compact.replace(b",", b"," + white) for white in (b"", b" ", b"\n", b"\t \r\n" * 100)]
            outcomes = []
            for copy in [*copies, b" " + compact, compact + b"\n"]:
                response = await acme.client.post(url, data=io.BytesIO(copy), headers=headers)
                outcomes += [(one["position"], one["outcome"]) for one in (await response.json())["events"]]

            assert outcomes == [(position, "appended")] + [(position, "duplicate")] * 5


@pytest.mark.parametrize(
    "unit", [b'\\"', b'"', b"\\", b" ", b"[", b"{", b'"" ', b"[] ,", b'"\\" ', b"1 ,", b'{"a": ', b"\xff", b'":']
)
@pytest.mark.parametrize("scheme", ["voucherify", "standard-webhooks"])
def test_to_refuse_the_largest_body_takes_milliseconds_whatever_it_is_made_of(scheme: str, unit: bytes) -> None:
    of = inbound(scheme, "x-signature", b"whsec_" + base64.b64encode(bytes(32)))
    headers = (("x-signature", "v1," + "0" * 61), ("webhook-id", "a"), ("webhook-timestamp", str(int(NOW))))

    def seconds(body: bytes) -> float:
        best = float("inf")
        for _ in range(3):
            begun = time.thread_time()
            assert not let_in(of, body, *headers)
            best = min(best, time.thread_time() - begun)
        return best

    half, whole = (seconds(b'["' + unit * (size // len(unit))) for size in (BODY_BYTES_MAX // 2, BODY_BYTES_MAX))
    assert whole < max(0.01, 3 * half)
    assert whole < 0.1


async def test_wrong_credentials_are_401_and_store_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await acme.deliver(sample("capillary", "pointsIssued"), **{"x-webhook-secret": "guess"})

        assert (status, problem["status"]) == (401, 401)
        assert (await acme.ask_now("/v1/ledger/events"))["items"] == []


async def test_an_unknown_connection_is_404(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        response = await acme.client.post("/v1/hooks/nobody", data=b"{}")

        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_a_disabled_connection_is_404(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection = await connect(dsn)
        await registry.disable_connection(connection, MASTER_KEY, acme.ledger, acme.inbound["fabric"].connection_id)
        await connection.close()

        status, _ = await acme.deliver(b"{}", "fabric")

        assert status == 404


async def test_a_body_over_the_limit_is_413_and_one_at_the_limit_is_kept(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        too_large, _ = await acme.deliver(b" " * (BODY_BYTES_MAX + 1))
        large, told = await acme.deliver(b'"' + b"x" * (BODY_BYTES_MAX - 2) + b'"')

        assert (too_large, large) == (413, 200)
        assert told["events"][0]["position"] == 1


async def test_a_new_secret_lives_beside_the_old_one_until_the_rotation_ends(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection = await connect(dsn)
        of = acme.inbound["capillary"]
        new = await registry.add_secret(connection, MASTER_KEY, of)
        both = await registry.find_connection(connection, MASTER_KEY, of.connection_id)
        await registry.drop_old_secrets(connection, MASTER_KEY, both)
        one = await registry.find_connection(connection, MASTER_KEY, of.connection_id)
        await connection.close()

        assert both.secrets == (*of.secrets, new.encode())
        assert one.secrets == (new.encode(),)


async def test_secrets_and_keys_do_not_stand_in_the_database(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection = await connect(dsn)
        stored = await connection.fetch("SELECT c::text FROM ledger.connections c")
        stored += await connection.fetch("SELECT k::text FROM ledger.api_keys k")
        await connection.close()

        text = " ".join(row[0] for row in stored)
        secrets = [secret for of in acme.inbound.values() for secret in of.secrets]
        assert all(secret.decode() not in text and secret.hex() not in text for secret in secrets)
        assert acme.key.split("_", 2)[2] not in text


async def test_a_signed_webhook_is_let_in_over_http(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection = await connect(dsn)
        of = await registry.create_connection(
            connection, MASTER_KEY, acme.ledger, source="voucherify", secret="their-secret"
        )
        await connection.close()
        body = json.dumps(json.loads(sample("voucherify", "customer.rewarded.loyalty_points"))).encode()
        signature = hmac.digest(b"their-secret", without_white_space(body) or b"", "sha256").hex()

        response = await acme.client.post(f"/v1/hooks/{of.connection_id}", data=body, headers={of.header: signature})

        assert response.status == 200
