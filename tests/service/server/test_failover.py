"""A failover under load: every part goes over to the other server by itself, and nothing acknowledged is lost.

The first server is demoted while its sessions stay alive. Its reads would be stale for ever. Later the second server
falls silent, and the first, copied anew, takes over again.
"""

import asyncio
import contextlib
import itertools
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest

import migrations
from ledger.database import connect
from ledger.store import api_keys, registry
from ledger.transparency.signer import Signer
from service.audit.verify_ledger import verify_ledger
from service.embedded.server import EmbeddedPostgres
from service.server.app import make_app
from service.server.projector_process import projector_process
from service.settings import Settings
from service.startup_checks import check_replication
from tests.support.client import MASTER_KEY, Served, TenantClient
from tests.support.contract import CheckedClient
from tests.support.payloads import issued, sample
from tests.support.replica import (
    administer,
    demote,
    dsn_of_both,
    promote,
    require_replica,
    signal_server,
    start_replica,
)

RECOVERY_SECONDS_MAX = 30.0
DEMOTED_SECONDS = 3.0  # during which no server can be written to
REPORT_SECONDS = 0.5  # until the sessions of a demoted server have heard of it
SMALL = {"shared_buffers": "16MB", "max_connections": "60"}
CUSTOMERS = 5
DELETED = "capillary:781:4545332"
WAITS_FOR_REPLICA = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'loyalty'"


class Sample(NamedTuple):
    """A request: when it was sent and answered, its status, and the body of the answer."""

    sent_at: float
    answered_at: float
    status: int
    body: Any


