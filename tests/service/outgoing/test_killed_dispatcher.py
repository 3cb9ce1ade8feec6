"""A dispatcher that is killed 40 times: the next one takes over, and nothing is lost."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from ledger.database import Connection
from ledger.store.registry import Ledger
from tests.service.outgoing.conftest import make_endpoint, record, until, until_delivered
from tests.support.payloads import issued
from tests.support.receiver import Receiver, receiving

KILLS = 40
EVENTS_PER_KILL = 6
PROGRAM = """
import json, sys, uvloop
from ledger.privacy.encryption import MasterKey
from service.server.dispatcher_process import dispatch
from service.settings import Settings
uvloop.run(dispatch(sys.argv[1], MasterKey(bytes(range(32))), Settings(**json.loads(sys.argv[2]))))
"""

# A process that has imported everything starts each dispatcher by a fork, which costs milliseconds, not seconds.
STARTER = """
import json, os, sys, uvloop
from ledger.privacy.encryption import MasterKey
from service.server.dispatcher_process import dispatch
from service.settings import Settings
for _ in sys.stdin:
    pid = os.fork()
    if not pid:
        uvloop.run(dispatch(sys.argv[1], MasterKey(bytes(range(32))), Settings(outgoing_networks="127.0.0.0/8")))
    print(pid, flush=True)
    os.waitpid(pid, 0)
"""


class DispatcherStarter:
    """Starts dispatchers, one after the other, each when the one before it is killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def start(self) -> int:
        """Start a dispatcher. Return its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return int(await self._process.stdout.readline())


@contextlib.asynccontextmanager
async def dispatcher_starter(dsn: str) -> AsyncIterator[DispatcherStarter]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, dsn, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        yield DispatcherStarter(process)
    finally:
        process.stdin.close()
        await process.wait()


async def start_dispatcher(dsn: str, **settings: str) -> asyncio.subprocess.Process:
    given = json.dumps({"outgoing_networks": "127.0.0.0/8", **settings})
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, dsn, given, stderr=asyncio.subprocess.DEVNULL
    )


async def has_received(receiver: Receiver, count: int) -> bool:
    return len(set(receiver.ids)) >= count


@pytest.mark.timeout(600)
async def test_a_dispatcher_that_is_killed_again_and_again_loses_nothing_and_keeps_the_order(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    count = EVENTS_PER_KILL * (KILLS + 1)
    await record(connection, ledger, *(issued(f"e{number}", number, number % 3, 10) for number in range(count)))
    choose = random.Random(19)
    async with receiving() as receiver, dispatcher_starter(dsn) as starter:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"], events_per_request=1)
        for kill in range(KILLS):
            process = await starter.start()
            at = kill * EVENTS_PER_KILL + choose.randint(1, EVENTS_PER_KILL)
            await until(lambda at=at: has_received(receiver, at))  # type: ignore[misc]
            os.kill(process, signal.SIGKILL)
        process = await starter.start()
        await until_delivered(connection, endpoint)
        os.kill(process, signal.SIGKILL)

    facts = await connection.fetch("SELECT position, ordinal FROM facts ORDER BY position, ordinal")
    assert list(dict.fromkeys(receiver.ids)) == [f"{row['position']}/{row['ordinal']}" for row in facts]
    assert len(receiver.ids) - len(set(receiver.ids)) <= KILLS  # each kill repeats at most the message on its way
