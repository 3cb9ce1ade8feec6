"""An address that is refused very often waits for each refusal. Its accepted requests do not wait."""

import asyncio

import pytest

from service.api.requests import refusal_delay
from tests.support.client import TenantClient, serving, wait_until
from tests.support.payloads import issued

HOURS = 3_600.0


@pytest.fixture
def endless_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three refusals are free, and each further one waits longer than any test."""
    monkeypatch.setattr(refusal_delay, "FREE_MAX", 3.0)
    monkeypatch.setattr(refusal_delay, "FREE_PER_SECOND", 0.0)
    monkeypatch.setattr(refusal_delay, "DELAY_SECONDS", HOURS)


async def refused(acme: TenantClient) -> int:
    status, _ = await acme.ask("/v1/ledger/events", key="wrong")
    return status


@pytest.mark.usefixtures("endless_delay")
async def test_the_fourth_refusal_waits_while_deliveries_and_reads_are_answered(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        at_once = [await refused(acme) for _ in range(3)]
        delayed = asyncio.create_task(refused(acme))
        delivered, _ = await acme.deliver(issued("a", 0, 1, 10))
        read, _ = await acme.ask("/v1/ledger/events")

        assert (at_once, delivered, read) == ([401] * 3, 200, 200)
        assert not delayed.done()
        delayed.cancel()


@pytest.mark.usefixtures("endless_delay")
async def test_one_large_refused_body_counts_as_many_refusals(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        large = asyncio.create_task(acme.deliver(b" " * 100_000, Authorization="wrong"))
        done, _ = await asyncio.wait([large], timeout=1.0)
        large.cancel()

    assert not done


@pytest.mark.usefixtures("endless_delay")
async def test_an_address_has_a_limit_of_delayed_refusals(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_delay, "DELAYED_MAX", 2)
    async with serving(dsn, "acme") as [acme]:
        many = [asyncio.create_task(refused(acme)) for _ in range(10)]
        await wait_until(lambda: sum(task.done() for task in many) == 8)
        waiting = [task for task in many if not task.done()]
        for task in waiting:
            task.cancel()

    assert len(waiting) == 2
