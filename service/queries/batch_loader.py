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

    def __init__(self, readers: ReaderPool, statement: str, name_column: str) -> None:
        self._readers = readers
        self._statement = statement
        self._name_column = name_column
        self._asked: dict[int, Lookups] = {}
        self._reading: set[asyncio.Task[None]] = set()

    async def load(self, ledger_id: int, name: str) -> asyncpg.Record | None:
        """Return the row of a name, or None if there is none. Raises the errors of the statement."""
        loop = asyncio.get_running_loop()
        if ledger_id not in self._asked:
            self._asked[ledger_id] = []
            loop.call_soon(self._begin, ledger_id)  # after all look-ups of this iteration
        answer: asyncio.Future[asyncpg.Record | None] = loop.create_future()
        self._asked[ledger_id].append((name, answer))
        return await answer

    def _begin(self, ledger_id: int) -> None:
        reading = asyncio.create_task(self._read(ledger_id, self._asked.pop(ledger_id)))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)

    async def _read(self, ledger_id: int, asked: Lookups) -> None:
        try:
            rows = await self._rows(ledger_id, list({name for name, _ in asked}))
        except Exception as error:
            for _, answer in asked:
                if not answer.done():  # the caller may have left
                    answer.set_exception(error)
            return
        of = {row[self._name_column]: row for row in rows}
        for name, answer in asked:
            if not answer.done():
                answer.set_result(of.get(name))

    async def _rows(self, ledger_id: int, names: Sequence[str]) -> Sequence[asyncpg.Record]:
        async with self._readers.acquire() as connection:
            await connection.confine(ledger_id)
            rows: Sequence[asyncpg.Record] = await connection.fetch(self._statement, ledger_id, names)
            return rows
