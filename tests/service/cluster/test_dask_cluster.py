"""A rebuild by two worker processes of a Dask cluster over TLS."""

import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ledger.database import Connection, connect
from ledger.errors import SchedulerUnreachable, WorkerRefused
from ledger.store.registry import Ledger
from projections.engine.digest import Digest
from projections.rebuild import pipeline
from projections.rebuild.pipeline import FillResult, fill_generation
from service.cluster import dask_workers
from service.cluster.dask_workers import open_cluster
from tests.projections.rebuild.test_rebuild import digest_of, in_small_parts, new_generation
from tests.service.cli.test_cli import ROOT, clean_environment
from tests.service.cluster.conftest import Cluster, write_certificates
from tests.support import citus

__all__ = ["in_small_parts"]  # a fixture
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

Projected = tuple[Connection, Ledger, Digest]
COUNT_DONE = "SELECT count(*) FROM {}.parts WHERE done"
COUNT_WAITING = "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted"


async def fill_on(cluster: Cluster, schema: str) -> FillResult:
    """Fill a generation by the cluster, on a thread with a loop of its own, as the command does."""
    address = await cluster.address()

    def fill() -> FillResult:
        with open_cluster(address) as workers:
            return asyncio.run(fill_generation(cluster.dsn, schema, cluster=workers))

    return await asyncio.to_thread(fill)


@citus.needs_one_server("the lock that stops the workers would be on other servers")
async def test_a_cluster_fills_a_generation_with_the_live_rows_after_a_worker_was_killed_at_its_part(
    projected: Projected, cluster: Cluster, in_small_parts: None
) -> None:
    connection, ledger, live = projected
    schema = await new_generation(connection)
    blocker = await connect(cluster.dsn)
    blocking = blocker.transaction()
    await blocking.start()
    await blocker.execute(f"LOCK TABLE {schema}.facts IN EXCLUSIVE MODE")

    filling = asyncio.create_task(fill_on(cluster, schema))
    while await connection.fetchval(COUNT_WAITING, f"{schema}.facts") < 2:  # both workers are at a part
        assert not filling.done(), await filling
        await asyncio.sleep(0.05)
    killed = cluster.workers.pop(0)
    killed.kill()
    killed.wait()
    cluster.workers.append(cluster.start_worker())
    await blocking.rollback()
    filled = await filling
    await blocker.close()

    assert await digest_of(cluster.dsn, schema, ledger) == live
    assert filled.facts == await connection.fetchval("SELECT count(*) FROM facts")


async def test_workers_with_other_software_are_refused(
    projected: Projected, cluster: Cluster, in_small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, _, _ = projected
    schema = await new_generation(connection)
    monkeypatch.setattr(pipeline, "software_hash", lambda: "another")

    with pytest.raises(WorkerRefused, match="its software differs"):
        await fill_on(cluster, schema)

    assert await connection.fetchval(COUNT_DONE.format(schema)) == 0


async def test_certificates_of_another_authority_are_refused(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await cluster.address()
    write_certificates(tmp_path)
    other = {"ca-file": "ca.pem", "client.cert": "cert.pem", "client.key": "key.pem"}
    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS_MAX", 3.0)

    def connect_by_others() -> None:
        config = {f"distributed.comm.tls.{name}": str(tmp_path / file) for name, file in other.items()}
        with import_module("dask").config.set(config), open_cluster(address):
            pass

    with pytest.raises(SchedulerUnreachable):
        await asyncio.to_thread(connect_by_others)


async def test_the_command_rebuilds_by_a_cluster_and_promotes(projected: Projected, cluster: Cluster) -> None:
    connection, ledger, live = projected
    await connection.execute("UPDATE projections.generations SET state = 'dropping' WHERE state = 'filling'")
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli.main", "rebuild", "--scheduler", await cluster.address(), "--json",
        cwd=ROOT, env=clean_environment() | cluster.environment | {"DATABASE_URL": cluster.dsn},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await command.communicate()

    assert command.returncode == 0, errors
    report = json.loads(output)
    assert (report["promoted"], report["differing"]) == (True, {})
    assert await digest_of(cluster.dsn, f"generation_{report['generation']}", ledger) == live
