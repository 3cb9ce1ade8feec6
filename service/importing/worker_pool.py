"""Imports with several processes: each identifies and encrypts a block of lines, then appends it in turn.

Blocks are distributed and appended in order. So positions follow the file for any number of workers. A second import of
the file gives the same result. At most two blocks for each worker are in memory. Workers end when the parent process
ends.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

import uvloop

from ledger.gc_tuning import freeze_loaded_objects
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store.registry import InboundConnection
from ledger.worker_process import WorkerProcess
from service.importing.block_appender import BlockAppender
from service.importing.deliveries import (
    BYTES_PER_BLOCK_MAX,
    LINES_PER_BLOCK_MAX,
    ImportSummary,
    count_outcomes,
    identify_blocks,
    repair_lines,
)
from service.importing.split import DeliveryLine


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

    Raises Unavailable if the database stays away; blocks appended before stay.
    """
    summary = ImportSummary()
    with ExitStack() as started:
        processes = [started.enter_context(_worker(task)) for _ in range(workers)]
        busy: deque[WorkerProcess] = deque()
        for number, block in enumerate(_blocks_of_lines(lines, summary)):
            if len(busy) == workers:
                _take_turn(busy.popleft(), summary, report_summary)
            worker = processes[number % workers]
            worker.send(block)
            busy.append(worker)
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


def _take_turn(worker: WorkerProcess, summary: ImportSummary, report_summary: Callable[[ImportSummary], None]) -> None:
    """Let the worker with the next block append it, and add the outcomes to the summary."""
    worker.receive()  # the block is prepared
    worker.send(None)
    summary.add(worker.receive())
    report_summary(summary)


@contextmanager
def _worker(task: ImportTask) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(_work, task)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def _work(pipe: Pipe, task: ImportTask) -> None:
    freeze_loaded_objects()
    uvloop.run(_append_blocks(pipe, task))


async def _append_blocks(pipe: Pipe, task: ImportTask) -> None:
    """Prepare each block when it arrives, and append it on a signal from the parent."""
    vault = Vault(task.master_key)
    origin = task.inbound.origin(vault)
    async with BlockAppender(task.dsn, vault, task.inbound.ledger.ledger_id) as appender:
        while True:
            lines: list[DeliveryLine] = await asyncio.to_thread(pipe.recv)
            summary = ImportSummary()
            repaired = repair_lines(iter(lines), summary) if task.repair else iter(lines)
            blocks = list(identify_blocks(origin, repaired, summary, quarantine=task.quarantine))
            prepared = [await appender.prepare(block) for block in blocks]
            pipe.send(summary)
            await asyncio.to_thread(pipe.recv)
            for batch in prepared:
                count_outcomes(summary, batch.deliveries, await appender.append(batch))
            pipe.send(summary)
