"""Each alert of the table follows from its fault, made in a real ledger, and a sound ledger has none."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ledger import clock
from ledger.database import Connection, connect
from ledger.store import registry
from ledger.store.append import append
from ledger.store.registry import InboundConnection, Ledger
from ledger.transparency import tree_heads
from ledger.transparency.signer import Signer
from projections.engine.worker import catch_up
from service.monitoring import samples
from service.monitoring.conditions import CONDITIONS, Threshold, find_problems
from service.monitoring.database_gauges import DatabaseGauges, disk_samples
from service.monitoring.list_gauges import read_list_gauges
from service.monitoring.position_gauges import read_position_gauges
from service.monitoring.samples import Sample
from service.outgoing import administration, endpoints
from service.outgoing.addresses import PUBLIC_ONLY
from service.outgoing.endpoint_options import EndpointOptions
from service.settings import Settings
from tests.projections.engine.test_containment import Unforeseen, in_rule
from tests.support.client import MASTER_KEY
from tests.support.payloads import VAULT, delivery, issued, redeemed

WITNESS = "witness.example.com/w1"
DISK_BYTES = 1_000_000
COSIGN = """
    INSERT INTO ledger.cosignatures (ledger_id, checkpoint, witness, line, cosigned_at) VALUES ($1, $2, $3, '', now())
