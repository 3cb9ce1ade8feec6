"""Import by several processes: each identifies and seals a block of lines, and appends it when its turn has come.

Blocks are handed out in turn and appended in turn, so positions follow the file however many workers there are, and a
file that was imported again or in part means the same. The one who hands out holds two blocks a worker at most, so
memory does not grow with the file. Workers end when who started them does.
"""

import asyncio
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

import uvloop

from ledger.database import connect
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store.append import append_batch, prepare_append
from ledger.store.registry import InboundConnection
from service.gc_tuning import freeze_loaded_objects
from service.importing.deliveries import (
    BYTES_PER_BLOCK_MAX,
    LINES_PER_BLOCK_MAX,
    ImportSummary,
    count_outcomes,
    identify_blocks,
    repair_lines,
)
from service.importing.split import DeliveryLine

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0


class ImportTask(NamedTuple):
    """What a worker needs to know."""

    dsn: str
    master_key: MasterKey
    inbound: InboundConnection
    mending: bool = False
    quarantine: bool = False


def import_by_workers(
    task: ImportTask, lines: Iterator[DeliveryLine], tell: Callable[[ImportSummary], None], workers: int
) -> ImportSummary:
    """Append what the lines say, and tell after each block how it stands.

    Raises LedgerUnavailable: what was appended until then stays.
    """
    summary = ImportSummary()
    with ExitStack() as started:
        pipes = [started.enter_context(_worker(task)) for _ in range(workers)]
        busy: deque[Pipe] = deque()
        for number, block in enumerate(_blocks_of_lines(lines, summary)):
            pipe = pipes[number % workers]
            if len(busy) == workers:
                _take_turn(busy.popleft(), summary, tell)
            _send(pipe, block)
            busy.append(pipe)
        while busy:
            _take_turn(busy.popleft(), summary, tell)
    return summary


def _blocks_of_lines(lines: Iterator[DeliveryLine], summary: ImportSummary) -> Iterator[list[DeliveryLine]]:
    block, size = list[DeliveryLine](), 0
    for line in lines:
        if line.body is None:
            summary.too_long.append(line.number)
            continue
        block.append(line)
        size += len(line.body)
        if len(block) == LINES_PER_BLOCK_MAX or size >= BYTES_PER_BLOCK_MAX:
            yield block
            block, size = [], 0
    if block:
        yield block


def _take_turn(pipe: Pipe, summary: ImportSummary, tell: Callable[[ImportSummary], None]) -> None:
    """Let the worker whose block is next append it; add to the summary what became of it."""
    _receive(pipe)  # it is ready
    _send(pipe, None)
    summary.add(_receive(pipe))
    tell(summary)


def _send(pipe: Pipe, block: list[DeliveryLine] | None) -> None:
    with suppress(OSError):  # it has died: what it said last is received
        pipe.send(block)


def _receive(pipe: Pipe) -> ImportSummary:
    try:
        answer: ImportSummary | LedgerError = pipe.recv()
    except (EOFError, OSError):
        raise LedgerUnavailable("a worker has died") from None
    if isinstance(answer, LedgerError):
        raise answer
    return answer


@contextmanager
def _worker(task: ImportTask) -> Iterator[Pipe]:
    """Run a worker, and see that it has ended."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, task), daemon=True)
    process.start()
    theirs.close()
    with closing(ours):
        try:
            yield ours
        finally:
            ours.close()  # it ends at once, or after the block that it is appending
            process.join(STOP_SECONDS_MAX)
            process.kill()


def _work(pipe: Pipe, task: ImportTask) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us hears it too, and closes the pipe
    freeze_loaded_objects()
    try:
        uvloop.run(_append_blocks(pipe, task))
    except (EOFError, OSError):  # nobody is at the other end any more
        pass
    except LedgerError as error:
        pipe.send(error)
    except Exception as error:  # what it says may quote a row
        pipe.send(LedgerUnavailable(type(error).__name__))


async def _append_blocks(pipe: Pipe, task: ImportTask) -> None:
    """Identify and seal each block as it comes, and append it when told to."""
    vault = Vault(task.master_key)
    origin, ledger_id = task.inbound.origin(vault), task.inbound.ledger.ledger_id
    connection = await connect(task.dsn)
    while True:
        lines: list[DeliveryLine] = await asyncio.to_thread(pipe.recv)
        summary = ImportSummary()
        told = repair_lines(iter(lines), summary) if task.mending else iter(lines)
        blocks = list(identify_blocks(origin, told, summary, quarantine=task.quarantine))
        arranged = [await prepare_append(connection, vault, ledger_id, block) for block in blocks]
        pipe.send(summary)
        await asyncio.to_thread(pipe.recv)
        for one in arranged:
            count_outcomes(summary, one.deliveries, await append_batch(connection, vault, one))
        pipe.send(summary)
