"""`scripts/bench [BENCHMARK] [--events N] [--runs N] [--json FILE]`: run one benchmark, or all of them."""

import argparse
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import uvloop
from rich.console import Console

from benchmarks import (
    as_of,
    console_pages,
    disk,
    figures,
    growth,
    held,
    hostile,
    import_file,
    interpret,
    latency,
    list_filters,
    lists,
    outgoing,
    over_http,
    rebuild,
    seal,
    views,
)
from benchmarks.figures import Figure

RUNS = 3
WIDTH = 120


class Benchmark(NamedTuple):
    title: str
    measure: Callable[..., Awaitable[list[Figure]]]  # (events, runs), and options of its own
    events: int  # number of events by default


BENCHMARKS = {
    "ingest": Benchmark("HTTP ingest, 32 connections", over_http.ingest, 5_000),
    "import": Benchmark("import, blocks of 1,000", import_file.import_history, 15_000),
    "understand": Benchmark("identify and interpret, one core", interpret.measure_interpretation, 20_000),
    "advance": Benchmark("advance", views.advance, 15_000),
    "rebuild": Benchmark("rebuild", rebuild.measure_rebuild, 100_000),
    "seal": Benchmark("seal, and what it costs", seal.seal, 5_000),
    "disk": Benchmark("bytes on disk for each event", disk.disk, 20_000),
    "growth": Benchmark("one ledger that grows, in ten steps", growth.growth, 100_000),
    "lag": Benchmark("lag, 1,000 deliveries a second over HTTP", latency.lag, 10_000),
    "outgoing": Benchmark("facts to one endpoint, and their delay", outgoing.outgoing, 10_000),
    "reading": Benchmark(
        "GET /v1/accounts/{id}, 200 a second, while everything is rebuilt", latency.read_during_rebuild, 50_000
    ),
    "get": Benchmark("GET /v1/accounts/{id}, 32 connections", over_http.get_accounts, 10_000),
    "know": Benchmark("GET an account with 1,000 facts, 1 connection", as_of.query_as_of, 5_000),
    "finance": Benchmark("liability of a whole ledger", as_of.finance, 50_000),
    "hostile": Benchmark("Hooks of quiet ledgers under attack (--events: seconds a phase)", hostile.hostile, 60),
    "held": Benchmark("Webhooks of one ledger while the lock of another is held", held.held, 2_000),
    "overload": Benchmark("Three times the deliveries that can be stored (--events: seconds)", hostile.overload, 20),
    "lists": Benchmark("reconciliation over many accounts (--events: accounts), 1 connection", lists.lists, 1_000_000),
    "console": Benchmark(
        "Pages beside their API queries (--events: lines of one account)", console_pages.measure_pages, 10_000
    ),
    "filters": Benchmark("a page of 100 with each filter (--events: rows)", list_filters.measure_filters, 1_000_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="How fast it is here, beside its limits.")
    parser.add_argument("benchmark", nargs="?", choices=BENCHMARKS, help="one of them; all unless given")
    parser.add_argument("--events", type=int, help="how many, for each run")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each, taken alternately ({RUNS})")
    parser.add_argument("--basis", dest="source", choices=["ledger", "facts"], help="of a rebuild: only on this basis")
    parser.add_argument("--workers", type=int, default=2, help="of a rebuild (2)")
    parser.add_argument("--message-db", type=Path, metavar="FOLDER", help="of an import: the peer's SQL (database/)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)

    options = {"rebuild": (chosen.source, chosen.workers), "import": (chosen.message_db,)}
    console = Console(width=WIDTH)
    console.print(" · ".join(f"{name} {value}" for name, value in figures.describe_machine().items()))
    measured: dict[str, list[Figure]] = {}
    for name in [chosen.benchmark] if chosen.benchmark else BENCHMARKS:
        benchmark = BENCHMARKS[name]
        with console.status(f"{benchmark.title} …"):
            more = options.get(name, ())
            events = chosen.events or benchmark.events
            measured[benchmark.title] = uvloop.run(_measure(benchmark, events, chosen.runs, *more))
        figures.print_figures(console, benchmark.title, measured[benchmark.title])
    if chosen.json:
        figures.write_figures(chosen.json, measured)


async def _measure(benchmark: Benchmark, *arguments: object) -> list[Figure]:
    return await benchmark.measure(*arguments)


if __name__ == "__main__":
    main()
