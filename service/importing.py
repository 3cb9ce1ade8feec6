"""Import history: each line of a file is a delivery, appended in blocks the same way as what comes in by the door.

A line that is there already is a duplicate and changes nothing, so an import that broke off is resumed by running it
again. A file that holds one document printed over several lines is one delivery.

A line that is not JSON is stored as it is and quarantined. On request it is mended first by the rules of mending.py;
then the mended text is what is appended, because no vendor ever sent the other: what spoilt it came after them.
"""

import asyncio
import gzip
import io
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from ledger.append import Appended, append
from ledger.database import Connection
from ledger.identify import UNREADABLE, Delivery, Origin, identify
from ledger.reading import BODY_BYTES_MAX
from ledger.registry import InboundConnection
from ledger.vault import Vault
from service.mending import is_json, mend

if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd

LINES_PER_BLOCK_MAX = 1_000
EVENTS_PER_BLOCK_MAX = 4_000
BYTES_PER_BLOCK_MAX = 16 * 1024 * 1024


class Line(NamedTuple):
    """One line with something on it; `body` is None where it is longer than a delivery may be."""

    number: int  # from 1
    body: bytes | None


@dataclass(slots=True)
class Summary:
    """What became of a file's events; `unreadable` ones are appended too, and quarantined."""

    lines: int = 0
    appended: int = 0
    duplicates: int = 0
    conflicts: int = 0
    unreadable: int = 0
    too_long: list[int] = field(default_factory=list)  # the numbers of lines that could not be stored
    mended_lines: int = 0
    mended_places: Counter[str] = field(default_factory=Counter)  # by rule

    def add(self, other: "Summary") -> None:
        """Add what became of other lines."""
        self.lines += other.lines
        self.appended += other.appended
        self.duplicates += other.duplicates
        self.conflicts += other.conflicts
        self.unreadable += other.unreadable
        self.too_long += other.too_long
        self.mended_lines += other.mended_lines
        self.mended_places += other.mended_places


def open_file(path: Path, raw: BinaryIO) -> BinaryIO:
    """Unpack an opened file by its ending."""
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(raw))
    if path.suffix == ".zst":
        return cast(BinaryIO, zstd.open(raw))
    return raw


def is_damage(error: Exception) -> bool:
    """Say whether an error means that a packed file is broken or breaks off."""
    return isinstance(error, EOFError | gzip.BadGzipFile | zlib.error | zstd.ZstdError)


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """Read the lines of a file, empty ones aside; one whole document over several lines counts as one.

    Memory is bounded: what is longer than a delivery may be is skipped over.
    """
    head = file.read(BODY_BYTES_MAX + 1)
    if len(head) <= BODY_BYTES_MAX and is_one_document(head):
        yield Line(1, head.strip())
        return
    beginning = io.BytesIO(head)

    def read_line(limit: int) -> bytes:
        line = beginning.readline(limit)
        return line if line.endswith(b"\n") else line + file.readline(limit - len(line))

    number = 0
    while line := read_line(BODY_BYTES_MAX + len(b"\r\n")):
        number += 1
        body = line.rstrip(b"\r\n")
        while not line.endswith(b"\n") and (line := read_line(BODY_BYTES_MAX)):
            body += line if len(body) <= BODY_BYTES_MAX else b""
        if len(body) > BODY_BYTES_MAX:
            yield Line(number, None)
        elif not body.isspace() and body:
            yield Line(number, body)


def is_one_document(text: bytes) -> bool:
    """Say whether a text is one document over several lines, sound or broken, rather than a document a line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or is_json(lines[0]):
        return False
    return is_json(text) or not any(line.lstrip()[:1] in (b"{", b"[") and is_json(line) for line in lines[1:])


async def import_lines(
    connection: Connection,
    vault: Vault,
    inbound: InboundConnection,
    lines: Iterator[Line],
    tell: Callable[[Summary], None],
    *,
    mending: bool = False,
) -> Summary:
    """Append what the lines say, and tell after each block how it stands; with `mending`, mend lines that are not JSON.

    While the database writes one block, the next is read and identified. Raises LedgerUnavailable: what was appended
    until then stays.
    """
    summary = Summary()
    blocks = identified(inbound.origin(vault), mended(lines, summary) if mending else lines, summary)
    block = next(blocks, None)
    while block is not None:
        writing = append(connection, vault, inbound.ledger.ledger_id, block)
        outcomes, following = await asyncio.gather(writing, asyncio.to_thread(next, blocks, None))
        count(summary, block, outcomes)
        tell(summary)
        block = following
    return summary


def mended(lines: Iterator[Line], summary: Summary) -> Iterator[Line]:
    """Mend the lines that are not JSON, and count what that took."""
    for line in lines:
        sound = mend(line.body) if line.body is not None else None
        if sound is None:
            yield line
            continue
        summary.mended_lines += 1
        summary.mended_places.update(sound.places)
        yield line._replace(body=sound.text)


def identified(origin: Origin, lines: Iterator[Line], summary: Summary) -> Iterator[list[Delivery]]:
    """Identify lines, and cut them into blocks that are neither too many nor too large."""
    block: list[Delivery] = []
    events = size = 0
    for number, body in lines:
        if body is None:
            summary.too_long.append(number)
            continue
        delivery = identify(origin, body)
        block.append(delivery)
        events += len(delivery.drafts)
        size += len(body)
        if len(block) == LINES_PER_BLOCK_MAX or events >= EVENTS_PER_BLOCK_MAX or size >= BYTES_PER_BLOCK_MAX:
            yield block
            block = []
            events = size = 0
    if block:
        yield block


def count(summary: Summary, block: Sequence[Delivery], appended: Sequence[Sequence[Appended]]) -> None:
    """Add up what became of a block."""
    outcomes = [one.outcome for delivered in appended for one in delivered]
    summary.lines += len(block)
    summary.appended += outcomes.count("appended")
    summary.duplicates += outcomes.count("duplicate")
    summary.conflicts += outcomes.count("conflict")
    kinds = (draft.kind for delivery in block for draft in delivery.drafts)
    summary.unreadable += sum(kind == UNREADABLE for kind in kinds)
