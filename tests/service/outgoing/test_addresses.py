"""Requests go to public addresses only, however an address is spelled, resolved or redirected."""

import asyncio
import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp import web

from ledger.errors import RequestInvalid
from service.outgoing import http_client
from service.outgoing.addresses import PUBLIC_ONLY, Destinations, check_url, is_allowed
from service.outgoing.http_client import FORBIDDEN_ADDRESS, ReceiverClient
from service.outgoing.sinks import message_sink
from tests.service.outgoing.conftest import HERE
from tests.support.receiver import Receiver, receiving

PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.1.2.3", "255.255.255.255", "224.0.0.1"),
    *("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "::ffff:169.254.169.254"),
    *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::ffff:10.0.0.1", "fec0::1", "64:ff9b:1::1"),
)
PUBLIC = ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused(address: str) -> None:
    assert not is_allowed(ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_accepted(address: str) -> None:
    assert is_allowed(ip_address(address), ())


def test_a_setting_allows_a_network_and_no_other() -> None:
    allowed = [ip_network("10.0.0.0/8")]

    assert is_allowed(ip_address("10.1.2.3"), allowed)
    assert is_allowed(ip_address("::ffff:10.1.2.3"), allowed)
    assert not is_allowed(ip_address("192.168.1.1"), allowed)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hooks", "ftp://example.com", "https://", "https://user:secret@example.com/", "/hooks",
        "https://example.com/#part", "https://169.254.169.254/", "https://[::1]/", "https://exa mple.com/",
        "https://example.com:0/", "https://example.com:99999/", "https://ex\u00e4mple.com/",
        "https://example.com/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_a_url_that_nobody_should_send_to_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid, match="`url` must"):
        check_url(url, PUBLIC_ONLY)


def test_http_is_for_networks_that_a_setting_allows() -> None:
    assert check_url("http://127.0.0.1:8000/hooks", HERE) == "http://127.0.0.1:8000/hooks"
    assert check_url("https://example.com/hooks?key=1", PUBLIC_ONLY) == "https://example.com/hooks?key=1"


SERVERS = Destinations(servers={"nats.example:4222", "kafka-1.example:9092", "kafka-2.example:9093", "[::1]:4222"})


@pytest.mark.parametrize(
    "url",
    [
        "nats://nats.example", "nats+tls://nats.example:4222?mode=binary", "nats://[::1]:4222/",
        "kafka://kafka-1.example,kafka-2.example:9093?mechanism=SCRAM-SHA-512",
    ],
)  # fmt: skip
def test_a_stream_goes_to_servers_that_a_setting_lists(url: str) -> None:
    assert check_url(url, SERVERS) == url
    with pytest.raises(RequestInvalid, match="LOYALTY_OUTGOING_SERVERS"):
        check_url(url, HERE)


@pytest.mark.parametrize(
    "url",
    [
        "nats://other.example", "nats://nats.example:4223", "kafka://kafka-1.example,other.example",
        "nats://user:secret@nats.example", "nats://nats.example/loyalty.other", "kafka://kafka-1.example/topic",
        "nats://nats.example?mode=batched", "nats://nats.example?mechanism=PLAIN", "kafka://kafka-1.example?ssl=no",
        "nats://", "nats://nats.example,", "nats://nats.example:99999", "nats://NATS.example:0", "kafka://kafka-1.example#x",
        "nats://nats.example?mode", "nats://169.254.169.254:80",
    ],
)  # fmt: skip
def test_no_other_server_subject_or_topic_can_be_chosen(url: str) -> None:
    with pytest.raises(RequestInvalid, match=r"`url` must|`url` has"):
        check_url(url, SERVERS)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0177.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_no_spelling_of_a_private_address_is_connected_to(host: str) -> None:
    async with receiving() as receiver, ReceiverClient(()) as client:
        port = port_of(receiver)
        answer = await client.post(f"http://{host}:{port}/hooks", {}, b"{}")

    assert answer.status is None
    assert receiver.requests == []
    assert answer.detail in (FORBIDDEN_ADDRESS, "ClientConnectorDNSError", "InvalidUrlClientError")


def port_of(receiver: Receiver) -> int:
    assert receiver.server is not None
    assert receiver.server.port is not None
    return receiver.server.port


def answers_of_dns(*addresses: str) -> Any:
    """Return a resolver of the system that gives these addresses, the first time and each time after."""

    async def getaddrinfo(_loop: Any, _host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return getaddrinfo


async def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as receiver, ReceiverClient(()) as client:
        port = port_of(receiver)
        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", answers_of_dns("1.1.1.1", "127.0.0.1"))
        answer = await client.post(f"http://receiver.example:{port}/hooks", {}, b"{}")

    assert (answer.status, answer.detail) == (None, FORBIDDEN_ADDRESS)
    assert receiver.requests == []


async def test_a_connection_goes_to_the_checked_address_with_the_name_as_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(lambda *_: web.Response(status=204)) as receiver, ReceiverClient(HERE.networks) as client:
        port = port_of(receiver)
        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", answers_of_dns("127.0.0.1"))
        answer = await client.post(f"http://receiver.example:{port}/hooks", {}, b"{}")

    assert answer.is_success
    [(headers, _)] = receiver.requests
    assert headers["host"].startswith("receiver.example:")


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    def redirect(_: int, __: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/hooks?again"})

    async with receiving(redirect) as receiver, ReceiverClient(HERE.networks) as client:
        answer = await client.post(receiver.url, {}, b"{}")

    assert (answer.status, answer.is_success, len(receiver.requests)) == (307, False, 1)


async def test_of_an_answer_only_the_begin_is_kept_and_nothing_that_looks_personal() -> None:
    texts = iter(["x" * 100_000, "unknown: ann@example.com"])

    def refuse(_: int, __: web.Request) -> web.StreamResponse:
        return web.Response(status=500, text=next(texts))

    async with receiving(refuse) as receiver, ReceiverClient(HERE.networks) as client:
        long = await client.post(receiver.url, {}, b"{}")
        personal = await client.post(receiver.url, {}, b"{}")

    assert len(long.detail) <= http_client.ANSWER_BYTES_MAX
    assert personal.detail == message_sink.HELD_BACK
