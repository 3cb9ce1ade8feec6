"""Process the work items of a rebuild by workers: this process, processes of this host, or those of a cluster.

A worker that ends leaves its work item undone, because PostgreSQL rolls its transaction back. Another worker then
processes the item. Other hosts may process items of the same rebuild at the same time (join.py).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from ledger.database import Connection, connect
from ledger.errors import WorkerEnded, WorkersLost
from projections.engine.binary_codecs import register_binary_codecs
from projections.rebuild import work_items
from projections.rebuild.work_items import WorkItem

FAILED_ROUNDS_MAX = 3  # rounds in a row in which workers died and no item was done
OTHERS_WAIT_SECONDS = 0.2  # until items are tried again that other hosts are processing

# A host that vanished is noticed after a minute. Until then its sessions hold their work items locked.
SET_SESSION = """
    SELECT set_config('synchronous_commit', 'off', false), set_config('maintenance_work_mem', '64MB', false),
           set_config('work_mem', '32MB', false), set_config('tcp_keepalives_idle', '30', false),
           set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '3', false)
"""

OnItemDone = Callable[[WorkItem], None]
OnSizeDone = Callable[[int], None]  # called with the size of a finished item


class Workers(Protocol):
    """The workers of one rebuild."""

    async def process(self, stage: str, items: Sequence[WorkItem], on_done: OnItemDone) -> None:
        """Process each item that is undone and that no other worker is processing. Call `on_done` for each of them.

        Raises WorkerEnded if a worker died. Also raises any error of an item.
        """

    async def stop(self) -> None:
        """End the workers. The next call of `process` starts others."""


async def process_stage(connection: Connection, workers: Workers, stage: str, on_done: OnSizeDone) -> int:
    """Process all undone items of a stage, and wait for those that other hosts are processing. Return the number of
    items that these workers have processed.

    A worker that dies is replaced, and its item is processed again. Raises WorkersLost if workers die FAILED_ROUNDS_MAX
    times in a row without progress. Also raises any error of an item.
    """
    processed = failed_rounds = 0
    items = await work_items.read_undone_items(connection, stage)
    while items:
        done_here = set[WorkItem]()

        def report(item: WorkItem, done_here: set[WorkItem] = done_here) -> None:
            done_here.add(item)
            on_done(item.size)

        has_lost_worker = False
        try:
            await workers.process(stage, items, report)
        except WorkerEnded:
            has_lost_worker = True
            await workers.stop()
        undone = await work_items.read_undone_items(connection, stage)
        for item in set(items) - set(undone) - done_here:  # another host has done it
            on_done(item.size)
        failed_rounds = failed_rounds + 1 if has_lost_worker and len(undone) == len(items) else 0
        if failed_rounds == FAILED_ROUNDS_MAX:
            raise WorkersLost(stage)
        if undone and not has_lost_worker:
            await asyncio.sleep(OTHERS_WAIT_SECONDS)
        processed += len(done_here)
        items = undone
    return processed


async def open_connection(dsn: str, schema: str) -> Connection:
    """Connect with settings for bulk writes. Commits are asynchronous, because a lost work item is processed again."""
    connection = await connect(dsn, search_path=schema)
    await connection.execute(SET_SESSION)
    await register_binary_codecs(connection)
    return connection
