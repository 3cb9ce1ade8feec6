"""Steps of the demonstration: a real ledger in the data folder receives deliveries over HTTP, signed as vendors sign.

First come all published payloads, then one year of a simulated programme.

The next run finds the same ledger and connections. It appends nothing, which shows that a redelivery changes nothing.
"""

import asyncio
import errno
import hmac
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from ledger.database import Connection
from ledger.errors import BadCredentials, LedgerUnavailable, LedgerUnknown
from ledger.store import api_keys, registry
from ledger.store.registry import InboundConnection, Ledger
from ledger.vendors import VENDORS
from ledger.vendors.internal import INTERNAL
from projections.registry import PROJECTIONS
from service.demo.programme import ProgrammeSimulation
from service.environment import Environment
from service.server.run import running_service

LEDGER = "demo"
SECRET_BYTES = 32
KEY_FILE = "demo.key"
ACTING_KEY_FILE = "demo-admin.key"
ACTING_SCOPES = ("read", "audit", "reveal", "admin", "operator")
MEMBERS = 240
DELIVERIES_AT_ONCE = 8
DELIVERY_TRIES_MAX = 60
RETRY_SECONDS = 0.5
SERVICE_BUSY = 503
PROJECTED_TRIES_MAX = 30

# First queries: a customer of pointsIssued.json, their balance before the points lapsed, an item that failed.
EXAMPLE_PATHS = (
    "/v1/customers/87884897",
    "/v1/accounts/87884897:838:points?at=2023-06-01T00:00:00Z",
    "/v1/order-items/4611fb1e-6d6d-4d92-9cb5-afd1a5ff2440",
)

UNREAD_EVENTS = "SELECT source, unread FROM unread WHERE ledger_id = $1 AND position = ANY ($2)"
SUBJECTS = """
    SELECT subject_kind, count(DISTINCT subject) AS subjects FROM facts WHERE ledger_id = $1 GROUP BY 1
"""
PARKED = "SELECT count(*) FROM subjects WHERE ledger_id = $1 AND parked IS NOT NULL"
LEDGER_DAY = "SELECT (created_at AT TIME ZONE 'UTC')::date FROM ledger.ledgers WHERE ledger_id = $1"
ACCOUNTS = "SELECT count(*) FROM accounts WHERE ledger_id = $1"


class DemoLedger(NamedTuple):
    """The demonstration's ledger, its connections, and two API keys."""

    ledger: Ledger
    connections: Mapping[str, InboundConnection]  # by source
    key: str  # reads
    acting_key: str  # of the console: adjusts, reveals, audits, rebuilds


class SentProgramme(NamedTuple):
    """Results of sending the simulated programme."""

    members: int
    deliveries: int
    outcomes: Counter[str]  # of events


class SentSamples(NamedTuple):
    """Results of sending one source's samples."""

    source: str
    samples: int
    outcomes: Counter[str]  # of events, from the service's answers
    positions: frozenset[int]


class DemoSummary(NamedTuple):
    """Counts of unread events by source, and of subjects by projection."""

    unread: Mapping[str, Counter[str]]  # "unrecognised" and "quarantined" of each source
    subjects: Mapping[str, int]
    parked: int


def sample_files() -> list[Path]:
    """Find every published payload, sorted by path. A wheel holds them beside the package, a checkout in its tests.
    Internal events are left out, because they arrive over no connection.
    """
    packaged = Path(__file__).parents[1] / "samples"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "tests" / "samples"
    found = (path for path in folder.glob("*/*.json") if not path.name.endswith(".facts.json"))
    return sorted(path for path in found if path.parent.name != INTERNAL.name)


async def prepare_demo(environment: Environment, connection: Connection) -> DemoLedger:
    """Find or create the ledger, its connections and its key."""
    try:
        ledger = await registry.find_ledger(connection, LEDGER)
    except LedgerUnknown:
        ledger = await registry.create_ledger(connection, LEDGER)
    listed = await registry.list_connections(connection, environment.master_key, ledger)
    connections = {
        listed_connection.source: listed_connection
        for listed_connection in listed
        if listed_connection.disabled_at is None and listed_connection.kind is None
    }
    for source in VENDORS.keys() - connections.keys():
        secret = secrets.token_urlsafe(SECRET_BYTES)  # in some schemes the vendor makes it
        connections[source] = await registry.create_connection(
            connection, environment.master_key, ledger, source=source, secret=secret
        )
    key = await _key(environment, connection, ledger, KEY_FILE, ("read",))
    acting_key = await _key(environment, connection, ledger, ACTING_KEY_FILE, ACTING_SCOPES)
    return DemoLedger(ledger, connections, key, acting_key)


