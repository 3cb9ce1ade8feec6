"""A dispatcher that is killed: the next one takes over, and nothing is lost. KILLS=40 runs more of them by hand."""

import asyncio
import json
import os
import random
import signal
import sys

import pytest

from ledger.database import Connection
from ledger.store.registry import Ledger
from tests.service.outgoing.conftest import make_endpoint, record, until, until_delivered
from tests.support.payloads import issued
from tests.support.receiver import Receiver, receiving

KILLS = int(os.environ.get("KILLS", "2"))
EVENTS_PER_KILL = 12
PROGRAM = """
import json, sys, uvloop
from ledger.privacy.encryption import MasterKey
from service.server.dispatcher_process import dispatch
from service.settings import Settings
uvloop.run(dispatch(sys.argv[1], MasterKey(bytes(range(32))), Settings(**json.loads(sys.argv[2]))))
"""


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
    async with receiving() as receiver:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"], events_per_request=1)
        for kill in range(KILLS):
            process = await start_dispatcher(dsn)
            at = kill * EVENTS_PER_KILL + choose.randint(1, EVENTS_PER_KILL)
            await until(lambda at=at: has_received(receiver, at))  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            await process.wait()
        process = await start_dispatcher(dsn)
        await until_delivered(connection, endpoint)
        process.kill()
        await process.wait()

    facts = await connection.fetch("SELECT position, ordinal FROM facts ORDER BY position, ordinal")
    assert list(dict.fromkeys(receiver.ids)) == [f"{row['position']}/{row['ordinal']}" for row in facts]
    assert len(receiver.ids) - len(set(receiver.ids)) <= KILLS  # each kill repeats at most the message on its way
