"""More deliveries than can be stored: some are refused at once, and accepted ones are stored soon."""

import asyncio

import orjson
import pytest

from ledger.database import connect
from ledger.locks import APPENDS
from service.api.requests import overload
from service.api.requests.overload import WAIT_SECONDS_MAX
from tests.support.client import serving
from tests.support.payloads import SAMPLES

BODY = (SAMPLES / "capillary" / "pointsIssued.json").read_bytes()
HOLD_APPENDS = "SELECT pg_advisory_xact_lock($1, $2)"
WAITING_APPENDS = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


async def test_a_ledger_that_cannot_store_refuses_at_once_and_no_other_ledger_does(dsn: str) -> None:
    async with serving(dsn, "acme", "beta") as [acme, beta]:
        assert (await acme.deliver(BODY))[0] == 200
        holder = await connect(dsn)
        async with holder.transaction():
            await holder.execute(HOLD_APPENDS, APPENDS, acme.ledger.ledger_id)
            first = asyncio.create_task(acme.deliver(other(1)))
            while not await holder.fetchval(WAITING_APPENDS):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await asyncio.sleep(WAIT_SECONDS_MAX)

            refused = await asyncio.gather(*(acme.deliver(other(n)) for n in range(2, 12)))
            taken = await beta.deliver(BODY)

            assert {status for status, _ in refused} == {503}
            assert not first.done()
            assert taken[0] == 200
        await holder.close()
        assert (await first)[0] == 200
        assert (await acme.deliver(other(2)))[1]["events"][0]["position"] == 3


async def test_a_burst_that_can_be_stored_in_time_is_taken_whole(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "WAIT_SECONDS_MAX", 60.0)  # in time on a slow machine too: no number is refused
    async with serving(dsn, "acme") as [acme]:
        answers = await asyncio.gather(*(acme.deliver(other(n)) for n in range(100)))

    assert [status for status, _ in answers] == [200] * 100


def other(number: int) -> bytes:
    """Return the published sample as another event."""
    body = orjson.loads(BODY)
    body["eventId"] = f"other-{number}"
    return orjson.dumps(body)
