"""Output of commands. Results go to standard output, everything else to standard error, so that `--json` can be
piped."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich import box
from rich.console import Console, ConsoleOptions
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ledger.decimals import format_decimal
from ledger.errors import NotConfirmed

COPYABLE_COLUMNS = frozenset({"connection_id", "key_id", "token", "url", "key"})  # never wrapped
PIPED_WIDTH = 250  # wide enough for every table: a pipe has no edge

OUT = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
ERR = Console(stderr=True, highlight=False)

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The data folder of the embedded PostgreSQL. Default: DATABASE_URL, else LOYALTY_DATA, else ./data.",
        show_default=False,
        file_okay=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask for confirmation. Without a terminal nothing is asked.")
]
LedgerOption = Annotated[str, typer.Option("--ledger", help="The ledger's name.", show_default=False)]


def show_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode() + "\n")


def _plain(value: Any) -> Any:
    """Encode points as exact strings, and other types unknown to JSON as text."""
    if isinstance(value, Decimal):
        return format_decimal(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def format_value(value: Any) -> str:
    """Format a stored value for people: plain decimals, ISO 8601 times, a row as its columns."""
    if value is None:
        return "nothing"
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {format_value(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "an empty list"
    return str(value).lower() if isinstance(value, bool) else str(value)


def show(text: str) -> None:
    """Print a line without wrapping, so that it can be copied."""
    OUT.print(text, markup=False, soft_wrap=True)


def show_result(document: Any, sentence: str, *, as_json: bool) -> None:
    """Print a result: as JSON, or as a sentence."""
    if as_json:
        show_json(document)
    else:
        show(sentence)


def show_note(text: str) -> None:
    """Print a line to standard error, beside the result."""
    ERR.print(text, markup=False, soft_wrap=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table, with numbers aligned to the right. A table with ids may be wider than the terminal. Then each row
    is printed as a block of lines: a wrapped id cannot be copied.
    """
    rows = [tuple(row) for row in rows]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[index], int) for row in rows)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(cell) for cell in row))
    if (
        rows
        and not COPYABLE_COLUMNS.isdisjoint(columns)
        and table.__rich_measure__(OUT, _unlimited()).maximum > OUT.width
    ):
        width = max(map(len, columns))
        for row in rows:
            lines = (f"{column:<{width}}  {_cell(cell)}" for column, cell in zip(columns, row, strict=True))
            show("\n" + "\n".join(line.rstrip() for line in lines))
    else:
        OUT.print(table, markup=False)


def _unlimited() -> ConsoleOptions:
    return OUT.options.update(width=PIPED_WIDTH * 10)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return format_decimal(value) if isinstance(value, Decimal) else str(value)


def warn_if_url_guessed(environment: Any) -> None:
    """Print a note if no running service is known and the URL is therefore a guess."""
    if environment.running_url is None:
        show_note(
            "No running service was found. The URL is that of `loyalty serve` with these settings; "
            "LOYALTY_PUBLIC_URL changes it."
        )


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal before an irreversible change. Without a terminal nothing is asked. Raises NotConfirmed if the
    answer is no.
    """
    if not yes and sys.stdin.isatty() and ERR.is_terminal and not typer.confirm(question, err=True):
        raise NotConfirmed


class RateColumn(ProgressColumn):
    """Items done per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


def progress_bar(*additional: ProgressColumn) -> Progress:
    """Return a progress bar, shown on a terminal only, with additional columns. It disappears at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        *additional,
    )
    return Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)
