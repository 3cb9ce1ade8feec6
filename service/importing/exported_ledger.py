"""Files of exported ledgers: written completely or not at all, compressed by suffix, restored block by block."""

import gzip
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from ledger.database import Connection
from ledger.errors import ExportWrong
from ledger.merkle import Frontier
from ledger.privacy.encryption import MasterKey
from ledger.store import read
from ledger.store.export import (
    EXPORT_LINES,
    LINE_BYTES_MAX,
    ExportedEvent,
    ExportHeader,
    ExportLine,
    ExportTrailer,
    export_ledger,
)
from ledger.store.registry import Ledger
from ledger.store.restore import EVENTS_PER_BLOCK, LedgerRestore, find_or_create_ledger
from ledger.transparency.kept_checkpoints import KeptCheckpoint
from service.importing.deliveries import zstd

LINES_BESIDE_PER_BLOCK = 1_000
GZIP_LEVEL = 6

ReportProgress = Callable[[int, int], None]  # (events done, of all events; 0 if not known)


class RestoredLedger(NamedTuple):
    """A restored ledger. `root` is the root of the tree over all its entries; a signed checkpoint must have the
    same."""

    ledger: Ledger
    events: int
    root: bytes


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears only when it is complete. "-" is standard output."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as raw:
            with _packed(path, raw) as file:
                yield file
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _packed(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    if path.suffix == ".gz":
        with gzip.open(raw, "wb", GZIP_LEVEL) as file:
            yield cast(BinaryIO, file)
    elif path.suffix == ".zst":
        with zstd.open(raw, "wb") as file:
            yield cast(BinaryIO, file)
    else:
        yield raw


async def write_export(
    connection: Connection,
    master_key: MasterKey,
    ledger: Ledger,
    file: BinaryIO,
    *,
    with_keys: bool,
    report_progress: ReportProgress,
) -> int:
    """Write a ledger to a file. Return the number of lines."""
    lines = 0
    async for block in export_ledger(connection, master_key, ledger, with_keys=with_keys):
        file.writelines(block)
        lines += len(block)
        report_progress(lines, 0)
    return lines


async def restore_ledger(
    connection: Connection,
    file: BinaryIO,
    name: str,
    exporter_key: MasterKey,
    master_key: MasterKey,
    report_progress: ReportProgress,
) -> RestoredLedger:
    """Restore an exported ledger under `name`. Events that are there already are compared with the file.

    Raises ExportWrong, MasterKeyWrong.
    """
    lines = _lines(file)
    begin = next(lines, None)
    if not isinstance(begin, ExportHeader):
        raise ExportWrong("it does not begin like an export")
    restoring = LedgerRestore(connection, begin, await find_or_create_ledger(connection, begin, name))
    events, beside, end = list[ExportedEvent](), [], None
    for line in lines:
        if end is not None or isinstance(line, ExportHeader):
            raise ExportWrong("it continues after its end")
        if isinstance(line, ExportedEvent):
            events.append(line)
            if len(events) == EVENTS_PER_BLOCK:
                await restoring.put(events)
                events.clear()
                report_progress(restoring.position, begin.events)
            continue
        if events:
            await restoring.put(events)
            events.clear()
        if isinstance(line, ExportTrailer):
            end = line
        else:
            beside.append(line)
        if beside and (end is not None or len(beside) == LINES_BESIDE_PER_BLOCK):
            await restoring.put_side_records(beside, exporter_key, master_key)
            beside.clear()
    if end is None:
        raise ExportWrong("it is truncated")
    await restoring.finish(end, master_key)
    return RestoredLedger(restoring.ledger, end.events, end.root)


async def compare_checkpoints(connection: Connection, restored: RestoredLedger, kept: Sequence[KeptCheckpoint]) -> str:
    """Compare a restored ledger with kept checkpoints of it. Return the result as a sentence.

    Raises ExportWrong if the checkpoints are of several logs, of more events, or of another history.
    """
    origins = sorted({one.head.origin for one in kept})
    if len(origins) > 1:
        raise ExportWrong(
            f"the checkpoints are of several logs, {', '.join(origins)[:200]}: use those of this ledger only"
        )
    ledger_id, due = restored.ledger.ledger_id, sorted({(one.head.size, one.head.root) for one in kept}, reverse=True)
    if due[0][0] > restored.events:
        raise ExportWrong(
            f"the checkpoint is of {due[0][0]:,} events, the export only of {restored.events:,}: the export is older"
        )
    frontier, newest, count = Frontier(), due[0][0], len(due)
    while due:
        size, root = due.pop()
        while frontier.size < size:
            leaves = await read.leaf_hashes(
                connection, ledger_id, frontier.size, min(size, frontier.size + EVENTS_PER_BLOCK)
            )
            for _ in frontier.extend(leaves):
                pass
        if frontier.root() != root:
            raise ExportWrong(f"the checkpoint of {size:,} events is of another history than the restored ledger")
    also = f", and {count - 1} before it" if count > 1 else ""
    return f"the checkpoint of {newest:,} events of {origins[0]} is of this history{also}"


def _lines(file: BinaryIO) -> Iterator[ExportLine]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        try:
            yield EXPORT_LINES.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # the error may quote the line
            raise ExportWrong(f"line {number} is not a line of an export") from None