"""


@dataclass
class Scene:
    """A ledger with some history, up to date, sealed, and cosigned."""

    dsn: str
    connection: Connection
    ledger: Ledger
    inbound: InboundConnection
    folder: Path
    clock_offset: timedelta = timedelta()
    database_gone: bool = False
    more: list[Sample] = field(default_factory=list)

    async def append(self, *bodies: bytes) -> None:
        """Append deliveries over the scene's connection."""
        for body in bodies:
            made = delivery(body)
            events = [event._replace(connection_id=self.inbound.connection_id) for event in made.events]
            await append(self.connection, VAULT, self.ledger.ledger_id, [made._replace(events=events)])

    async def project(self) -> None:
        """Bring the rows up to date."""
        await catch_up(self.connection, self.ledger.ledger_id)

    async def seal(self) -> None:
        """Sign a checkpoint, and let the witness cosign it."""
        signed = await tree_heads.sign_head(self.connection, Signer(self.folder / "signer"), self.ledger)
        await self.connection.execute(
            COSIGN,
            self.ledger.ledger_id, signed.checkpoint, WITNESS,
        )  # fmt: skip

    async def change(self, table: str, statement: str, *arguments: object) -> None:
        """Change stored rows by SQL, as time would."""
        await self.connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
        await self.connection.execute(statement, *arguments)

    async def age(self, table: str, column: str) -> None:
        """Move the times of a table back by two hours."""
        await self.change(table, f"UPDATE ledger.{table} SET {column} = {column} - interval '2 hours'")  # noqa: S608

    async def read(self, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
        """Read all gauges."""
        if self.database_gone:
            gauges = DatabaseGauges("postgresql://nobody@127.0.0.1:1/none", Settings(), CollectorRegistry())
            await gauges.refresh()
            await gauges.close()
            return gauges._positions
        wall = clock.wall_time()
        with monkeypatch.context() as patch:
            patch.setattr(clock, "wall_time", lambda: wall + self.clock_offset)
            found = await read_position_gauges(self.connection, [WITNESS])
        by_ledger = await read_list_gauges(self.connection, {})
        return [*found, *(sample for some in by_ledger.values() for sample in some), *self.more]


@asynccontextmanager
async def scene_of(dsn: str, folder: Path) -> AsyncIterator[Scene]:
    connection = await connect(dsn)
    ledger = await registry.create_ledger(connection, "acme")
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    scene = Scene(dsn, connection, ledger, inbound, folder)
    await scene.append(*(issued(str(number), number, 1, 5) for number in range(12)))
    await scene.project()
    await scene.seal()
    await administration.create(
        connection,
        MASTER_KEY,
        ledger,
        "https://example.com",
        EndpointOptions(),
        destinations=PUBLIC_ONLY,
        after=None,
        since=None,
    )
    try:
        yield scene
    finally:
        await connection.close()


@pytest.fixture
async def scene(dsn: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_of(dsn, tmp_path) as made:
        yield made


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Mount a small disk at a folder and fill it. Skips where the user may not mount."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        with (folder / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            file.writelines(bytes(4096) for _ in range(DISK_BYTES))
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


# ---- faults ----------------------------------------------------------------------------------------------------------


async def database_away(scene: Scene) -> None:
    scene.database_gone = True


async def dead_projector(scene: Scene) -> None:
    await scene.append(issued("late", 100, 1, 5))
    await scene.seal()
    await scene.age("events", "recorded_at")


async def other_software(scene: Scene) -> None:
    await scene.connection.execute(
        "UPDATE projections.generations SET versions = jsonb_set(versions, '{accounts}', '0')"
    )


async def failing_rule(scene: Scene) -> None:
    with in_rule(Unforeseen):
        await scene.append(issued("a", 200, 2, 50), redeemed("b", 201, 2, 33))
        await scene.project()
    await scene.seal()


async def disabled_webhook(scene: Scene) -> None:
    """Arrivals every six hours that end ten days ago."""
    recorded = datetime.now(clock.wall_time().tzinfo) - timedelta(days=10)
    await scene.change(
        "events",
        "UPDATE ledger.events SET recorded_at = $1::timestamptz - (12 - position) * interval '6 hours'",
        recorded,
    )


async def missing_event(scene: Scene) -> None:
    await scene.append(issued("a", 300, 3, 1000, programCurrentPoints=1000))
    await scene.append(issued("c", 320, 3, 20, programCurrentPoints=980))
    await scene.project()
    await scene.seal()


async def no_signer(scene: Scene) -> None:
    await scene.append(issued("unsigned", 400, 1, 5))
    await scene.project()
    await scene.age("events", "recorded_at")


async def silent_witness(scene: Scene) -> None:
    await scene.append(issued("more", 500, 1, 5))
    await scene.project()
    await tree_heads.sign_head(scene.connection, Signer(scene.folder / "signer"), scene.ledger)
    await scene.age("checkpoints", "signed_at")


async def disk_without_space(scene: Scene) -> None:
    data = scene.folder / "data"
    with full_disk(data):
        scene.more = list(disk_samples(Settings(data=data)))


async def receiver_down(scene: Scene) -> None:
    await scene.connection.execute("UPDATE outgoing.cursors SET failing_since = now() - interval '2 hours'")


async def receiver_gone(scene: Scene) -> None:
    [endpoint] = await endpoints.list_endpoints(scene.connection, MASTER_KEY, scene.ledger)
    await endpoints.disable_endpoint(scene.connection, MASTER_KEY, endpoint, "gone")


async def clock_set_back(scene: Scene) -> None:
    scene.clock_offset = timedelta(minutes=-5)


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "LoyaltyDatabaseDown": database_away,
    "LoyaltyProjectorBehind": dead_projector,
    "LoyaltyRebuildDue": other_software,
    "LoyaltySubjectParked": failing_rule,
    "LoyaltyConnectionSilent": disabled_webhook,
    "LoyaltyDriftAtStake": missing_event,
    "LoyaltyUnsealed": no_signer,
    "LoyaltyWitnessBehind": silent_witness,
    "LoyaltyEndpointFailing": receiver_down,
    "LoyaltyEndpointStopped": receiver_gone,
    "LoyaltyDiskFull": disk_without_space,
    "LoyaltyClockWrong": clock_set_back,
}


async def test_a_sound_ledger_alerts_nobody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await scene.read(monkeypatch)

    assert find_problems(found) == []
    families = {sample.family for sample in found}
    assert families >= {
        samples.LAG_SECONDS,
        samples.UNSEALED_OLDEST,
        samples.PARKED,
        samples.SILENT,
        samples.WITNESS_AGE,
        samples.OUTGOING_LAG,
    }


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_meets_its_condition_and_no_other(
    scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await FAULTS[name](scene)

    problems = find_problems(await scene.read(monkeypatch))

    assert {problem.condition.name for problem in problems} == {name}
    assert all("{{" not in problem.sentence() for problem in problems)


def test_every_condition_about_a_gauge_has_its_fault() -> None:
    assert {one.name for one in CONDITIONS if isinstance(one.check, Threshold)} == FAULTS.keys()


async def test_a_reading_without_time_for_all_ledgers_continues_with_the_others(connection: Connection) -> None:
    for name in ("first", "second", "third"):
        await registry.create_ledger(connection, name)

    one = await read_list_gauges(connection, {}, seconds_max=0)
    two = await read_list_gauges(connection, one, seconds_max=0)
    three = await read_list_gauges(connection, two, seconds_max=0)

    assert [sorted(found) for found in (one, two, three)] == [
        ["", "first"],
        ["", "first", "second"],
        ["", "first", "second", "third"],
    ]


async def test_a_database_that_never_answers_holds_no_scrape_up(tmp_path: Path) -> None:
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    gauges = DatabaseGauges(f"postgresql://nobody@127.0.0.1:{port}/none", Settings(data=tmp_path), CollectorRegistry())

    async with asyncio.timeout(30):
        await gauges.refresh()
    await gauges.close()

    assert gauges._positions == [Sample(samples.DATABASE_UP, (), 0)]
    for writer in held:
        writer.close()
    silent.close()
