"""Memory and CPU time of the processes of a benchmark.

A rate depends on everything else that the machine does. CPU time per unit depends on it much less.
"""

import os
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 0.5
PROC = Path("/proc")
MICROSECONDS_PER_TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")


class CpuTime:
    """CPU time of a block in microseconds, of process trees and of PostgreSQL: `with CpuTime(pids, postgres) as cpu`.

    Without `pids` it is the time of this process and its children.
    """

    python_us = postgres_us = 0.0

    def __init__(self, *pids: int, postgres: int | None = None) -> None:
        self._roots = pids or (os.getpid(),)
        self._postgres = (postgres,) if postgres is not None else ()

    def __enter__(self) -> Self:
        self._begun = _cpu_us(self._roots), _cpu_us(self._postgres)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.python_us = _cpu_us(self._roots) - self._begun[0]
        self.postgres_us = _cpu_us(self._postgres) - self._begun[1]

    def per_unit(self, size: int) -> tuple[float, float]:
        """Return the microseconds of Python and of PostgreSQL for each of `size` units."""
        return self.python_us / size, self.postgres_us / size


def _cpu_us(roots: tuple[int, ...]) -> float:
    """Return the CPU time of process trees, including children that have ended."""
    return MICROSECONDS_PER_TICK * sum(_ticks(pid) for pid in _with_descendants(roots))


def _ticks(pid: int) -> int:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))  # user and system, of the process and of its ended children


class Memory:
    """Samples the memory of process trees: `with Memory(pids) as memory: …`, then `memory.peak_mib`."""

    peak_mib = 0.0

    def __init__(self, *roots: int, ours: bool = True) -> None:
        self._roots = (os.getpid(), *roots) if ours else roots
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SECONDS):
            kib = sum(_proportional_kib(pid) for pid in _with_descendants(self._roots))
            self.peak_mib = max(self.peak_mib, kib / 1024)


def _with_descendants(roots: tuple[int, ...]) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children[parent].append(int(folder.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children[pid]
    return found


def _proportional_kib(pid: int) -> int:
    """Return the memory of a process with its share of shared pages; 0 if it has ended or cannot be read."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
