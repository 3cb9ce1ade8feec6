"""Check a copy of a cluster against its backup_manifest, as pg_verifybackup does.

The program pg_verifybackup in the wheel of the embedded PostgreSQL ends with a segmentation fault. The format is
described in PostgreSQL's documentation, "Backup Manifest Format".
"""

import hashlib
from pathlib import Path

import msgspec

from ledger.errors import BackupWrong

MANIFEST_FILE = "backup_manifest"
LAST_LINE = b'"Manifest-Checksum"'  # the checksum covers all lines before it
# Files that the manifest does not list. The write-ahead log is checked by pg_waldump.
NOT_LISTED = ("pg_wal", MANIFEST_FILE, "postgresql.auto.conf", "standby.signal", "recovery.signal")


class ManifestFile(msgspec.Struct):
    """A file of a backup. The embedded cluster has no names outside ASCII, which would be encoded."""

    path: str = msgspec.field(name="Path")
    size: int = msgspec.field(name="Size")
    algorithm: str = msgspec.field(name="Checksum-Algorithm")
    checksum: str = msgspec.field(name="Checksum")


class WalRange(msgspec.Struct):
    """The write-ahead log that a backup needs."""

    timeline: int = msgspec.field(name="Timeline")
    start: str = msgspec.field(name="Start-LSN")
    end: str = msgspec.field(name="End-LSN")


class Manifest(msgspec.Struct):
    """The content of backup_manifest, as far as it is checked."""

    files: list[ManifestFile] = msgspec.field(name="Files")
    wal_ranges: list[WalRange] = msgspec.field(name="WAL-Ranges")
    checksum: str = msgspec.field(name="Manifest-Checksum")


def verify_files(copy: Path) -> list[WalRange]:
    """Check the size and SHA-256 of each file of a backup. Return the ranges of write-ahead log that it needs.

    Raises BackupWrong if a file is missing, is not listed, or differs.
    """
    text = (copy / MANIFEST_FILE).read_bytes()
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError:
        raise BackupWrong(f"{MANIFEST_FILE} cannot be read") from None
    if hashlib.sha256(text[: text.rindex(LAST_LINE)]).hexdigest() != manifest.checksum:
        raise BackupWrong(f"{MANIFEST_FILE} was changed")
    listed = {file.path for file in manifest.files}
    for path in copy.rglob("*"):
        name = str(path.relative_to(copy))
        if path.is_file() and name not in listed and name.partition("/")[0] not in NOT_LISTED:
            raise BackupWrong(f"{name} is not part of it")
    for file in manifest.files:
        _verify_file(copy, file)
    return manifest.wal_ranges


def _verify_file(copy: Path, file: ManifestFile) -> None:
    path = copy / file.path
    if file.algorithm != "SHA256":
        raise BackupWrong(f"{file.path} has no SHA-256")
    try:
        with path.open("rb") as opened:
            differs = path.stat().st_size != file.size
            differs = differs or hashlib.file_digest(opened, "sha256").hexdigest() != file.checksum
    except FileNotFoundError:
        raise BackupWrong(f"{file.path} is missing") from None
    if differs and file.path not in NOT_LISTED:
        raise BackupWrong(f"{file.path} differs from the backed-up file")
