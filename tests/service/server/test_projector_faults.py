"""Two projectors side by side are killed and stopped, and PostgreSQL is killed under them.

Events arrive late and twice meanwhile. No row is wrong in the end, and none is missing.
"""

import asyncio
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

import migrations
from benchmarks.history import history
from benchmarks.simulation import Mix, SentDelivery
from ledger.database import connect
from ledger.errors import LedgerUnavailable
from ledger.store.append import append
from ledger.store.registry import create_ledger
from projections.engine import advance, followed_generations, generations, snapshots, worker
from projections.engine.cache import SubjectCache
from projections.engine.digest import compute_digest
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector, catch_up
from projections.rebuild import rebuild
from service.embedded.server import EmbeddedPostgres
from tests.service.server.test_faults import SMALL, Scene
from tests.support.payloads import VAULT, delivery

ROUNDS = 24
EVENTS_PER_ROUND = 60
PAUSE_SECONDS_MAX = 0.5
STOPPED_SECONDS = 1.2
MIX = Mix(seed=9, customers=40, late=0.2, late_by=300, duplicates=0.1, conflicts=0.02)


def project_for_ever(dsn: str) -> None:
    """Project in small batches, with a small cache and short time limits."""
    advance.EVENTS_PER_BATCH_MIN, advance.EVENTS_PER_BATCH_MAX = 10, 40
    advance.set_idle_in_transaction_timeout.__defaults__ = (PAUSE_SECONDS_MAX,)
    snapshots.FACTS_PER_SNAPSHOT = 7
    followed_generations.RETRY_SECONDS = worker.RETRY_SECONDS = 0.1
    SubjectCache.__init__.__defaults__ = (60,)
    asyncio.run(Projector(dsn, ProjectionProgress()).run())


async def tell(dsn: str, ledger_id: int, name: str, sent: Sequence[SentDelivery]) -> None:
    """Append deliveries, however often PostgreSQL is killed meanwhile. A second append changes nothing."""
    while True:
        try:
            connection = await connect(dsn, search_path="pg_catalog")
            try:
                await append(connection, VAULT, ledger_id, [delivery(body, source, name) for source, body in sent])
                return
            finally:
                connection.terminate()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, LedgerUnavailable):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(300)
async def test_projectors_that_are_killed_stopped_and_left_without_a_database_write_every_row_once(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("LOYALTY_TEST_SEED", random.randrange(2**32)))
    print(f"LOYALTY_TEST_SEED={seed}")
    chance = random.Random(seed)
    sent = list(history(ROUNDS * EVENTS_PER_ROUND, MIX))
    with EmbeddedPostgres.start(tmp_path / "data", settings=SMALL) as postgres:
        dsn = postgres.dsn()
        await migrations.upgrade(dsn)
        connection = await connect(dsn)
        await generations.ensure_active_generation(connection)
        hard, calm = [await create_ledger(connection, name) for name in ("hard", "calm")]
        await connection.close()
        scene = Scene(postgres, tmp_path)
        try:
            for name in ("one", "other"):
                scene.start(name, project_for_ever, dsn)
            for round_ in range(ROUNDS):
                part = sent[round_ * EVENTS_PER_ROUND : (round_ + 1) * EVENTS_PER_ROUND]
                telling = asyncio.create_task(tell(dsn, hard.ledger_id, "hard", part))
                await asyncio.sleep(chance.uniform(0.02, 0.3))
                victim = chance.choice(["one", "other"])
                if round_ % 4 == 0:
                    scene.kill_postgres()
                elif round_ % 4 == 1:
                    pid = scene.running[victim].pid
                    assert pid is not None
                    os.kill(pid, signal.SIGSTOP)
                    await asyncio.sleep(STOPPED_SECONDS)
                    os.kill(pid, signal.SIGCONT)
                else:
                    scene.kill(victim)
                    scene.start(victim, project_for_ever, dsn)
                await telling
        finally:
            scene.close()

        connection = await connect(dsn)
        await catch_up(connection, hard.ledger_id)
        await append(connection, VAULT, calm.ledger_id, [delivery(body, source, "calm") for source, body in sent])
        await catch_up(connection, calm.ledger_id)

        assert await compute_digest(connection, hard.ledger_id) == await compute_digest(connection, calm.ledger_id)
        await connection.close()
        assert (await rebuild(dsn)).differing == {}
