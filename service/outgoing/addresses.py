"""Addresses that a request may go to: public ones, and those that a setting allows. Pure.

An operator of one ledger names the URL. The service must not become that operator's way into the private network
(server-side request forgery). Metadata services of clouds are link-local, private or listed in FORBIDDEN.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ledger.errors import RequestInvalid
from service.outgoing.sinks.stream_addresses import check_stream_url, is_stream

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

URL_CHARACTERS_MAX = 2_000
# Public by their range, but they lead inside: the host agent of Azure; translation to IPv4, which may be private.
FORBIDDEN: Sequence[Network] = (
    ip_network("168.63.129.16/32"),
    ip_network("64:ff9b::/96"),
    ip_network("64:ff9b:1::/48"),
    ip_network("fec0::/10"),  # site-local, deprecated and still private
)


class Destinations(NamedTuple):
    """Where messages may go besides public addresses: private networks, and the servers of streams."""

    networks: Sequence[Network] = ()
    servers: Collection[str] = ()


PUBLIC_ONLY = Destinations()


def parse_address(text: str) -> Address | None:
    """Return the address that a host is; None if it is a name. A scope, as in fe80::1%eth0, is part of an address."""
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Return True if a request may go to an address. An address that embeds an IPv4 address is judged by that too."""
    if any(address.version == network.version and address in network for network in allowed):
        return True
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner, allowed)
    is_public = address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    return is_public and not any(address.version == network.version and address in network for network in FORBIDDEN)


def _embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 address of a transition technique; None without one."""
    if isinstance(address, IPv4Address):
        return None
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def check_url(url: str, destinations: Destinations) -> str:
    """Return the URL of an endpoint. Raises RequestInvalid.

    `http` is accepted only if the setting allows any network, as on a machine for trials.
    """
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > URL_CHARACTERS_MAX:
        raise RequestInvalid("`url` must be a URL such as https://example.com/hooks")
    if is_stream(url):
        return check_stream_url(url, destinations.servers)
    allowed = destinations.networks
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RequestInvalid("`url` must be a URL such as https://example.com/hooks") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise RequestInvalid("`url` must be a URL such as https://example.com/hooks")
    if "@" in parts.netloc or parts.fragment:
        raise RequestInvalid("`url` must hold no user, no password and no fragment; the signature authenticates")
    if parts.scheme == "http" and not allowed:
        raise RequestInvalid("`url` must begin with https; http is for networks of LOYALTY_OUTGOING_NETWORKS")
    address = parse_address(parts.hostname)
    if address is not None and not is_allowed(address, allowed):
        raise RequestInvalid("`url` must not name a private address; LOYALTY_OUTGOING_NETWORKS allows networks")
    return url
