"""`scripts/bench [BENCHMARK] [--events N] [--runs N] [--json FILE]`: all of them unless told which."""

import argparse
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import uvloop
from rich.console import Console

from tests.bench import figures, importing, meaning, over_http, views
from tests.bench.figures import Figure

RUNS = 3
WIDTH = 120


class Benchmark(NamedTuple):
    title: str
    measure: Callable[[int, int], Awaitable[list[Figure]]]  # (events, runs)
    events: int  # unless told otherwise


BENCHMARKS = {
    "ingest": Benchmark("HTTP ingest, 32 connections", over_http.ingest, 5_000),
    "import": Benchmark("import, blocks of 1,000", importing.import_history, 15_000),
    "understand": Benchmark("identify and interpret, one core", meaning.understand, 20_000),
    "advance": Benchmark("advance", views.advance, 15_000),
    "rebuild": Benchmark("rebuild", views.rebuild, 25_000),
    "get": Benchmark("GET /v1/accounts/{id}, 32 connections", over_http.get_accounts, 10_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="How fast it is here, beside its limits.")
    parser.add_argument("benchmark", nargs="?", choices=BENCHMARKS, help="one of them; all unless given")
    parser.add_argument("--events", type=int, help="how many, for each run")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each, taken alternately ({RUNS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)

    console = Console(width=WIDTH)
    console.print(" · ".join(f"{name} {value}" for name, value in figures.machine().items()))
    measured: dict[str, list[Figure]] = {}
    for name in [chosen.benchmark] if chosen.benchmark else BENCHMARKS:
        benchmark = BENCHMARKS[name]
        with console.status(f"{benchmark.title} …"):
            measured[benchmark.title] = uvloop.run(_measure(benchmark, chosen.events or benchmark.events, chosen.runs))
        figures.show(console, benchmark.title, measured[benchmark.title])
    if chosen.json:
        figures.write(chosen.json, measured)


async def _measure(benchmark: Benchmark, events: int, runs: int) -> list[Figure]:
    return await benchmark.measure(events, runs)


if __name__ == "__main__":
    main()