async def _key(
    environment: Environment, connection: Connection, ledger: Ledger, name: str, scopes: Sequence[str]
) -> str:
    """Read the key of a file if it still opens the ledger; otherwise create a key and store it."""
    file = environment.settings.data / name
    try:
        key = file.read_text().strip()
        if (await api_keys.find_key(connection, environment.master_key, key)).ledger == ledger:
            return key
    except (FileNotFoundError, BadCredentials):
        pass
    key = await api_keys.create_key(connection, environment.master_key, ledger, scopes, label="demonstration")
    file.unlink(missing_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(f"{key}\n")
    return key


@asynccontextmanager
async def listen_on_port(environment: Environment, port: int) -> AsyncIterator[str]:
    """Run the service on a port, or on a free port if another program uses it. Yield the URL."""
    host = environment.settings.host
    async with AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(running_service(environment, host, port, project=True))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            url = await stack.enter_async_context(running_service(environment, host, 0, project=True))
        yield url


async def send_samples(url: str, demo: DemoLedger) -> list[SentSamples]:
    """Deliver every sample as its vendor does, and wait until the projections include it.

    Raises LedgerUnavailable if a delivery is refused.
    """
    by_source: dict[str, list[Path]] = {source: [] for source in VENDORS}
    for sample in sample_files():
        by_source[sample.parent.name].append(sample)
    async with aiohttp.ClientSession(url) as session:
        sent = [await _send_all(session, demo.connections[source], files) for source, files in by_source.items()]
        last = max((position for batch in sent for position in batch.positions), default=0)
        await _wait_until_projected(session, demo, last)
    return sent


async def _send_all(session: aiohttp.ClientSession, inbound: InboundConnection, files: Sequence[Path]) -> SentSamples:
    outcomes: Counter[str] = Counter()
    positions: set[int] = set()
    for file in files:
        events = await _deliver(session, inbound, file.read_bytes(), file.name)
        outcomes.update(event["outcome"] for event in events)
        positions.update(event["position"] for event in events)
    return SentSamples(inbound.source, len(files), outcomes, frozenset(positions))


async def send_programme(url: str, demo: DemoLedger, connection: Connection, members: int) -> SentProgramme:
    """Deliver the year before the ledger was made, and wait until the projections include it.

    Some deliveries are under way at once, as vendors send them. Raises LedgerUnavailable if a delivery is refused.
    """
    until = await connection.fetchval(LEDGER_DAY, demo.ledger.ledger_id)
    deliveries = await asyncio.to_thread(ProgrammeSimulation(until, members).deliveries)
    outcomes: Counter[str] = Counter()
    remaining = iter(deliveries)

    async def send_next() -> int:
        last = 0
        for one in remaining:
            for event in await _deliver(session, demo.connections[one.source], one.body, f"a delivery of {one.at}"):
                outcomes[event["outcome"]] += 1
                last = max(last, event["position"])
        return last

    async with aiohttp.ClientSession(url) as session:
        async with asyncio.TaskGroup() as group:
            senders = [group.create_task(send_next()) for _ in range(DELIVERIES_AT_ONCE)]
        last = max(sender.result() for sender in senders)
        await _wait_until_projected(session, demo, last)
    return SentProgramme(members, len(deliveries), outcomes)


async def _deliver(
    session: aiohttp.ClientSession, inbound: InboundConnection, body: bytes, name: str
) -> list[dict[str, Any]]:
    """Send a signed delivery, and return its events from the answer. A busy service is tried again, as vendors do.

    Raises LedgerUnavailable if the delivery is refused.
    """
    headers = {"Content-Type": "application/json", inbound.header: credential_header(inbound, body)}
    status = SERVICE_BUSY
    for _ in range(DELIVERY_TRIES_MAX):
        async with session.post(f"/v1/hooks/{inbound.connection_id}", data=body, headers=headers) as response:
            status = response.status
            if status == 200:
                events: list[dict[str, Any]] = (await response.json())["events"]
                return events
            if status != SERVICE_BUSY:
                break
        await asyncio.sleep(RETRY_SECONDS)
    raise LedgerUnavailable(f"{name} was answered {status}")


async def _wait_until_projected(session: aiohttp.ClientSession, demo: DemoLedger, position: int) -> None:
    """Wait until the rows include a position. Each request waits for some seconds at most."""
    for _ in range(PROJECTED_TRIES_MAX):
        path = f"/v1/projections?min_position={position}"
        async with session.get(path, headers={"Authorization": f"Bearer {demo.key}"}) as response:
            if response.status == 200:
                return
    raise LedgerUnavailable("the projector does not keep up")


def credential_header(inbound: InboundConnection, body: bytes) -> str:
    """Return the header value that authenticates a body: a signature for Voucherify, otherwise the secret."""
    secret = inbound.secrets[-1]
    return hmac.digest(secret, body, "sha256").hex() if inbound.scheme == "voucherify" else secret.decode()


async def summarize(connection: Connection, ledger: Ledger, sent: Iterable[SentSamples]) -> DemoSummary:
    """Count the unread events among those sent, and the subjects of each projection."""
    unread: dict[str, Counter[str]] = {batch.source: Counter() for batch in sent}
    positions = [position for batch in sent for position in batch.positions]
    for row in await connection.fetch(UNREAD_EVENTS, ledger.ledger_id, positions):
        unread[row["source"]][row["unread"]] += 1
    rows = await connection.fetch(SUBJECTS, ledger.ledger_id)
    counts = {row["subject_kind"]: row["subjects"] for row in rows}
    subjects = {projection.name: counts.get(projection.subject, 0) for projection in PROJECTIONS}
    subjects["accounts"] = await connection.fetchval(ACCOUNTS, ledger.ledger_id)  # an accounts subject is a holder
    return DemoSummary(unread, subjects, await connection.fetchval(PARKED, ledger.ledger_id))
