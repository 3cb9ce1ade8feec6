"""A second embedded PostgreSQL that replicates the first, and the acts of an operator who fails over to it."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from service.embedded.cluster import DATA_FOLDER, PASSWORD_FILE, Cluster, open_files
from service.embedded.server import EmbeddedPostgres
from service.embedded.system_user import ensure_private_folder

REPLICA_TAKES_PART = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"


def start_replica(
    primary: EmbeddedPostgres, folder: Path, replica_folder: Path, settings: Mapping[str, str]
) -> EmbeddedPostgres:
    """Copy the server in `folder` by pg_basebackup, and start the copy as its replica."""
    replica_folder.mkdir(mode=0o700)
    shutil.copy(folder / PASSWORD_FILE, replica_folder / PASSWORD_FILE)
    cluster = Cluster.at(replica_folder, None)
    open_files(cluster)
    ensure_private_folder(cluster.data, cluster.user)
    source = primary.dsn()
    copied = cluster.serve(
        "pg_basebackup",
        f"--pgdata={cluster.data.name}",
        "--write-recovery-conf",
        "--checkpoint=fast",
        f"--dbname={source}",
    )
    assert copied.returncode == 0, copied.stderr
    return EmbeddedPostgres.start(replica_folder, settings=settings)


def dsn_of_both(first: EmbeddedPostgres, second: EmbeddedPostgres) -> str:
    """Return a DSN that names both servers. They have the same password."""
    address, _, query = first.dsn().partition("?")
    hosts = [part.dsn().split("host=")[1].split("&")[0] for part in (first, second)]
    assert "port=5432" in query
    return f"{address}?host={','.join(hosts)}&port=5432,5432"


async def require_replica(primary: EmbeddedPostgres) -> None:
    """Make replication synchronous, and wait until the replica takes part."""
    await administer(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    operator = await asyncpg.connect(primary.dsn())
    while not await operator.fetchval(REPLICA_TAKES_PART):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await operator.close()


async def demote(primary: EmbeddedPostgres) -> None:
    """Make a server read-only, as before a switch. Its sessions stay alive."""
    await administer(primary, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")


async def promote(replica_folder: Path) -> None:
    """Make a replica a primary of its own."""
    cluster = Cluster.at(replica_folder, None)
    done = await asyncio.to_thread(cluster.serve, "pg_ctl", "promote", "-w", "-D", cluster.data.name)
    assert done.returncode == 0, done.stderr


def signal_server(folder: Path, number: signal.Signals) -> None:
    """Send a signal to all processes of a server. SIGSTOP makes it silent, without closing a connection."""
    postmaster = int((folder / DATA_FOLDER / "postmaster.pid").read_text().partition("\n")[0])
    os.kill(postmaster, number)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == postmaster:
                os.kill(int(stat.parent.name), number)


async def administer(server: EmbeddedPostgres, *statements: str) -> None:
    """Execute statements as the superuser."""
    operator = await asyncpg.connect(server.dsn())
    try:
        for statement in statements:
            await operator.execute(statement)
    finally:
        await operator.close()
