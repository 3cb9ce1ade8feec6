"""Simulate appends and projection over N ledgers, S services and W projectors, from measured processor times.

    python -m benchmarks.scale_model --ledgers 4 --services 2 --projectors 2 --cores 8

Each process has one thread. Threads share the cores of their machine, first come, first served. Every sender has one
delivery on the way. A ledger commits one batch at a time, and its waiting deliveries form the next one. The processor
times are those of docs/runbook.md and docs/scale.md; with them the model gives the rates that were measured.
"""

import argparse
import heapq
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

REQUEST = 200e-6  # seconds: HTTP, signature, parsing, event key, answer
SENDER = 60e-6  # the load generator on the same machine
ENCRYPT_BATCH, ENCRYPT_EVENT = 260e-6, 36e-6  # encrypt and send
COMMIT_BATCH, COMMIT_EVENT = 560e-6, 55e-6  # in PostgreSQL
FSYNC = 400e-6  # no processor
FOLD_BATCH, FOLD_EVENT = 2e-3, 105e-6  # interpretation and fold
ROWS_EVENT = 38e-6  # in PostgreSQL
EVENTS_PER_COMMIT_MAX = 500
EVENTS_PER_FOLD_MAX = 8_000
POLL = 0.1


class Layout(NamedTuple):
    """An installation: `own_machines` puts PostgreSQL, services and projectors on machines of `cores` each."""

    ledgers: int = 1
    senders: int = 32
    services: int = 1
    projectors: int = 0
    cores: int = 2
    own_machines: bool = False
    backlog: int = 0  # events of each ledger to project at the start


class Rates(NamedTuple):
    """Deliveries stored and events projected, each a second."""

    stored: float
    projected: float


class Machine:
    """Cores that run jobs first come, first served."""

    def __init__(self, world: "World", cores: int) -> None:
        self._world, self._free = world, cores
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def run(self, seconds: float, then: Callable[[], None]) -> None:
        """Use a core for some seconds, and call `then`."""
        self._waiting.append((seconds, then))
        self._start()

    def _start(self) -> None:
        while self._free and self._waiting:
            seconds, then = self._waiting.popleft()
            self._free -= 1
            self._world.at(seconds, lambda then=then: self._end(then))  # type: ignore[misc]

    def _end(self, then: Callable[[], None]) -> None:
        self._free += 1
        then()
        self._start()


class Process:
    """One thread: its jobs run one after the other, on the cores of its machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_busy = False

    def run(self, seconds: float, then: Callable[[], None]) -> None:
        """Queue a job."""
        self._waiting.append((seconds, then))
        self._start()

    def _start(self) -> None:
        if not self._is_busy and self._waiting:
            self._is_busy = True
            seconds, then = self._waiting.popleft()
            self._machine.run(seconds, lambda: self._end(then))

    def _end(self, then: Callable[[], None]) -> None:
        self._is_busy = False
        then()
        self._start()


class World:
    """The simulated installation and its clock."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.now, self._count = 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        shared = Machine(self, layout.cores)

        def machine() -> Machine:
            return Machine(self, layout.cores) if layout.own_machines else shared

        self._database = machine()
        self._services = [Process(machine()) for _ in range(layout.services)]
        self._projectors = [Process(machine()) for _ in range(layout.projectors)]
        self._generators = [Process(machine()) for _ in range(layout.services)]  # of load
        self._queued = [0] * layout.ledgers
        self._committing = [False] * layout.ledgers
        self._tail = [layout.backlog] * layout.ledgers
        self._position = [0] * layout.ledgers

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call later."""
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, call))

    def simulate(self, seconds: float) -> Rates:
        """Run for some simulated seconds."""
        for number in range(self._layout.senders):
            self._send(number % self._layout.ledgers)
        for number in range(self._layout.projectors):
            self._project(number, number)
        before = sum(self._tail)
        while self._events and self._events[0][0] <= seconds:
            self.now, _, call = heapq.heappop(self._events)
            call()
        return Rates((sum(self._tail) - before) / seconds, sum(self._position) / seconds)

    def _send(self, ledger: int) -> None:
        service, generator = (them[ledger % self._layout.services] for them in (self._services, self._generators))
        generator.run(SENDER, lambda: service.run(REQUEST, lambda: self._queue(ledger)))

    def _queue(self, ledger: int) -> None:
        self._queued[ledger] += 1
        self._commit(ledger)

    def _commit(self, ledger: int) -> None:
        batch = min(self._queued[ledger], EVENTS_PER_COMMIT_MAX)
        if not batch or self._committing[ledger]:
            return
        self._committing[ledger] = True
        self._queued[ledger] -= batch
        work = COMMIT_BATCH + COMMIT_EVENT * batch
        service = self._services[ledger % self._layout.services]
        service.run(
            ENCRYPT_BATCH + ENCRYPT_EVENT * batch,
            lambda: self._database.run(work, lambda: self.at(FSYNC, lambda: self._committed(ledger, batch))),
        )

    def _committed(self, ledger: int, batch: int) -> None:
        self._committing[ledger] = False
        self._tail[ledger] += batch
        for _ in range(batch):
            self._send(ledger)
        self._commit(ledger)

    def _project(self, projector: int, ledger: int) -> None:
        """Advance the next ledger of the projector's share by a batch."""
        share = range(projector, self._layout.ledgers, self._layout.projectors)
        if not share:
            return
        behind = [one for one in share if self._position[one] < self._tail[one]]
        if not behind:
            self.at(POLL, lambda: self._project(projector, projector))
            return
        chosen = next((one for one in behind if one >= ledger), behind[0])
        batch = min(self._tail[chosen] - self._position[chosen], EVENTS_PER_FOLD_MAX)

        def end() -> None:
            self._position[chosen] += batch
            self._project(projector, chosen + 1)

        fold = FOLD_BATCH + FOLD_EVENT * batch
        self._projectors[projector].run(fold, lambda: self._database.run(ROWS_EVENT * batch, end))


def simulate(layout: Layout, seconds: float = 5.0) -> Rates:
    """Return the rates of a layout."""
    return World(layout).simulate(seconds)


def main() -> None:
    """Print the rates of the layout that the arguments describe."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_model")
    for name, default in Layout._field_defaults.items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=int, default=default)
    rates = simulate(Layout(**vars(parser.parse_args())))
    print(f"stored {rates.stored:,.0f} a second, projected {rates.projected:,.0f} a second")


if __name__ == "__main__":
    main()
