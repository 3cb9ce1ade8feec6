"""Speed of one core without a database: identify deliveries and interpret events. The limit is orjson on the same
bodies.
"""

import gc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks.environment import Stopwatch, build_history
from benchmarks.figures import Figure
from benchmarks.payload_templates import SOURCES
from benchmarks.processes import CpuTime
from benchmarks.simulation import SentDelivery
from ledger.events import Delivery, Origin
from ledger.intake.identify import identify
from ledger.intake.interpret import interpret
from ledger.parsing import parse_json

RECORDED_AT = datetime(2026, 1, 1, tzinfo=UTC)
ORIGINS = {source: Origin("bench", "connection", source, None, b"mask") for source in SOURCES}


async def measure_interpretation(events: int, runs: int) -> list[Figure]:
    """Identify deliveries, and interpret their events. Each result is dropped before the next one is made.

    Results that are kept would be walked again and again by the garbage collector, and the limit most of all.
    """
    limit = "bodies parsed by orjson"
    figures = [
        Figure(limit, "bodies", events, [], cpu_us=[]),
        Figure("bodies read", "bodies", events, [], limit, cpu_us=[]),
        Figure("deliveries identified", "deliveries", events, [], limit, cpu_us=[]),
        Figure("events interpreted", "events", events, [], limit, cpu_us=[]),
    ]
    gc.freeze()
    for run in range(runs):
        sent = build_history(events, seed=run + 1)
        stored = [event for delivery in map(_identify, sent) for event in delivery.as_stored(RECORDED_AT)]
        works: list[tuple[Callable[[Any], object], Sequence[Any]]] = [
            (orjson.loads, [body for _, body in sent]),
            (parse_json, [body for _, body in sent]),
            (_identify, sent),
            (interpret, stored),
        ]
        for figure, (work, inputs) in zip(figures, works, strict=True):
            with CpuTime() as cpu, Stopwatch() as watch:
                for one in inputs:
                    work(one)
            figure.runs.append(len(inputs) / watch.seconds)
            figure.cpu_us.append(cpu.per_unit(len(inputs)))  # type: ignore[union-attr]  # a list, above
    return figures


def _identify(sent: SentDelivery) -> Delivery:
    return identify(ORIGINS[sent.source], sent.body)
