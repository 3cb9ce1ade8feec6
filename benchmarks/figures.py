"""What was measured, and how it is shown: medians, spread, and the ratio to the limit measured in the same run."""

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
    """The runs of one thing, in `unit` per second; `limit` names the figure it is compared with."""

    name: str
    unit: str
    size: int
    runs: list[float]
    limit: str | None = None
    p50_ms: list[float] | None = None
    p99_ms: list[float] | None = None
    peak_mib: list[float] | None = None  # of all processes together, shared memory counted once


def machine() -> dict[str, str]:
    """Say what it ran on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgresql": "18, embedded, fsync and synchronous_commit on",
        **{name: version(name) for name in SHOWN_VERSIONS},
    }


def show(console: Console, title: str, figures: list[Figure]) -> None:
    """Print the figures of one benchmark."""
    table = Table(title=title, title_justify="left")
    for heading in ("", "each run", "median/s", "min–max", "p50 ms", "p99 ms", "peak MiB", "of the limit"):
        table.add_column(heading, justify="left" if not heading else "right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.size:,} {figure.unit}",
            f"{median(figure.runs):,.0f}",
            f"{min(figure.runs):,.0f}–{max(figure.runs):,.0f}",
            f"{median(figure.p50_ms):.1f}" if figure.p50_ms else "",
            f"{median(figure.p99_ms):.1f}" if figure.p99_ms else "",
            f"{max(figure.peak_mib):,.0f}" if figure.peak_mib else "",
            _ratio(figure, figures),
        )
    console.print(table)


def _ratio(figure: Figure, figures: list[Figure]) -> str:
    """Compare run by run with the limit, which was measured right before or after: the median of the ratios."""
    for limit in figures:
        if limit.name == figure.limit:
            return f"{ratio(figure, limit):.2f}"
    return ""


def ratio(figure: Figure, limit: Figure) -> float:
    return median(ours / best for ours, best in zip(figure.runs, limit.runs, strict=True))


def write(file: Path, measured: dict[str, list[Figure]]) -> None:
    """Write all figures as JSON."""
    tables = {
        title: [
            {**figure._asdict(), "median": median(figure.runs), "ratio": _ratio(figure, figures) or None}
            for figure in figures
        ]
        for title, figures in measured.items()
    }
    file.write_text(json.dumps({"on": machine(), "figures": tables}, indent=2) + "\n")
