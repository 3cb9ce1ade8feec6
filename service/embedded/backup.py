"""Back up the embedded PostgreSQL while it runs, and restore a backup into another data folder.

A backup is a folder with a physical copy of the cluster, made by pg_basebackup and checked by its manifest. It holds
neither the master key nor the signer's folder. Without the master key it decrypts nothing. A restored signer would sign
the restored ledger as if nothing had been lost.

Invariant: a backup, and a restored cluster, appears under its name only when it is complete and verified.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ledger import durable_files
from ledger.errors import BackupFailed, BackupWrong
from service.embedded.backup_manifest import verify_files
from service.embedded.cluster import (
    DATA_FOLDER,
    PASSWORD_FILE,
    Cluster,
    finish_cluster,
    open_files,
    temporary_path,
)
from service.embedded.server import file_lock
from service.embedded.system_user import ensure_private_folder, grant_passage

DESCRIPTION_FILE = "backup.json"
COPY_SECONDS_MAX = 24 * 3600.0


def back_up(data: Path, target: Path, description: bytes) -> None:
    """Copy the running cluster of a data folder into a new folder. Blocks.

    Raises BackupFailed if the target is in use, or the copy cannot be made.
    """
    target = target.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupFailed(f"{target} exists already; choose another folder")
    cluster = Cluster.at(data.resolve(), None)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        if cluster.user:
            grant_passage(part)
        copy = part / DATA_FOLDER
        ensure_private_folder(copy, cluster.user)
        _run(
            cluster,
            "pg_basebackup",
            f"--pgdata={copy}",
            "--no-password",
            "--checkpoint=fast",
            "--manifest-checksums=SHA256",
        )
        verify_copy(cluster, copy)
        shutil.copy2(cluster.password, part / PASSWORD_FILE)
        durable_files.write(part / DESCRIPTION_FILE, description)
        part.rename(target)
        durable_files.sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_description(source: Path) -> bytes:
    """Return the description in a backup. Raises BackupFailed if the folder is not a backup."""
    description = durable_files.read(source / DESCRIPTION_FILE)
    if description is None or not (source / DATA_FOLDER).is_dir() or not (source / PASSWORD_FILE).is_file():
        raise BackupFailed(f"{source} is not a folder that `loyalty backup` made")
    return description


def restore_backup(source: Path, data: Path) -> None:
    """Copy the cluster of a backup into a data folder that has none. The server is not started. Blocks.

    Raises BackupWrong if the backup is damaged, BackupFailed if the folder holds a database.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file_lock(data / "start.lock"):
        cluster = Cluster.at(data.resolve(), None)
        if cluster.data.exists():
            raise BackupFailed(f"{cluster.data} holds a database already; restore into another data folder")
        open_files(cluster)
        copy = temporary_path(cluster.data)
        shutil.rmtree(copy, ignore_errors=True)
        try:
            shutil.copytree(source / DATA_FOLDER, copy, symlinks=True)
            shutil.copy2(source / PASSWORD_FILE, temporary_path(cluster.password))
            _give_to_server(cluster, copy, temporary_path(cluster.password))
            verify_copy(cluster, copy)
            _run(cluster, "initdb", "--sync-only", f"--pgdata={copy}")
            copy.rename(cluster.data)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        finish_cluster(cluster)


def verify_copy(cluster: Cluster, copy: Path) -> None:
    """Check each file of a copied cluster, and that the write-ahead log which it needs can be read.

    Raises BackupWrong.
    """
    for needed in verify_files(copy):
        lsns = (f"--timeline={needed.timeline}", f"--start={needed.start}", f"--end={needed.end}")
        try:
            _run(cluster, "pg_waldump", "--quiet", f"--path={copy / 'pg_wal'}", *lsns)
        except BackupFailed as error:
            raise BackupWrong(error) from None


def _give_to_server(cluster: Cluster, copy: Path, password: Path) -> None:
    """Make the server's user the owner of copied files."""
    copy.chmod(0o700)
    if cluster.user:
        for path in (password, copy, *copy.rglob("*")):
            os.chown(path, *cluster.user, follow_symlinks=False)


def _run(cluster: Cluster, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL as the server's user. Raises BackupFailed."""
    try:
        done = cluster.copy(program, *arguments, seconds_max=COPY_SECONDS_MAX)
    except (OSError, subprocess.SubprocessError) as error:
        raise BackupFailed(f"{program}: {type(error).__name__}") from error
    if done.returncode != 0:
        raise BackupFailed(done.stderr.strip().partition("\n")[0] or f"{program} ended with {done.returncode}")
