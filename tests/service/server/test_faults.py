"""Kill -9 of a worker, a rebuild, the service and PostgreSQL, at random moments while generations are promoted.

Two properties must hold: a reader sees one whole generation at every instant, and the end equals a clean rebuild. One
ledger does not change, so its digest must stay the same. The other grows, so each of its balances must fit the position
of its answer. The processes are forked from one that has imported everything: a start then takes a tenth of a second
instead of a whole one.
"""

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from aiohttp import web

import migrations
from benchmarks.history import history
from benchmarks.simulation import Mix
from ledger.database import connect
from ledger.errors import LedgerError
from ledger.store import api_keys, registry
from ledger.store.append import append
from projections import rebuild
from projections.engine import generations, promotion
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import partition, pipeline
from service.embedded.server import EmbeddedPostgres
from service.server.app import make_app
from service.settings import Settings
from tests.support.client import MASTER_KEY
from tests.support.payloads import VAULT, delivery, issued

KILLS = 40
PAUSE_SECONDS_MAX = 0.5
SMALL = {"shared_buffers": "16MB", "max_connections": "80"}
CUSTOMERS = 3
# The driver reports an error of its own if a server disappears while it connects.
DRIVER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
LOST = (OSError, *DRIVER, LedgerError, TimeoutError)


def rebuild_for_ever(dsn: str, told: str) -> None:
    """Rebuild, promote, and sometimes roll back, in small parts, with two workers or alone, whatever fails."""
    partition.EVENTS_PER_ITEM = partition.FACTS_PER_ITEM = 40
    rounds = random.SystemRandom().randrange(4)

    def tell(_stage: str, _done: int, _of: int) -> None:
        workers = [str(child.pid) for child in multiprocessing.active_children()]
        Path(told).write_text(" ".join(workers))

    while True:
        rounds += 1
        pipeline.SINGLE_PROCESS_EVENTS_MAX = 0 if rounds % 2 else 1_000_000
        try:
            source: Any = "facts" if rounds % 4 < 2 else "ledger"
            report = asyncio.run(rebuild.rebuild(dsn, source=source, workers=2, progress=tell))
            assert report.differing == {}, report.differing
            with Path(f"{told}.promoted").open("a") as file:
                file.write(f"{report.generation}\n")
            if rounds % 3 == 0:
                asyncio.run(promotion.roll_back(dsn))
        except LOST:
            time.sleep(0.1)
        except AssertionError as wrong:
            Path(f"{told}.wrong").write_text(str(wrong))
            raise


