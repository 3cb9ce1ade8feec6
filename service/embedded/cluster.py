"""Files and programs of an embedded PostgreSQL cluster: their places, their creation, and the calls of its programs.

A cluster is created beside its final place and then moved. So a crash leaves a complete cluster or none. The password
file outside it marks that a cluster existed: if the cluster is missing, no empty one replaces it.
"""

import hashlib
import os
import re
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ledger.errors import EmbeddedPostgresFailed
from service.embedded.system_user import (
    ServerUser,
    ensure_private_folder,
    grant_passage,
    grant_wheel_read,
    server_user,
    wheel_folder,
)

DATA_FOLDER = "postgres"
PASSWORD_FILE = "postgres.password"  # noqa: S105  # its name
SUPERUSER = "loyalty"
PORT = 5432  # only part of the socket's name: no port is opened
PROGRAM_WAIT_SECONDS = 90  # longer than pg_ctl waits for the server
WHEEL_BINARIES = Path("pginstall18", "bin")
PLAIN_SOCKET_FOLDER = re.compile(r"[\w./-]{1,76}", re.ASCII)  # a socket's path may have about 100 bytes and no commas


@dataclass(frozen=True, slots=True)
class Cluster:
    """Paths of a cluster, and the user that runs its server (None: the current user)."""

    folder: Path
    data: Path
    password: Path
    sockets: Path
    wheel: bool
    binaries: Path
    user: ServerUser | None

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    @classmethod
    def at(cls, folder: Path, binaries: Path | None) -> Self:
        data = folder / DATA_FOLDER
        sockets = folder / "socket"
        if not PLAIN_SOCKET_FOLDER.fullmatch(str(sockets)):
            # Not TMPDIR: processes with different values must find the same folder. A folder of another user is
            # refused.
            sockets = Path("/tmp", f"loyalty-ledger-{hashlib.sha256(bytes(folder)).hexdigest()[:24]}")  # noqa: S108
        return cls(
            folder=folder,
            data=data,
            password=folder / PASSWORD_FILE,
            sockets=sockets,
            wheel=binaries is None,
            binaries=binaries or wheel_folder() / WHEEL_BINARIES,
            user=server_user(data),
        )

    def ask(self, program: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a client program as the current user, connected as the database's superuser."""
        to = ("-h", str(self.sockets), "-p", str(PORT), "-U", SUPERUSER)
        return self._run(program, *to, *arguments, text=text, password=self.password.read_text(), user=None)

    def serve(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the server's user. Relative paths start in the data folder."""
        return self._run(program, *arguments, text="", password="", user=self.user)

    def copy(self, program: str, *arguments: str, seconds_max: float) -> subprocess.CompletedProcess[str]:
        """Run a program for backups as the server's user, so that it may read and write the cluster's files.

        pg_basebackup connects as the database's superuser.
        """
        to = ("-h", str(self.sockets), "-p", str(PORT), "-U", SUPERUSER) if program == "pg_basebackup" else ()
        password = self.password.read_text() if to else ""
        return self._run(program, *to, *arguments, text="", password=password, user=self.user, seconds_max=seconds_max)

    def _run(
        self,
        program: str,
        *arguments: str,
        text: str,
        password: str,
        user: ServerUser | None,
        seconds_max: float = PROGRAM_WAIT_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.binaries / program, *arguments],
            # No variable of our environment: it may hold secrets or a PGPORT. With the folder as the working directory,
            # its name stays out of pg_ctl's shell command. In its own session, the server does not receive Ctrl-C.
            env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": password},
            cwd=self.folder,
            start_new_session=True,
            umask=0o077,
            user=user and user.uid,
            group=user and user.gid,
            extra_groups=user and [],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds_max,
        )


def cluster_exists(folder: Path) -> bool:
    """Return True if a folder holds a cluster, or held one that is missing now."""
    return (folder / DATA_FOLDER).exists() or (folder / PASSWORD_FILE).exists()


def create_cluster(cluster: Cluster) -> None:
    """Create a new cluster. Raises EmbeddedPostgresFailed if one existed before."""
    if cluster.password.exists():
        raise EmbeddedPostgresFailed(
            f"{cluster.data} is missing, but {cluster.password} shows that it held a ledger; restore the folder"
        )
    open_files(cluster)
    data, password = temporary_path(cluster.data), temporary_path(cluster.password)
    shutil.rmtree(data, ignore_errors=True)
    ensure_private_folder(data, cluster.user)
    password.unlink(missing_ok=True)
    with open(password, "x", opener=open_private) as file:
        file.write(secrets.token_urlsafe(32))
        os.fsync(file)
    if cluster.user:
        os.chown(password, *cluster.user)

    made = cluster.serve(
        "initdb", f"--pgdata={data.name}", f"--username={SUPERUSER}", f"--pwfile={password.name}",
        "--auth-local=scram-sha-256", "--auth-host=reject", "--encoding=UTF8", "--no-locale", "--data-checksums",
    )  # fmt: skip
    if made.returncode != 0:
        raise EmbeddedPostgresFailed(made.stderr.strip())
    data.rename(cluster.data)
    finish_cluster(cluster)


def finish_cluster(cluster: Cluster) -> None:
    """Create the marker, and make both renames durable."""
    if not temporary_path(cluster.password).exists():
        raise EmbeddedPostgresFailed(f"{cluster.password} is missing; restore it, because it belongs to {cluster.data}")
    temporary_path(cluster.password).rename(cluster.password)
    folder = os.open(cluster.folder, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def temporary_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def open_files(cluster: Cluster) -> None:
    """Let the server's user reach its files."""
    if cluster.user:
        grant_passage(cluster.folder, cluster.binaries)
        if cluster.wheel:
            grant_wheel_read()


def open_private(path: Path | str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)
