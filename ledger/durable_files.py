"""Small files that survive a crash. After a crash a file is complete, old or new; after `write` returns it is the new
one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWNER_ONLY = 0o600


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold an exclusive lock on a name in a folder, against other processes. Create the folder if needed.

    Do not wait for anything slow inside.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def read(path: Path) -> bytes | None:
    """Read a file; None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write(path: Path, content: bytes) -> None:
    """Replace a file atomically, readable by its owner only. Call it inside `locked`."""
    new_path = path.with_name(f".{path.name}.new")
    with open(os.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new_path.replace(path)
    sync(path.parent)


def append(path: Path, content: bytes) -> None:
    """Append to a file, which is created if needed."""
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make the file names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