def serve(dsn: str, told: str) -> None:
    """Serve on a free port, with a projector."""

    async def run() -> None:
        runner = web.AppRunner(make_app(dsn, Settings(), MASTER_KEY), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _write(told, str(runner.addresses[0][1]))
        await asyncio.Event().wait()

    asyncio.run(run())


def read_for_ever(dsn: str, port_file: str, key: str, expected: str, still: int, told: str) -> None:
    """Digest the unchanging ledger, and query balances of the growing one. Record every answer that does not fit."""

    async def digests() -> str:
        connection = await connect(dsn)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return (await compute_digest(connection, still, untimed=True)).digest
        finally:
            connection.terminate()

    seen = 0
    while True:
        with contextlib.suppress(*LOST):
            found = asyncio.run(digests())
            if found != expected:
                Path(f"{told}.wrong").write_text(f"digest {found}")
        for customer in range(CUSTOMERS):
            with contextlib.suppress(OSError, urllib.error.URLError, ValueError):
                port = Path(port_file).read_text()
                url = f"http://127.0.0.1:{port}/v1/accounts/capillary:9001:{customer}:77:points"
                request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
                with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
                    body = orjson.loads(response.read())
                fit = 10 * len(range(customer, body["as_of_position"], CUSTOMERS))
                if int(body["available"]) != fit:
                    Path(f"{told}.wrong").write_text(f"{body['available']} at {body['as_of_position']}")
                seen += 1
        Path(told).write_text(str(seen))


class Scene:
    """The processes of the test, each started again after it was killed."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([__name__, "tests.service.server.test_faults"])
        self.postgres = postgres
        self.folder = folder
        self.running: dict[str, BaseProcess] = {}

    def start(self, name: str, work: Any, *arguments: Any) -> None:
        process = self.context.Process(target=work, args=arguments, daemon=False)
        process.start()
        self.running[name] = process

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.join(20)

    def kill_worker(self) -> bool:
        """Kill a worker of the rebuild, if there is one."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pids = [int(pid) for pid in (self.folder / "rebuild").read_text().split()]
            os.kill(random.choice(pids), signal.SIGKILL)
            return True
        return False

    def kill_postgres(self) -> None:
        pid = int((self.folder / "data/postgres/postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        while self.postgres.answers():
            time.sleep(0.01)
        self.postgres.revive()

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)


async def prepared(dsn: str) -> tuple[int, str, str, registry.Ledger]:
    """Create an unchanging and a growing ledger. Return the first, its digest, a key of the second, the second."""
    await migrations.upgrade(dsn)
    connection = await connect(dsn)
    try:
        await generations.ensure_active_generation(connection)
        still = await registry.create_ledger(connection, "still")
        sent = [delivery(body, source, "still") for source, body in history(60, Mix(seed=5, customers=10))]
        await append(connection, VAULT, still.ledger_id, sent)
        await catch_up(connection, still.ledger_id)
        moving = await registry.create_ledger(connection, "moving")
        key = await api_keys.create_key(connection, MASTER_KEY, moving, ["read"])
        found = await compute_digest(connection, still.ledger_id, untimed=True)
        return still.ledger_id, found.digest, key, moving
    finally:
        await connection.close()


async def grow(dsn: str, moving: registry.Ledger, number: int) -> None:
    """Append the next event of the growing ledger. Its balances are 10 for each event of a customer."""
    connection = await connect(dsn, search_path="pg_catalog")
    try:
        body = issued(f"e{number}", number, number % CUSTOMERS, 10)
        await append(connection, VAULT, moving.ledger_id, [delivery(body, ledger="moving")])
    finally:
        connection.terminate()


@pytest.mark.timeout(600)
async def test_forty_kills_leave_whole_generations_and_the_rows_of_a_clean_rebuild(tmp_path: Path) -> None:
    seed = int(os.environ.get("LOYALTY_TEST_SEED", random.randrange(2**32)))
    print(f"LOYALTY_TEST_SEED={seed}")
    random.seed(seed)
    with EmbeddedPostgres.start(tmp_path / "data", settings=SMALL) as postgres:
        dsn = postgres.dsn()
        still, expected, key, moving = await prepared(dsn)
        scene = Scene(postgres, tmp_path)
        again: dict[str, Any] = {
            "rebuild": lambda: scene.start("rebuild", rebuild_for_ever, dsn, str(tmp_path / "rebuild")),
            "service": lambda: scene.start("service", serve, dsn, str(tmp_path / "port")),
        }
        reader = (dsn, str(tmp_path / "port"), key, expected, still, str(tmp_path / "read"))
        number = 0
        try:
            for begin in again.values():
                begin()
            scene.start("reader", read_for_ever, *reader)
            for round_ in range(KILLS):
                await asyncio.sleep(random.uniform(0.05, PAUSE_SECONDS_MAX))
                await grow(dsn, moving, number)
                number += 1
                victim = ("rebuild", "service", "worker", "postgres")[round_ % 4]
                if victim == "postgres":
                    scene.kill_postgres()
                elif victim != "worker" or not scene.kill_worker():
                    name = "rebuild" if victim == "worker" else victim
                    scene.kill(name)
                    again[name]()
            await _until_promoted(tmp_path)
            await _until(lambda: _answers(tmp_path) > KILLS or not scene.running["reader"].is_alive())
            assert scene.running["reader"].is_alive()
        finally:
            scene.close()

        assert _wrong(tmp_path) == []
        print("answers", _answers(tmp_path), "promoted", _read(tmp_path, "rebuild.promoted").split())
        clean = await rebuild.rebuild(dsn)
        assert (clean.differing, clean.promoted) == ({}, True)
        connection = await connect(dsn)
        assert (await compute_digest(connection, still, untimed=True)).digest == expected
        assert await connection.fetchval("SELECT sum(available)::int FROM accounts WHERE ledger_id = $1",
                                         moving.ledger_id) == 10 * number  # fmt: skip
        states = [one.state for one in await generations.list_generations(connection)]
        assert sorted(set(states) - {"dropping"}) == ["active", "retired"]
        await connection.close()


@pytest.mark.parametrize(
    "planted",
    [
        "UPDATE accounts SET available = available + 1 WHERE ledger_id = $1 AND $2 > 0",
        "UPDATE accounts SET available = available + 1 WHERE $1 > 0 AND ledger_id = $2",
    ],
    ids=["a digest", "a balance"],
)
async def test_a_reader_during_the_forty_kills_would_see_a_wrong_row(tmp_path: Path, planted: str) -> None:
    with EmbeddedPostgres.start(tmp_path / "data", settings=SMALL) as postgres:
        dsn = postgres.dsn()
        still, expected, key, moving = await prepared(dsn)
        await grow(dsn, moving, 0)
        connection = await connect(dsn)
        await catch_up(connection, moving.ledger_id)
        scene = Scene(postgres, tmp_path)
        try:
            scene.start("service", serve, dsn, str(tmp_path / "port"))
            scene.start(
                "reader", read_for_ever, dsn, str(tmp_path / "port"), key, expected, still, str(tmp_path / "read")
            )
            await _until(lambda: _answers(tmp_path) > 0)
            right = _wrong(tmp_path)
            await connection.execute(planted, still, moving.ledger_id)
            await _until(lambda: bool(_wrong(tmp_path)))
        finally:
            scene.close()
            await connection.close()

    assert right == []


def _write(file: str, text: str) -> None:
    Path(file).write_text(text)


def _read(folder: Path, name: str) -> str:
    return (folder / name).read_text()


def _answers(folder: Path) -> int:
    """Return the number of answers that the reader has received."""
    file = folder / "read"
    return int(file.read_text() or 0) if file.exists() else 0  # empty while it is being written


def _wrong(folder: Path) -> list[str]:
    return [one.read_text() for one in folder.glob("*.wrong")]


async def _until_promoted(folder: Path) -> None:
    """Wait until the rebuild after the last kill has promoted a generation."""
    file = folder / "rebuild.promoted"
    before = file.read_text() if file.exists() else ""
    await _until(lambda: file.exists() and file.read_text() != before)


async def _until(happened: Callable[[], bool]) -> None:
    """Wait until a condition holds. Fail after a minute."""
    for _ in range(1_200):
        if happened():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen any more")
