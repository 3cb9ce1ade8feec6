"""Imports history: appends the deliveries of a file in blocks, by the same code as webhooks.

A stored delivery is a duplicate and changes nothing. To resume an interrupted import, run it again. split.py splits a
file into deliveries.

An unreadable delivery is counted and not stored. The ledger is append-only, so a mistake would stay. With `quarantine`
it is stored as it is and quarantined. With `repair` it is first repaired by the rules of json_repair.py. Then the
repaired text is stored, because no vendor sent the damaged text.
"""

import asyncio
import gzip
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from ledger.events import Delivery, Origin
from ledger.intake.identify import UNREADABLE, identify
from ledger.store.append import AppendResult
from ledger.store.registry import InboundConnection
from service.importing.block_appender import BlockAppender
from service.importing.json_repair import repair_json
from service.importing.split import DeliveryLine, unpack_arrays

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

LINES_PER_BLOCK_MAX = 1_000
EVENTS_PER_BLOCK_MAX = 4_000
PERSONS_PER_BLOCK_MAX = 10_000
BYTES_PER_BLOCK_MAX = 16 * 1024 * 1024


LINE_NUMBERS_SHOWN_MAX = 10


@dataclass(slots=True)
class ImportSummary:
    """Counts of deliveries in a file and of the events in them. Unreadable deliveries are stored only with
    `quarantine`.
    """

    lines: int = 0  # deliveries read, unreadable ones included
    appended: int = 0
    duplicates: int = 0
    conflicts: int = 0
    unreadable: int = 0
    unreadable_lines: list[int] = field(default_factory=list)  # the first of them
    too_long: list[int] = field(default_factory=list)  # numbers of lines too long to be stored
    kinds: Counter[str] = field(default_factory=Counter)  # of readable events
    repaired_lines: int = 0
    repaired_places: Counter[str] = field(default_factory=Counter)  # by rule

    def add(self, other: "ImportSummary") -> None:
        """Add the counts of other lines."""
        self.lines += other.lines
        self.appended += other.appended
        self.duplicates += other.duplicates
        self.conflicts += other.conflicts
        self.unreadable += other.unreadable
        self.unreadable_lines = (self.unreadable_lines + other.unreadable_lines)[:LINE_NUMBERS_SHOWN_MAX]
        self.too_long += other.too_long
        self.kinds += other.kinds
        self.repaired_lines += other.repaired_lines
        self.repaired_places += other.repaired_places


def open_file(path: Path, raw: BinaryIO) -> BinaryIO:
    """Return the decompressed content of an opened file, by the suffix of its path."""
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(raw))
    if path.suffix == ".zst":
        return cast(BinaryIO, zstd.open(raw))
    return raw


def is_damaged_file(error: Exception) -> bool:
    """Return True if an error means that a compressed file is damaged or truncated."""
    return isinstance(error, EOFError | gzip.BadGzipFile | zlib.error | zstd.ZstdError)


async def import_lines(
    appender: BlockAppender,
    inbound: InboundConnection,
    lines: Iterator[DeliveryLine],
    report_summary: Callable[[ImportSummary], None],
    *,
    repair: bool = False,
    quarantine: bool = False,
) -> ImportSummary:
    """Append the deliveries, and report the summary after each block. `repair` repairs deliveries that are not JSON;
    `quarantine` stores those that cannot be read.

    While the database writes one block, the next block is read and identified in a thread. The thread and the event
    loop compete for the interpreter's lock. So nothing is encrypted meanwhile.

    Raises LedgerUnavailable if the database stays away; blocks appended before stay.
    """
    summary = ImportSummary()
    source_lines = repair_lines(lines, summary) if repair else lines
    blocks = identify_blocks(inbound.origin(appender.vault), source_lines, summary, quarantine=quarantine)
    block = next(blocks, None)
    while block is not None:
        batch = await appender.prepare(block)
        outcomes, following = await asyncio.gather(appender.append(batch), asyncio.to_thread(next, blocks, None))
        count_outcomes(summary, block, outcomes)
        report_summary(summary)
        block = following
    return summary


def repair_lines(lines: Iterator[DeliveryLine], summary: ImportSummary) -> Iterator[DeliveryLine]:
    """Repair deliveries that are not JSON, and count the repairs."""
    for line in lines:
        repaired = repair_json(line.body) if line.body is not None else None
        if repaired is None:
            yield line
            continue
        summary.repaired_lines += 1
        summary.repaired_places.update(repaired.places)
        yield from unpack_arrays(DeliveryLine(line.number, repaired.text))


def identify_blocks(
    origin: Origin, lines: Iterator[DeliveryLine], summary: ImportSummary, *, quarantine: bool = False
) -> Iterator[list[Delivery]]:
    """Identify deliveries, and yield them in blocks of limited number and size. Unreadable ones are counted, and left
    out unless `quarantine` is set.
    """
    block: list[Delivery] = []
    events = size = persons = 0
    for number, body in lines:
        if body is None:
            summary.too_long.append(number)
            continue
        delivery = identify(origin, body)
        if delivery.events[0].kind == UNREADABLE:
            summary.unreadable += 1
            summary.unreadable_lines = [*summary.unreadable_lines, number][:LINE_NUMBERS_SHOWN_MAX]
            if not quarantine:
                summary.lines += 1
                continue
        else:
            summary.kinds.update(event.kind for event in delivery.events)
        block.append(delivery)
        events += len(delivery.events)
        size += len(body)
        persons += len(delivery.parts)
        is_large = events >= EVENTS_PER_BLOCK_MAX or size >= BYTES_PER_BLOCK_MAX or persons >= PERSONS_PER_BLOCK_MAX
        if len(block) == LINES_PER_BLOCK_MAX or is_large:
            yield block
            block = []
            events = size = persons = 0
    if block:
        yield block


def count_outcomes(
    summary: ImportSummary, block: Sequence[Delivery], appended: Sequence[Sequence[AppendResult]]
) -> None:
    """Add the outcomes of a block to the summary."""
    outcomes = [result.outcome for delivered in appended for result in delivered]
    summary.lines += len(block)
    summary.appended += outcomes.count("appended")
    summary.duplicates += outcomes.count("duplicate")
    summary.conflicts += outcomes.count("conflict")
