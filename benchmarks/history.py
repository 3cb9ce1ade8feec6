"""A long history of deliveries, the same for the same seed: the load of every benchmark.

What customers did is made up in order and told in the vendors' own words; then some of it arrives late, twice, or twice
with other content. Memory does not grow with the history: what later deliveries refer to (bills returned, redemptions
reversed) is drawn from the latest thousands. Capillary's claims are true, so drift shows only where something is late.
"""

from collections.abc import Callable, Iterator
from heapq import heappop

from benchmarks.payload_templates import KINDS
from benchmarks.simulation import Mix, Sent, World

SLOTS = 10_000  # the table that kinds are drawn from
PLAIN = Mix()


def history(deliveries: int, mix: Mix = PLAIN) -> Iterator[Sent]:
    """Tell so many deliveries. Histories of different seeds share their customers and none of their events."""
    world = World(mix)
    random, held = world.random, world.held
    kinds = _slots()
    duplicated = mix.late + mix.duplicates
    contested = duplicated + mix.conflicts
    told = 0
    while told < deliveries:
        if held and held[0][0] <= world.n:
            sent = heappop(held)[2]
        else:
            world.n += 1
            world.now_ms += int(2 * mix.step_ms * random())
            source, say = kinds[int(SLOTS * random())]
            sent = Sent(source, say(world).encode())
            chance = random()
            if chance < mix.late:
                world.hold(sent, mix.late_by)
                continue
            if chance < duplicated:
                world.hold(sent, mix.late_by)
            elif chance < contested:
                world.hold(Sent(source, sent.body.replace(b"true", b"false", 1)), mix.late_by)
        told += 1
        yield sent


def _slots() -> list[tuple[str, Callable[[World], str]]]:
    """Lay the kinds out by their shares, so that drawing one is one look-up."""
    slots = [(source, say) for source, say, share in KINDS for _ in range(round(share * SLOTS))]
    assert len(slots) == SLOTS, len(slots)
    return slots
