"""The manifest of a folder of report files. It lists the valid files, and is replaced after all of them are written.

After a crash the manifest and the files that it lists are those of the last complete export.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from ledger.durable_files import sync
from ledger.errors import RequestInvalid

MANIFEST = "manifest.json"
STATE = ".state"
LOCK = "lock"


class ReportFile(msgspec.Struct, frozen=True):
    """One file of a view, relative to the folder. `after`: it holds what changed since; None: all rows."""

    name: str
    after: int | None
    position: int
    written: int
    deleted: int


class ReportedView(msgspec.Struct, frozen=True):
    """The files of one view. Together they hold `rows` rows."""

    columns: list[str]
    key: list[str]
    text_columns: list[str]  # decimals that are written as text, because they do not fit
    rows: int
    hashes: str | None
    files: list[ReportFile]


class ReportManifest(msgspec.Struct, frozen=True):
    """One folder: its ledger, the format of its files, and the position that they have reached."""

    ledger: str
    format: str
    sequence: int
    position: int
    generation: str
    exported_at: str
    views: dict[str, ReportedView]


def read_manifest(folder: Path) -> ReportManifest | None:
    """Read the manifest of a folder. None if there is none. Raises RequestInvalid if it cannot be read."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=ReportManifest)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise RequestInvalid(f"{folder / MANIFEST} is no manifest of report files") from None


def write_manifest(folder: Path, manifest: ReportManifest) -> None:
    """Replace the manifest. From now on its files are valid, and all others are removed."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    with replacing(folder / MANIFEST) as file:
        file.write(text + b"\n")
    listed = {folder / file.name for view in manifest.views.values() for file in view.files}
    listed |= {folder / view.hashes for view in manifest.views.values() if view.hashes}
    for name in manifest.views:
        for path in (folder / name).iterdir():
            if path not in listed:
                path.unlink()
    for path in (folder / STATE).iterdir():
        if path not in listed and path.name != LOCK:
            path.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name, and give it its own when it is complete and on the disk."""
    new_path = path.with_name(f".{path.name}.new")
    with new_path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    new_path.replace(path)
    sync(path.parent)


@contextmanager
def one_export_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. Raises RequestInvalid if another export writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STATE).mkdir(exist_ok=True)
    with (folder / STATE / LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestInvalid(f"another export writes the folder {folder}") from None
        yield
