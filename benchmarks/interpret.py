"""Speed of one core without a database: identify deliveries and interpret events. The limit is orjson on the same
bodies.
"""

import gc
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from benchmarks.environment import Stopwatch, build_history
from benchmarks.figures import Figure
from benchmarks.payload_templates import SOURCES
from ledger.events import Delivery, Event, Origin
from ledger.intake.identify import identify
from ledger.intake.interpret import interpret

RECORDED_AT = datetime(2026, 1, 1, tzinfo=UTC)
ORIGINS = {source: Origin("bench", "connection", source, None, b"mask") for source in SOURCES}


async def measure_interpretation(events: int, runs: int) -> list[Figure]:
    """Identify deliveries, and interpret their events."""
    parsed, named, understood, count = list[float](), list[float](), list[float](), 0
    for run in range(runs):
        sent = build_history(events, seed=run + 1)
        deliveries: list[Delivery] = []
        stored: list[Event] = []
        gc.freeze()
        parsed.append(_rate(lambda: [orjson.loads(body) for _, body in sent], len(sent)))  # noqa: B023
        named.append(_rate(lambda: deliveries.extend(identify(ORIGINS[one], body) for one, body in sent), len(sent)))  # noqa: B023
        stored.extend(event for delivery in deliveries for event in delivery.as_stored(RECORDED_AT))
        gc.freeze()
        understood.append(_rate(lambda: [interpret(event) for event in stored], len(stored)))  # noqa: B023
        gc.unfreeze()
        count = len(stored)
    limit = "bodies parsed by orjson"
    return [
        Figure(limit, "bodies", events, parsed),
        Figure("deliveries identified", "deliveries", events, named, limit),
        Figure("events interpreted", "events", count, understood, limit),
    ]


def _rate(work: Callable[[], object], size: int) -> float:
    with Stopwatch() as watch:
        work()
    return size / watch.seconds
