"""The option `--dry-run`, and the output of a preview."""

from typing import Annotated, Any

import orjson
import typer

from ledger.decimals import format_decimal
from projections.queries.previewed_liability import LiabilityFigure
from service.cli.terminal.console import format_value, show, show_json, show_table
from service.formatting import encode_json
from service.operations.preview import Preview, preview_json

ROWS_SHOWN_MAX = 50

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Make all checks and show the effects; record nothing.")]


def show_outcome(result: Any, preview: Preview | None, text: str, *, as_json: bool) -> None:
    """Print the effects of a dry run, or the result of an operation: as JSON, or as a text."""
    if preview is not None:
        show_preview(result, preview, as_json=as_json)
    elif as_json:
        show_json(result._asdict())
    else:
        show(text)


def show_preview(result: Any, preview: Preview, *, as_json: bool) -> None:
    """Print the result of an operation that was not recorded, and its effects."""
    if as_json:
        show_json(orjson.loads(encode_json({**result._asdict(), "preview": preview_json(preview)})))
        return
    for change in preview.liability or ():
        before, after = _figure(change.before), _figure(change.after)
        show(f"Liability of {change.programme} {change.unit}: {before} before, {after} after.")
    rows = [(row.table, row.subject, *_differences(row.before, row.after)) for row in preview.rows[:ROWS_SHOWN_MAX]]
    if rows:
        show_table(("table", "id", "before", "after"), rows)
    for parked in preview.parked[:ROWS_SHOWN_MAX]:
        show(f"{parked.subject} would be parked: {parked.reason}")
    more = " More rows change than are shown." if preview.truncated or len(preview.rows) > ROWS_SHOWN_MAX else ""
    show(f"Dry run: nothing was recorded. {preview.accounts_changed:,} accounts would change.{more}")


def _figure(figure: LiabilityFigure) -> str:
    points = format_decimal(figure.points)
    return points if figure.value is None else f"{points} ({format_decimal(figure.value)} {figure.currency})"


def _differences(before: Any, after: Any) -> tuple[str, str]:
    """Format the columns that differ, before and after."""
    if before is None or after is None:
        return ("" if before is None else "ends" if after is None else "", "" if after is None else format_value(after))
    names = [name for name, value in after.items() if before.get(name) != value]
    return format_value({name: before[name] for name in names}), format_value({name: after[name] for name in names})
