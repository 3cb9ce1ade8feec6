"""Worker processes of a rebuild. Each has a connection and an event loop of its own.

Invariant: no worker outlives the process that started it. Each worker holds the reading end of a pipe. Only the parent
holds the other end. When the parent closes it or dies, the worker exits at once. PostgreSQL then rolls back the work
item.
"""

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import NamedTuple, Self

import uvloop

from ledger.database import Connection, connect
from ledger.errors import WorkersLost
from projections.engine.binary_codecs import register_binary_codecs
from projections.rebuild import work_items
from projections.rebuild.work_items import Task, WorkItem

NICENESS = 10  # workers give way to readers and deliveries
FAILED_ROUNDS_MAX = 3  # rounds in a row in which workers died and no item was done

SET_SESSION = """
    SELECT set_config('synchronous_commit', 'off', false), set_config('maintenance_work_mem', '64MB', false),
           set_config('work_mem', '32MB', false)
"""

OnItemDone = Callable[[int], None]  # called with the size of the item


class WorkerState(NamedTuple):
    """The connection, event loop and tasks of a worker process."""

    runner: asyncio.Runner
    connection: Connection
    tasks: dict[str, Task]


class WorkerPool:
    """Workers on one generation. With `workers` 1, the calling process does the work."""

    def __init__(self, dsn: str, schema: str, tasks: dict[str, Task], workers: int) -> None:
        self._dsn, self._schema, self._tasks, self._workers = dsn, schema, tasks, workers
        self._connection: Connection | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._lifeline: Pipe | None = None

    async def __aenter__(self) -> Self:
        self._connection = await open_connection(self._dsn, self._schema)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stop()
        assert self._connection is not None
        await self._connection.close()

    async def do(self, stage: str, on_done: OnItemDone) -> None:
        """Process all undone items of a stage. A worker that dies is replaced, and its item is processed again.

        Raises WorkersLost if workers die FAILED_ROUNDS_MAX times in a row without progress. Also raises any error of an
        item.
        """
        assert self._connection is not None
        failed_rounds = 0
        while items := await work_items.read_undone_items(self._connection, stage):
            if self._workers <= 1:
                for item in items:
                    await work_items.process_item(self._connection, stage, item.number, self._tasks[stage])
                    on_done(item.size)
                continue
            try:
                await self._process_in_parallel(stage, items, on_done)
            except BrokenProcessPool:
                self._stop()
                failed_rounds = (
                    failed_rounds + 1
                    if len(await work_items.read_undone_items(self._connection, stage)) == len(items)
                    else 0
                )
                if failed_rounds == FAILED_ROUNDS_MAX:
                    raise WorkersLost(stage) from None

    async def _process_in_parallel(self, stage: str, items: Sequence[WorkItem], on_done: OnItemDone) -> None:
        pool = self._pool or self._start()
        loop = asyncio.get_running_loop()
        futures = {loop.run_in_executor(pool, _process_item, stage, item.number): item for item in items}
        try:
            waiting = set(futures)
            while waiting:
                finished, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    on_done(futures[future].size)
        finally:
            for future in futures:
                future.cancel()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        worker_end, self._lifeline = context.Pipe(duplex=False)
        arguments = (worker_end, self._dsn, self._schema, self._tasks)
        self._pool = ProcessPoolExecutor(self._workers, context, initializer=_init_worker, initargs=arguments)
        return self._pool

    def _stop(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


async def open_connection(dsn: str, schema: str) -> Connection:
    """Connect with settings for bulk writes. Commits are asynchronous, because a lost work item is processed again."""
    connection = await connect(dsn, search_path=schema)
    await connection.execute(SET_SESSION)
    await register_binary_codecs(connection)
    return connection


_worker_state: WorkerState | None = None  # set only in a worker process


def _init_worker(lifeline: Pipe, dsn: str, schema: str, tasks: dict[str, Task]) -> None:
    """Set up a worker process. It ignores Ctrl-C, which the parent handles."""
    global _worker_state
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=_exit_with_parent, args=(lifeline,), daemon=True).start()
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    _worker_state = WorkerState(runner, runner.run(open_connection(dsn, schema)), tasks)
    gc.freeze()
    gc.disable()


def _exit_with_parent(lifeline: Pipe) -> None:
    lifeline.poll(None)
    os._exit(1)


def _process_item(stage: str, number: int) -> None:
    assert _worker_state is not None
    _worker_state.runner.run(
        work_items.process_item(_worker_state.connection, stage, number, _worker_state.tasks[stage])
    )
    gc.collect()
