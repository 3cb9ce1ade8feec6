"""Batch loader. Look-ups requested in the same event-loop iteration are answered by one SQL statement.

A look-up under load then costs a fraction of its cost alone. A single look-up is not delayed.
"""

import asyncio
from collections.abc import Sequence

import asyncpg

from service.queries.reader_pool import ReaderPool

Lookups = list[tuple[str, "asyncio.Future[asyncpg.Record | None]"]]


class BatchLoader:
    """Loads rows by name, one statement for each ledger.

    The statement takes a ledger and an array of names. It returns at most one row for each name, with the name in the
    column `name_column`.
    """

    def __init__(self, reader_pool: ReaderPool, statement: str, name_column: str) -> None:
        self._reader_pool = reader_pool
        self._statement = statement
        self._name_column = name_column
        self._waiting: dict[int, Lookups] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, ledger_id: int, name: str) -> asyncpg.Record | None:
        """Return the row of a name, or None if there is none. Raises the errors of the statement."""
        loop = asyncio.get_running_loop()
        if ledger_id not in self._waiting:
            self._waiting[ledger_id] = []
            loop.call_soon(self._start, ledger_id)  # after all look-ups of this iteration
        future: asyncio.Future[asyncpg.Record | None] = loop.create_future()
        self._waiting[ledger_id].append((name, future))
        return await future

    def _start(self, ledger_id: int) -> None:
        task = asyncio.create_task(self._answer(ledger_id, self._waiting.pop(ledger_id)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, ledger_id: int, lookups: Lookups) -> None:
        try:
            rows = await self._load_rows(ledger_id, list({name for name, _ in lookups}))
        except Exception as error:
            for _, future in lookups:
                if not future.done():  # the caller may have left
                    future.set_exception(error)
            return
        row_by_name = {row[self._name_column]: row for row in rows}
        for name, future in lookups:
            if not future.done():
                future.set_result(row_by_name.get(name))

    async def _load_rows(self, ledger_id: int, names: Sequence[str]) -> Sequence[asyncpg.Record]:
        async with self._reader_pool.acquire() as connection:
            await connection.confine(ledger_id)
            rows: Sequence[asyncpg.Record] = await connection.fetch(self._statement, ledger_id, names)
            return rows
