"""Process large bodies in a process of its own, so that they do not delay the event loop.

Parsing the largest body, and searching it for personal values, may take almost a second. On a thread, each switch of
the interpreter lock would delay each step of the event loop by milliseconds. The process starts with the first large
body, and has a lower priority than the service. Small bodies, most of all, are processed by the event loop, in turns.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection as Pipe
from typing import ParamSpec, TypeVar

from ledger.errors import LedgerReadsTooMany, LedgerUnavailable
from ledger.worker_process import become_worker
from service.api.requests.loop_turns import BYTES_PER_TURN, LoopTurns
from service.api.requests.request_shares import RequestShares

BYTES_AT_ONCE_MAX = BYTES_PER_TURN  # the largest published body has 13 KB
WAITING_PER_LEDGER_MAX = 32  # each may hold a body of 1 MiB
WAIT_SECONDS_MAX = 5.0
NICENESS = 10  # the process gives way to the service

P = ParamSpec("P")
T = TypeVar("T")


class LargeBodyWorker:
    """One process that ledgers use in turn. So large bodies of one ledger do not delay another ledger's bodies."""

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._lifeline: Pipe | None = None  # the process ends when it is closed
        self._of_ledger = RequestShares(1, WAITING_PER_LEDGER_MAX, WAIT_SECONDS_MAX)
        self._loop_turns = LoopTurns()
        self._turn = asyncio.Lock()  # first come, first served; each ledger waits with at most one body

    async def work_on(
        self, ledger_id: int, body: bytes, work: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Call `work` with the arguments: in the process if the body is large. Then all of them must be picklable.

        Raises the errors of `work`. Raises LedgerUnavailable if too many large bodies of the ledger wait, or if the
        process ended before its answer.
        """
        if len(body) <= BYTES_AT_ONCE_MAX:
            async with self._loop_turns.take(ledger_id, len(body)):
                return work(*arguments, **named)
        try:
            async with AsyncExitStack() as places:
                await places.enter_async_context(self._of_ledger.take(ledger_id))
                await places.enter_async_context(self._turn)
                return await self._call(work, *arguments, **named)
        except LedgerReadsTooMany:
            raise LedgerUnavailable("too many large bodies wait") from None

    async def _call(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        executor = self._executor or self._start()
        try:
            return await asyncio.wrap_future(executor.submit(work, *arguments, **named))
        except BrokenProcessPool:
            self.close()
            raise LedgerUnavailable("the process for large bodies ended") from None

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        worker_end, self._lifeline = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(1, context, initializer=_init_worker, initargs=(worker_end,))
        return self._executor

    def close(self) -> None:
        """End the process at once. The next large body starts another."""
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


def _init_worker(lifeline: Pipe) -> None:
    become_worker(lifeline)
    os.nice(NICENESS)
