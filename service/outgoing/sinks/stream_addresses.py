"""Addresses of streams: servers of NATS, and brokers of Kafka. Pure.

A stream names further servers by itself, and a client follows it. So the guard is stricter than that of webhooks: the
operator of the installation lists the servers, by LOYALTY_OUTGOING_SERVERS. Listed servers are trusted. An operator of
a ledger chooses one of them, and neither the subjects of NATS nor the topic of Kafka: these follow from the ledger. So
no ledger can write to the stream of another.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ledger.errors import RequestInvalid

NATS, KAFKA = "nats", "kafka"
STREAM_SCHEMES = {"nats": NATS, "nats+tls": NATS, "kafka": KAFKA, "kafka+tls": KAFKA}
DEFAULT_PORTS = {NATS: 4222, KAFKA: 9092}
CONTENT_MODES = ("structured", "binary")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SERVERS_MAX = 16
SERVER_PATTERN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
EXAMPLE = "nats+tls://nats.example.com:4222 or kafka+tls://kafka-1.example.com:9093,kafka-2.example.com:9093"


class StreamAddress(NamedTuple):
    """The address of a stream. `servers` are hosts with ports."""

    kind: str  # NATS or KAFKA
    servers: tuple[str, ...]
    uses_tls: bool
    content_mode: str  # of CloudEvents: one of CONTENT_MODES
    mechanism: str  # of SASL, for Kafka with a user: one of MECHANISMS


def is_stream(url: str) -> bool:
    """Return True if the URL of an endpoint names a stream, not a webhook."""
    return url.partition(":")[0].lower() in STREAM_SCHEMES


def parse_stream_address(url: str) -> StreamAddress:
    """Parse the URL of a stream. Raises RequestInvalid."""
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise RequestInvalid(f"`url` must be a URL such as {EXAMPLE}") from None
    kind = STREAM_SCHEMES[parts.scheme]
    servers = parts.netloc.split(",")
    if not all(_is_server(server) for server in servers) or len(servers) > SERVERS_MAX:
        raise RequestInvalid(f"`url` must name 1 to {SERVERS_MAX} servers, in small letters, as in {EXAMPLE}")
    if parts.path not in ("", "/") or parts.fragment:
        raise RequestInvalid("`url` must hold no path: subjects and the topic follow from the ledger")
    known = {"mode": CONTENT_MODES, **({"mechanism": MECHANISMS} if kind == KAFKA else {})}
    for name, value in options:
        if value not in known.get(name, ()):
            texts = " and ".join(f"`{name}` ({', '.join(values)})" for name, values in known.items())
            raise RequestInvalid(f"`url` has the options {texts}")
    given = dict(options)
    return StreamAddress(
        kind,
        tuple(_with_port(server, kind) for server in servers),
        parts.scheme.endswith("+tls"),
        given.get("mode", CONTENT_MODES[0]),
        given.get("mechanism", MECHANISMS[0]),
    )


def check_stream_url(url: str, allowed: Collection[str]) -> str:
    """Return the URL of a stream. Raises RequestInvalid, also for a server outside LOYALTY_OUTGOING_SERVERS."""
    check_servers(parse_stream_address(url), allowed)
    return url


def check_servers(address: StreamAddress, allowed: Collection[str]) -> None:
    """Raise RequestInvalid if a server of a stream is not listed."""
    listed = {_with_port(server, address.kind) for server in allowed}
    if set(address.servers) - listed:
        raise RequestInvalid("`url` must name servers that LOYALTY_OUTGOING_SERVERS lists")


def are_servers(words: Sequence[str]) -> bool:
    """Return True if all words are hosts with or without a port."""
    return all(_is_server(word) for word in words)


def _is_server(text: str) -> bool:
    if not SERVER_PATTERN.fullmatch(text):
        return False
    port = text.rpartition("]")[2].partition(":")[2]
    return not port or int(port) < 65536


def _with_port(server: str, kind: str) -> str:
    return server if ":" in server.rpartition("]")[2] else f"{server}:{DEFAULT_PORTS[kind]}"
