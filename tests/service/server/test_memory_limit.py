"""The memory limit of the service process: caches first, then refusals, then answers again."""

import pytest

from ledger.errors import MemoryExhausted
from service.api.requests.app_context import APP_CONTEXT
from service.background.memory_limit import MIB, MemoryLimit, release_free_memory, resident_bytes
from tests.support.client import serving
from tests.support.payloads import sample


async def test_above_the_limit_answers_are_refused_until_memory_is_free_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held = 300 * MIB
    limit = MemoryLimit(256, resident=lambda: held)

    await limit.sample()
    with pytest.raises(MemoryExhausted):
        limit.check()

    held = 200 * MIB
    await limit.sample()
    limit.check()
    assert [record.levelname for record in caplog.records if record.levelname != "INFO"] == ["ERROR"]


async def test_caches_are_cleared_before_anything_is_refused() -> None:
    cache = [300 * MIB]
    limit = MemoryLimit(256, cache.clear, resident=lambda: sum(cache))

    await limit.sample()

    limit.check()
    assert cache == []


async def test_a_limit_of_zero_is_no_limit() -> None:
    limit = MemoryLimit(0, resident=lambda: 2**60)

    await limit.watch()

    limit.check()


def test_the_memory_of_this_process_is_read() -> None:
    release_free_memory()

    assert 10 * MIB < resident_bytes() < 10_000 * MIB


async def test_above_the_limit_the_service_still_takes_deliveries_and_answers_health_checks(dsn: str) -> None:
    large = b'{"text": "' + b"a" * 200_000 + b'"}'
    async with serving(dsn, "acme") as [acme]:
        app = acme.client.server.app  # type: ignore[attr-defined]
        limit = MemoryLimit(256, resident=lambda: 300 * MIB)
        app[APP_CONTEXT].memory_limit = limit
        await limit.sample()

        asked, problem = await acme.ask("/v1/projections")
        delivered, _ = await acme.deliver(sample("capillary", "pointsIssued"))
        refused, _ = await acme.deliver(large)
        health = await acme.client.get("/live")

    assert (asked, problem["type"]) == (503, "/v1/errors/memory-exhausted")
    assert (delivered, refused, health.status) == (200, 503, 200)
