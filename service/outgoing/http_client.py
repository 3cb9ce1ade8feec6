"""Send signed requests to receivers, which are not trusted.

- The name of the host is resolved once for a connection, every address is checked, and the connection goes to a checked
  address. So a second answer of the DNS cannot lead elsewhere. TLS checks the name, not the address.
- Redirects are not followed: they are failures.
- At most ANSWER_BYTES_MAX of an answer are read.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType

from service.outgoing.addresses import Network, is_allowed, parse_address
from service.outgoing.sinks.message_sink import SECONDS_MAX, AnswerReceived, printable_answer

REQUEST_SECONDS_MAX = SECONDS_MAX
CONNECT_SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 1024
CONNECTIONS_MAX = 200
HEADER_BYTES_MAX = 8190
FORBIDDEN_ADDRESS = "the address is private, and LOYALTY_OUTGOING_NETWORKS does not allow it"


class ForbiddenAddress(OSError):
    """A name leads to an address that requests must not go to."""


class CheckedResolver(AbstractResolver):
    """Resolves names of hosts, and refuses a name if any of its addresses is forbidden."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises ForbiddenAddress, or OSError if it has none."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for found_family, _, protocol, _, (text, *_) in found:
            address = parse_address(str(text))
            if address is None or not is_allowed(address, self._allowed):
                raise ForbiddenAddress(FORBIDDEN_ADDRESS)
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(text),
                    port=port,
                    family=found_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Do nothing: nothing is open."""


class ReceiverClient:
    """A client of receivers. Use it as an asynchronous context."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ReceiverClient":
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._allowed),
            use_dns_cache=False,
            limit=CONNECTIONS_MAX,
            socket_factory=self._open_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def _open_socket(self, target: AddrInfoType) -> socket.socket:
        """Open the socket of a connection. Also addresses in a URL, which no resolver sees, are checked here.

        Raises ForbiddenAddress, also for spellings such as 0177.0.0.1.
        """
        family, kind, protocol, _, socket_address = target
        address = parse_address(str(socket_address[0]))
        if address is None or not is_allowed(address, self._allowed):
            raise ForbiddenAddress(FORBIDDEN_ADDRESS)
        return socket.socket(family, kind, protocol)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AnswerReceived:
        """Send a request, and return its result. Never raises for a fault of the receiver."""
        assert self._session is not None
        began = time.monotonic()
        status, detail, retry_after = None, "", None
        try:
            async with self._session.post(
                url, data=body, headers={"User-Agent": "loyalty-ledger", **headers}, allow_redirects=False
            ) as response:
                status = response.status
                retry_after = _read_seconds(response.headers.get("Retry-After"))
                if not 200 <= status < 300:
                    detail = printable_answer(
                        (await response.content.read(ANSWER_BYTES_MAX)).decode("utf-8", "replace")
                    )
        except TimeoutError:
            status, detail = None, f"no answer within {REQUEST_SECONDS_MAX:g} s"
        except (aiohttp.ClientError, OSError) as error:
            status, detail = None, _reason(error)
        return AnswerReceived(status, detail, round((time.monotonic() - began) * 1000), retry_after)


def _reason(error: Exception) -> str:
    """Describe an error without text of the receiver."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddress):
            return FORBIDDEN_ADDRESS
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _read_seconds(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None if it is missing, or a date."""
    return float(text) if text is not None and text.isdecimal() and len(text) < 10 else None
