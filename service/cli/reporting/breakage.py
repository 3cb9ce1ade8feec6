"""loyalty breakage: forecast the outstanding points that will lapse unused."""

from typing import Annotated, Any

import msgspec
import typer

from ledger.database import Connection
from ledger.errors import RequestInvalid
from service.cli.finance import OptionalLedgerOption, open_finance_query
from service.cli.terminal.console import DataOption, JsonOption, show_json, show_note, show_table
from service.environment import Environment, run_with_connection
from service.finance.breakage import breakage_json, parse_breakage_month, read_breakage
from service.finance.breakage_forecast import ASSUMPTIONS
from service.formatting import encode_json
from service.queries.programmes import find_programme
from service.reconciliation.formats import csv_line

COLUMNS = (
    "programme",
    "unit",
    "month",
    "outstanding",
    "expected_used",
    "expected_removed",
    "expected_breakage",
    "expected_breakage_low",
    "expected_breakage_high",
    "undetermined",
    "expected_breakage_rate",
    "expected_breakage_value",
    "currency",
    "reason",
)
VINTAGE_COLUMNS = (
    "vintage",
    "credited",
    "used",
    "lapsed",
    "removed",
    "outstanding",
    "expected_used",
    "expected_removed",
    "expected_breakage",
    "undetermined",
)
FORMATS = ("table", "csv")


def show_breakage(
    ledger: OptionalLedgerOption = None,
    month: Annotated[
        str | None, typer.Option(help="A month that is over, such as 2026-03. Default: the last one.")
    ] = None,
    programme: Annotated[str | None, typer.Option(help="This programme only.")] = None,
    unit: Annotated[str | None, typer.Option(help="This unit only.")] = None,
    by_vintage: Annotated[bool, typer.Option("--by-vintage", help="Show each vintage.")] = False,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "table",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast the breakage: the points outstanding at the end of a month that will lapse unused.

    Each vintage is expected to be used as earlier vintages were at its age. The assumptions are printed beside the
    figures. With too little history a reason is printed instead.
    """
    if form not in FORMATS:
        raise RequestInvalid(f"--format must be one of {', '.join(FORMATS)}")
    last = parse_breakage_month(month)

    async def work(_environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        query = await open_finance_query(connection, ledger)
        found = None if programme is None else await find_programme(query, programme)
        forecasts = await read_breakage(connection, query.ledger.ledger_id, last, found, unit)
        return [breakage_json(one) for one in forecasts]

    items = run_with_connection(data, work)
    columns: tuple[str, ...] = COLUMNS
    rows = items
    if by_vintage:
        columns = ("programme", "unit", *VINTAGE_COLUMNS)
        named = ("programme", "unit")
        rows = [{**{name: item[name] for name in named}, **vintage} for item in items for vintage in item["vintages"]]
    if as_json:
        answer = {"month": f"{last:%Y-%m}", "items": items, "assumptions": ASSUMPTIONS}
        show_json(msgspec.json.decode(encode_json(answer)))
    elif form == "csv":
        lines = [csv_line(columns), *(csv_line([row[name] for name in columns]) for row in rows)]
        typer.echo(b"".join(lines).decode(), nl=False)
    else:
        show_table(columns, ([row[name] for name in columns] for row in rows))
        for assumption in ASSUMPTIONS:
            show_note(assumption)
