"""Who may come in, with what, and what is answered to everyone else."""

import base64
import hmac
import json

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ledger import registry
from ledger.database import connect
from ledger.errors import BadCredentials
from ledger.reading import BODY_BYTES_MAX
from ledger.registry import InboundConnection, Ledger
from service.authentication import authenticate, without_white_space
from tests.deliveries import sample
from tests.service.house import MASTER_KEY, serving

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
        await registry.disable_connection(connection, acme.ledger, acme.inbound["fabric"].connection_id)
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
        of = await registry.create_connection(connection, MASTER_KEY, acme.ledger, source="voucherify", secret="s3")
        await connection.close()
        body = json.dumps(json.loads(sample("voucherify", "customer.rewarded.loyalty_points"))).encode()
        signature = hmac.digest(b"s3", without_white_space(body), "sha256").hex()

        response = await acme.client.post(f"/v1/hooks/{of.connection_id}", data=body, headers={of.header: signature})

        assert response.status == 200
