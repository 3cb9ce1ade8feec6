"""Worker processes of a rebuild. Each has a connection and an event loop of its own.

A worker that ends leaves its work item undone, because PostgreSQL rolls its transaction back.
"""

import asyncio
import gc
import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import Self

import uvloop

from ledger import spans
from ledger.database import Connection, connect
from ledger.errors import WorkerEnded, WorkersLost
from ledger.worker_process import WorkerProcess
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


class WorkerPool:
    """Workers on one generation. With `workers` 1, the calling process does the work."""

    def __init__(self, dsn: str, schema: str, tasks: dict[str, Task], workers: int) -> None:
        self._dsn, self._schema, self._tasks, self._workers = dsn, schema, tasks, workers
        self._connection: Connection | None = None
        self._processes: list[WorkerProcess] = []

    async def __aenter__(self) -> Self:
        self._connection = await open_connection(self._dsn, self._schema)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stop()
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
                    with spans.span("rebuild part", stage=stage, number=item.number, size=item.size):
                        await work_items.process_item(self._connection, stage, item.number, self._tasks[stage])
                    on_done(item.size)
                continue
            try:
                await self._process_in_parallel(stage, items, on_done)
            except WorkerEnded:
                await self._stop()
                failed_rounds = (
                    failed_rounds + 1
                    if len(await work_items.read_undone_items(self._connection, stage)) == len(items)
                    else 0
                )
                if failed_rounds == FAILED_ROUNDS_MAX:
                    raise WorkersLost(stage) from None

    async def _process_in_parallel(self, stage: str, items: Sequence[WorkItem], on_done: OnItemDone) -> None:
        waiting = iter(items)

        async def feed(worker: WorkerProcess) -> None:
            for item in waiting:
                with spans.span("rebuild part", stage=stage, number=item.number, size=item.size):
                    await worker.call((stage, item.number))
                on_done(item.size)

        if not self._processes:
            await self._start()
        feeding = [asyncio.create_task(feed(worker)) for worker in self._processes]
        try:
            await asyncio.gather(*feeding)
        finally:
            for task in feeding:
                task.cancel()
            await asyncio.wait(feeding)

    async def _start(self) -> None:
        arguments = (process_items, self._dsn, self._schema, self._tasks)
        self._processes = [WorkerProcess(*arguments) for _ in range(self._workers)]
        await asyncio.gather(*(asyncio.to_thread(worker.start) for worker in self._processes))

    async def _stop(self) -> None:
        processes, self._processes = self._processes, []
        await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in processes))


async def open_connection(dsn: str, schema: str) -> Connection:
    """Connect with settings for bulk writes. Commits are asynchronous, because a lost work item is processed again."""
    connection = await connect(dsn, search_path=schema)
    await connection.execute(SET_SESSION)
    await register_binary_codecs(connection)
    return connection


def process_items(pipe: Pipe, dsn: str, schema: str, tasks: dict[str, Task]) -> None:
    """Process the work items whose stage and number the parent sends. Each is answered by None or an error."""
    os.nice(NICENESS)
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        connection = runner.run(open_connection(dsn, schema))
        while True:
            stage, number = pipe.recv()
            try:
                runner.run(work_items.process_item(connection, stage, number, tasks[stage]))
            except Exception as error:
                pipe.send(error)
            else:
                pipe.send(None)
            gc.collect()