class Load:
    """Delivers, reads and asks for readiness all the time, and keeps every answer."""

    def __init__(self, acme: TenantClient, name: str) -> None:
        self.acme, self.name = acme, name
        self.acknowledged: list[str] = []
        self.deliveries: list[Sample] = []
        self.answers: list[Sample] = []
        self.readiness: list[Sample] = []

    async def deliver(self) -> None:
        for number in itertools.count():
            name = f"{self.name}-{number}"
            began = time.monotonic()
            status, body = await self.acme.deliver(issued(name, number, number % CUSTOMERS, 10))
            self.deliveries.append(Sample(began, time.monotonic(), status, body))
            if status == 200:
                self.acknowledged.append(name)
            await asyncio.sleep(0.02)

    async def ask(self, path: str, samples: list[Sample]) -> None:
        while True:
            began = time.monotonic()
            status, body = await self.acme.ask(path)
            samples.append(Sample(began, time.monotonic(), status, body))
            await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        account = "/v1/accounts/capillary:9001:1:77:points"
        work = (self.deliver(), self.ask(account, self.answers), self.ask("/ready", self.readiness))
        tasks = [asyncio.create_task(one) for one in work]
        yield
        assert [task for task in tasks if task.done()] == []
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def until(self, samples: list[Sample], after: float) -> None:
        """Wait until a request that was sent after a time is answered 200."""
        while not any(one.status == 200 and one.sent_at > after for one in samples):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def serving_all(dsn: str, signer: Signer, settings: Settings) -> AsyncIterator[TenantClient]:
    """Serve with all parts: a projector process, a sealer, an eraser."""
    app = make_app(dsn, settings, MASTER_KEY, project=False, signer=signer)
    app.cleanup_ctx.append(projector_process(dsn))
    async with CheckedClient(Served(app)) as client:
        connection = await connect(dsn)
        ledger = await registry.create_ledger(connection, "acme")
        acme = TenantClient(client, ledger, await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"]))
        acme.inbound["capillary"] = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
        await connection.close()
        yield acme


async def check_all_parts(acme: TenantClient, load: Load, anchors: Path, since: float) -> None:
    """Wait until every part works: deliveries, reads, readiness, projector, sealer, publisher."""
    async with asyncio.timeout(RECOVERY_SECONDS_MAX):
        for samples in (load.deliveries, load.answers, load.readiness):
            await load.until(samples, since)
        appended = max(one.body["events"][0]["position"] for one in load.deliveries if one.status == 200)
        await acme.wait_for_position(appended)
        while published_size(anchors) < appended:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def published_size(anchors: Path) -> int:
    """Return the size of the last checkpoint that reached the anchor. A checkpoint has the size in its second line."""
    notes = anchors.read_text().split("\n\n")
    sizes = [int(note.splitlines()[1]) for note in notes if len(note.splitlines()) == 3]
    return max(sizes, default=0)


async def check_erasures(acme: TenantClient) -> None:
    """Check that a request for deletion is carried out, which the eraser has to find by itself."""
    await acme.deliver(sample("capillary", "requestUpdated-2"))
    async with asyncio.timeout(RECOVERY_SECONDS_MAX):
        while (await acme.ask_now(f"/v1/customers/{DELETED}"))["customers"][0]["erased_at"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
async def test_a_failover_under_load_loses_nothing_and_needs_nobody(tmp_path: Path) -> None:
    folders, anchors = (tmp_path / "a", tmp_path / "b"), tmp_path / "anchors"
    anchors.touch()
    settings = Settings(checkpoint_events=50, checkpoint_seconds=1, anchors=str(anchors))
    signer = Signer(tmp_path / "signer", site="logs.example")
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(EmbeddedPostgres.start(folders[0], settings=SMALL))
        await migrations.upgrade(first.dsn())
        second = servers.enter_context(start_replica(first, *folders, SMALL))
        await require_replica(first)
        async with serving_all(dsn_of_both(first, second), signer, settings) as acme:
            load = Load(acme, "first")
            async with load.running():
                await check_all_parts(acme, load, anchors, time.monotonic())

                await demote(first)
                demoted_at = time.monotonic()
                await asyncio.sleep(DEMOTED_SECONDS)
                promoted_at = time.monotonic()
                await promote(folders[1])
                await check_all_parts(acme, load, anchors, promoted_at)
                recovered_at = time.monotonic()
                await asyncio.sleep(1)

            await check_erasures(acme)
            await check_ledger(second, acme, load, signer)
            between = [one for one in load.answers if demoted_at + REPORT_SECONDS < one.sent_at < promoted_at - 1]
            assert {one.status for one in between} == {503}
            between = [one for one in load.readiness if demoted_at + REPORT_SECONDS < one.sent_at < promoted_at - 1]
            assert {one.status for one in between} == {503}
            assert {one.status for one in load.readiness if one.sent_at > recovered_at} == {200}

            await asyncio.to_thread(first.close)
            shutil.rmtree(folders[0])
            first = servers.enter_context(await asyncio.to_thread(start_replica, second, folders[1], folders[0], SMALL))
            await require_replica(second)
            load = Load(acme, "second")
            async with load.running():
                await check_all_parts(acme, load, anchors, time.monotonic())
                servers.callback(signal_server, folders[1], signal.SIGCONT)

                signal_server(folders[1], signal.SIGSTOP)
                await asyncio.sleep(DEMOTED_SECONDS)
                promoted_at = time.monotonic()
                await promote(folders[0])
                await check_all_parts(acme, load, anchors, promoted_at)
            await check_ledger(first, acme, load, signer)


async def check_ledger(server: EmbeddedPostgres, acme: TenantClient, load: Load, signer: Signer) -> None:
    """Check that every acknowledged event is stored once, that positions are dense, and that the log did not fork."""
    connection = await connect(server.dsn())
    try:
        stored = await connection.fetch(
            "SELECT position, payload FROM ledger.events WHERE ledger_id = $1 ORDER BY position", acme.ledger.ledger_id
        )
        findings = await verify_ledger(connection, server.dsn(), acme.ledger, signer, master_key=MASTER_KEY)
    finally:
        await connection.close()
    identifiers = [msgspec.json.decode(row["payload"]).get("eventId", row["position"]) for row in stored]
    assert [row["position"] for row in stored] == list(range(1, len(stored) + 1))
    assert len(set(identifiers)) == len(identifiers)
    assert set(load.acknowledged) <= set(identifiers)
    assert [finding for finding in findings if not finding.holds] == []


async def test_a_commit_that_no_replica_confirms_is_not_acknowledged(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "alone", settings=SMALL) as server:
        await migrations.upgrade(server.dsn())
        async with serving_all(server.dsn(), Signer(tmp_path / "signer"), Settings(seal=False)) as acme:
            operator = await asyncpg.connect(server.dsn())
            await administer(
                server, "ALTER SYSTEM SET synchronous_standby_names = 'missing'", "SELECT pg_reload_conf()"
            )
            delivering = asyncio.create_task(acme.deliver(issued("a", 0, 1, 10)))
            while (pid := await operator.fetchval(WAITS_FOR_REPLICA)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

            await operator.fetchval("SELECT pg_cancel_backend($1)", pid)  # the server answers success, with a warning
            status, _ = await delivering
            unready, _ = await acme.ask("/ready")

            assert (status, unready) == (503, 503)
            await administer(server, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
            assert (await acme.ask("/ready"))[0] == 200
            status, body = await acme.deliver(issued("a", 0, 1, 10))
            assert (status, body["events"][0]["outcome"]) == (200, "duplicate")
            await operator.close()


async def test_a_replica_that_commits_do_not_wait_for_is_warned_of(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    with EmbeddedPostgres.start(folders[0], settings=SMALL) as first:
        operator = await connect(first.dsn(), search_path="pg_catalog")
        alone = await check_replication(operator)
        with start_replica(first, *folders, SMALL):
            while (asynchronous := await check_replication(operator)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await require_replica(first)
            synchronous = await check_replication(operator)
        await operator.close()

    assert (alone, synchronous) == (None, None)
    assert asynchronous.startswith("A replica follows this PostgreSQL, but `synchronous_standby_names` is empty")
