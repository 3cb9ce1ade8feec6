"""Workers of a rebuild on this host: this process alone, or processes with a connection and an event loop each."""

import asyncio
import gc
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe

import uvloop

from ledger import spans
from ledger.database import Connection
from ledger.worker_process import WorkerProcess
from projections.rebuild import work_items
from projections.rebuild.work_items import Task, WorkItem
from projections.rebuild.workers import OnItemDone, Workers, open_connection

NICENESS = 10  # workers give way to readers and deliveries


def local_workers(dsn: str, schema: str, tasks: dict[str, Task], count: int) -> Workers:
    """Return `count` workers on this host. With 1, the calling process does the work."""
    return ThisProcess(dsn, schema, tasks) if count <= 1 else LocalProcesses(dsn, schema, tasks, count)


class ThisProcess:
    """The calling process as the only worker."""

    def __init__(self, dsn: str, schema: str, tasks: dict[str, Task]) -> None:
        self._dsn, self._schema, self._tasks = dsn, schema, tasks
        self._connection: Connection | None = None

    async def process(self, stage: str, items: Sequence[WorkItem], on_done: OnItemDone) -> None:
        """Process the items one after the other."""
        if self._connection is None:
            self._connection = await open_connection(self._dsn, self._schema)
        for item in items:
            with spans.span("rebuild part", stage=stage, number=item.number, size=item.size):
                is_done_here = await work_items.process_item(self._connection, stage, item.number, self._tasks[stage])
            if is_done_here:
                on_done(item)

    async def stop(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class LocalProcesses:
    """Worker processes of this host. Each takes the next item when it has finished one."""

    def __init__(self, dsn: str, schema: str, tasks: dict[str, Task], count: int) -> None:
        self._arguments = (dsn, schema, tasks)
        self._count = count
        self._processes: list[WorkerProcess] = []

    async def process(self, stage: str, items: Sequence[WorkItem], on_done: OnItemDone) -> None:
        """Process the items in parallel. Raises WorkerEnded."""
        waiting = iter(items)

        async def feed(worker: WorkerProcess) -> None:
            for item in waiting:
                with spans.span("rebuild part", stage=stage, number=item.number, size=item.size):
                    is_done_here = await worker.call((stage, item.number))
                if is_done_here:
                    on_done(item)

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
        self._processes = [WorkerProcess(process_items, *self._arguments) for _ in range(self._count)]
        await asyncio.gather(*(asyncio.to_thread(worker.start) for worker in self._processes))

    async def stop(self) -> None:
        """End the processes."""
        processes, self._processes = self._processes, []
        await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in processes))


def process_items(pipe: Pipe, dsn: str, schema: str, tasks: dict[str, Task]) -> None:
    """Process the work items whose stage and number the parent sends. Answer with the result of `process_item`, or
    with an error."""
    os.nice(NICENESS)
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        connection = runner.run(open_connection(dsn, schema))
        while True:
            stage, number = pipe.recv()
            try:
                is_done_here = runner.run(work_items.process_item(connection, stage, number, tasks[stage]))
            except Exception as error:
                pipe.send(error)
            else:
                pipe.send(is_done_here)
            gc.collect()
