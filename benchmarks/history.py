"""A long history of deliveries, equal for equal seeds: the load of every benchmark.

- Activities of customers are simulated in order, and written in each vendor's format.
- Some deliveries then arrive late, twice, or twice with different contents.
- Memory does not grow with the history. Returns and reversals refer to one of the latest thousands of events.
- Capillary's claims are true, so drift appears only where an event is late.
"""

from collections.abc import Callable, Iterator
from heapq import heappop

from benchmarks.payload_templates import KINDS
from benchmarks.simulation import Mix, SentDelivery, VendorSimulation

SLOTS = 10_000  # size of the table that kinds are drawn from
PLAIN = Mix()


def history(deliveries: int, mix: Mix = PLAIN) -> Iterator[SentDelivery]:
    """Yield `deliveries` deliveries. Histories of different seeds have the same customers, and no common events."""
    simulation = VendorSimulation(mix)
    draw, delayed = simulation.random, simulation.delayed
    kinds = _slots()
    duplicated = mix.late + mix.duplicates
    conflicting = duplicated + mix.conflicts
    sent_count = 0
    while sent_count < deliveries:
        if delayed and delayed[0][0] <= simulation.n:
            sent = heappop(delayed)[2]
        else:
            simulation.n += 1
            simulation.now_ms += int(2 * mix.step_ms * draw())
            source, template = kinds[int(SLOTS * draw())]
            sent = SentDelivery(source, template(simulation).encode())
            chance = draw()
            if chance < mix.late:
                simulation.delay(sent, mix.late_by)
                continue
            if chance < duplicated:
                simulation.delay(sent, mix.late_by)
            elif chance < conflicting:
                simulation.delay(SentDelivery(source, sent.body.replace(b"true", b"false", 1)), mix.late_by)
        sent_count += 1
        yield sent


def _slots() -> list[tuple[str, Callable[[VendorSimulation], str]]]:
    """Build a table of kinds by their shares, so that a draw is one look-up."""
    slots = [(source, template) for source, template, share in KINDS for _ in range(round(share * SLOTS))]
    assert len(slots) == SLOTS, len(slots)
    return slots
