"""Work for auditors: attestations on a schedule, and the recorded looks at the list of looks."""

import asyncio

import asyncpg

from ledger.database import connect
from ledger.store import api_keys
from service.settings import Settings
from tests.support.client import MASTER_KEY, serving
from tests.support.payloads import issued

WAIT_SECONDS_MAX = 30.0
ATTESTED = "SELECT position FROM ledger.events WHERE kind = 'attested' ORDER BY position"


async def attestations(connection: "asyncpg.Connection[asyncpg.Record]", least: int) -> list[int]:
    """Wait until there are so many attestations."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while len(found := await connection.fetch(ATTESTED)) < least:  # noqa: ASYNC110 -- another task's doing
            await asyncio.sleep(0.05)
    return [row["position"] for row in found]


async def test_ledgers_are_attested_on_a_schedule_if_they_have_new_events(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    often = Settings(attest_hours=0.2 / 3600)
    async with serving(dsn, "acme", settings=often) as [acme]:
        await acme.deliver(issued("e1", 0, 1, 10))
        first = await attestations(connection, 1)
        await asyncio.sleep(1.0)  # five intervals of the schedule
        quiet = await attestations(connection, 1)
        await acme.deliver(issued("e2", 1, 1, 10))
        again = await attestations(connection, 2)

    assert first == quiet == [2]
    assert again[:2] == [2, 4]


async def test_a_look_at_the_list_of_looks_is_recorded_with_its_reason(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection = await connect(dsn)
        key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["audit"])
        await connection.close()

        status, seen = await acme.ask("/v1/audit/access", key=key, reason="yearly audit")
        refused, _ = await acme.ask("/v1/audit/access")
        _, later = await acme.ask("/v1/audit/access", key=key)

    assert (status, refused) == (200, 403)
    assert [(look["object"], look["reason"]) for look in seen["items"]] == [("GET /v1/audit/access", "yearly audit")]
    assert [look["number"] for look in later["items"]] == [1, 2]
    assert seen["items"][0]["key_id"] == key.split("_")[1]
