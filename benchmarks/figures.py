"""Measured figures, printed as medians and spread, with the ratio to the limit of the same run."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

SHOWN_VERSIONS = ("asyncpg", "aiohttp", "uvloop", "msgspec", "pydantic")


class Figure(NamedTuple):
    """The runs of one measurement, in `unit` per second, or in `per`. `limit` names the figure to compare with."""

    name: str
    unit: str
    size: int
    runs: list[float]
    limit: str | None = None
    p50_ms: list[float] | None = None
    p99_ms: list[float] | None = None
    peak_mib: list[float] | None = None  # of all processes together, shared memory counted once
    cpu_us: list[tuple[float, float]] | None = None  # per unit: of Python, of PostgreSQL
    per: str = "/s"


def describe_machine() -> dict[str, str]:
    """Return the machine and the versions of Python, PostgreSQL and libraries."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgresql": "18, embedded, fsync and synchronous_commit on",
        **{name: version(name) for name in SHOWN_VERSIONS},
    }


def print_figures(console: Console, title: str, figures: list[Figure]) -> None:
    """Print the figures of one benchmark."""
    table = Table(title=title, title_justify="left")
    for heading in ("", "each run", "median", "min–max", "CPU µs", "p50 ms", "p99 ms", "peak MiB", "of the limit"):
        table.add_column(heading, justify="left" if not heading else "right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.size:,} {figure.unit}",
            f"{median(figure.runs):,.0f}{figure.per}",
            f"{min(figure.runs):,.0f}–{max(figure.runs):,.0f}",
            _cpu(figure),
            f"{median(figure.p50_ms):.1f}" if figure.p50_ms else "",
            f"{median(figure.p99_ms):.1f}" if figure.p99_ms else "",
            f"{max(figure.peak_mib):,.0f}" if figure.peak_mib else "",
            _ratio_to_limit(figure, figures),
        )
    console.print(table)


def _cpu(figure: Figure) -> str:
    """Return the CPU time per unit: "python + postgresql", or only Python's."""
    if not figure.cpu_us:
        return ""
    python, postgres = (median(parts) for parts in zip(*figure.cpu_us, strict=True))
    return f"{python:,.3g} + {postgres:,.3g}" if postgres else f"{python:,.3g}"


def _ratio_to_limit(figure: Figure, figures: list[Figure]) -> str:
    """Return the median ratio to the limit, run by run. The limit was measured right before or after each run."""
    for limit in figures:
        if limit.name == figure.limit:
            return f"{ratio(figure, limit):.2f}"
    return ""


def ratio(figure: Figure, limit: Figure) -> float:
    return median(ours / best for ours, best in zip(figure.runs, limit.runs, strict=True))


def write_figures(file: Path, measured: dict[str, list[Figure]]) -> None:
    """Write all figures as JSON."""
    tables = {
        title: [
            {**figure._asdict(), "median": median(figure.runs), "ratio": _ratio_to_limit(figure, figures) or None}
            for figure in figures
        ]
        for title, figures in measured.items()
    }
    file.write_text(json.dumps({"on": describe_machine(), "figures": tables}, indent=2) + "\n")
