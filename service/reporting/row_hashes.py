"""Hashes of the rows that were exported last, to find what changed since. Pure, except for the file of hashes.

Late events, merges and new terms change rows whose own events are old. So changes are found by comparing rows, not by
their positions. Both sides are sorted by key, and read side by side, so memory does not grow.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ledger.errors import RequestInvalid

FASTEST = 1  # level of compression
HASH_CHARACTERS = 32


class HashedRow(NamedTuple):
    """One row: its key as JSON text, and the hash of all its columns."""

    key: str
    hash: str


class KeyChange(NamedTuple):
    """A key whose row was written or deleted."""

    key: str
    deleted: bool


class RowComparison:
    """Compares rows in the order of their keys with the rows of the last export."""

    def __init__(self, before: Iterator[HashedRow]) -> None:
        self._before = before
        self._next = next(before, None)
        self._last = ""

    def compare(self, row: HashedRow) -> Iterator[KeyChange]:
        """Yield the changes up to a row: the deletion of rows before it, and the row itself unless it is unchanged.

        Raises RequestInvalid if the rows are not in the order of their keys.
        """
        if row.key <= self._last:
            raise RequestInvalid("the database does not sort text by its bytes: export without --incremental")
        self._last = row.key
        yield from self._deleted_before(row.key)
        known = self._next
        if known is not None and known.key == row.key:
            self._next = next(self._before, None)
            if known.hash == row.hash:
                return
        yield KeyChange(row.key, deleted=False)

    def rest(self) -> Iterator[KeyChange]:
        """Yield the deletions after the last row."""
        while self._next is not None:
            yield KeyChange(self._next.key, deleted=True)
            self._next = next(self._before, None)

    def _deleted_before(self, key: str) -> Iterator[KeyChange]:
        while self._next is not None and self._next.key < key:
            yield KeyChange(self._next.key, deleted=True)
            self._next = next(self._before, None)


class HashWriter:
    """Writes the file of hashes, sorted by key: a line for each row."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.GzipFile(path, "wb", compresslevel=FASTEST)

    def write(self, row: HashedRow) -> None:
        """Write one line."""
        self._file.write(f"{row.hash}{row.key}\n".encode())

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


def read_hashes(path: Path | None) -> Iterator[HashedRow]:
    """Yield the rows of a file of hashes. Without a file there are none."""
    if path is None:
        return
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            yield HashedRow(line[HASH_CHARACTERS:].rstrip("\n"), line[:HASH_CHARACTERS])


def key_values(key: str) -> Sequence[Any]:
    """Return the values of a key."""
    values: list[Any] = json.loads(key)
    return values
