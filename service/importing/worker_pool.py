"""Imports with several processes: each identifies and encrypts a block of lines, then appends it in turn.

Blocks are distributed and appended in order. So positions follow the file for any number of workers. A second import of
the file gives the same result. At most two blocks for each worker are in memory. Workers end when the parent process
ends.
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

STOP_SECONDS_MAX = 20.0


class ImportTask(NamedTuple):
    """Settings of a worker."""

    dsn: str
    master_key: MasterKey
    inbound: InboundConnection
    repair: bool = False
    quarantine: bool = False


def import_by_workers(
    task: ImportTask, lines: Iterator[DeliveryLine], report_summary: Callable[[ImportSummary], None], workers: int
) -> ImportSummary:
    """Append the deliveries of all lines, and report the summary after each block.

    Raises LedgerUnavailable; blocks appended before stay.
    """
    summary = ImportSummary()
    with ExitStack() as started:
        pipes = [started.enter_context(_worker(task)) for _ in range(workers)]
        busy: deque[Pipe] = deque()
        for number, block in enumerate(_blocks_of_lines(lines, summary)):
            pipe = pipes[number % workers]
            if len(busy) == workers:
                _take_turn(busy.popleft(), summary, report_summary)
            _send(pipe, block)
            busy.append(pipe)
        while busy:
            _take_turn(busy.popleft(), summary, report_summary)
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


def _take_turn(pipe: Pipe, summary: ImportSummary, report_summary: Callable[[ImportSummary], None]) -> None:
    """Let the worker with the next block append it, and add the outcomes to the summary."""
    _receive(pipe)  # the block is prepared
    _send(pipe, None)
    summary.add(_receive(pipe))
    report_summary(summary)


def _send(pipe: Pipe, block: list[DeliveryLine] | None) -> None:
    with suppress(OSError):  # the worker has died: its last message is received
        pipe.send(block)


def _receive(pipe: Pipe) -> ImportSummary:
    try:
        answer: ImportSummary | LedgerError = pipe.recv()
    except (EOFError, OSError):
        raise LedgerUnavailable("a worker process has died") from None
    if isinstance(answer, LedgerError):
        raise answer
    return answer


@contextmanager
def _worker(task: ImportTask) -> Iterator[Pipe]:
    """Run a worker process, and make sure that it ends."""
    context = multiprocessing.get_context("spawn")
    parent_end, worker_end = context.Pipe()
    process = context.Process(target=_work, args=(worker_end, task), daemon=True)
    process.start()
    worker_end.close()
    with closing(parent_end):
        try:
            yield parent_end
        finally:
            parent_end.close()  # the worker ends at once, or after its current block
            process.join(STOP_SECONDS_MAX)
            process.kill()


def _work(pipe: Pipe, task: ImportTask) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets the signal too, and closes the pipe
    freeze_loaded_objects()
    try:
        uvloop.run(_append_blocks(pipe, task))
    except (EOFError, OSError):  # the parent has closed the pipe
        pass
    except LedgerError as error:
        pipe.send(error)
    except Exception as error:  # its message may quote a row
        pipe.send(LedgerUnavailable(type(error).__name__))


async def _append_blocks(pipe: Pipe, task: ImportTask) -> None:
    """Prepare each block when it arrives, and append it on a signal from the parent."""
    vault = Vault(task.master_key)
    origin, ledger_id = task.inbound.origin(vault), task.inbound.ledger.ledger_id
    connection = await connect(task.dsn)
    while True:
        lines: list[DeliveryLine] = await asyncio.to_thread(pipe.recv)
        summary = ImportSummary()
        repaired = repair_lines(iter(lines), summary) if task.repair else iter(lines)
        blocks = list(identify_blocks(origin, repaired, summary, quarantine=task.quarantine))
        prepared = [await prepare_append(connection, vault, ledger_id, block) for block in blocks]
        pipe.send(summary)
        await asyncio.to_thread(pipe.recv)
        for batch in prepared:
            count_outcomes(summary, batch.deliveries, await append_batch(connection, vault, batch))
        pipe.send(summary)
