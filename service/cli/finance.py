"""loyalty trial-balance, liability, close, reopen, periods: finance queries, and the closing of months."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ledger import clock
from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import RequestInvalid
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.registry import Ledger
from ledger.vendors.personal_values import refuse_personal_value
from projections.engine import generations
from projections.engine.worker import catch_up
from projections.queries.roll_forward import MOVEMENT_NAMES
from service.cli.explain import OPERATOR, AsOfPositionOption, AtOption, KnownAtOption
from service.cli.terminal.console import DataOption, JsonOption, show, show_json, show_note, show_table
from service.cli.terminal.dry_runs import DryRunOption, show_preview
from service.cli.terminal.exit_codes import FINDINGS
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.finance.export_formats import FORMATS, to_beancount, to_csv, to_ndjson
from service.finance.liability import Liability, count_unbalanced, liability_row_json, read_trial_balance
from service.finance.period_close import PeriodChange, plan_close, plan_reopening
from service.finance.period_report import PERIODS, period_json
from service.finance.periods import read_liability
from service.finance.requests import parse_period, parse_roll_forward
from service.formatting import encode_json
from service.operations.preview import Preview, preview_operation
from service.operations.record import record_plan
from service.queries.as_of_query import parse_as_of_params
from service.queries.context import QueryContext
from service.reconciliation.catalogue import LISTS, count_lists
from service.reconciliation.lists import ListTotals

OptionalLedgerOption = Annotated[
    str | None, typer.Option("--ledger", help="The ledger's name; optional if there is only one ledger.")
]
PeriodArgument = Annotated[str, typer.Argument(metavar="PERIOD", help="A month, such as 2026-03.", show_default=False)]
KEY_COLUMNS = ("programme", "unit", "from", "to", "vintage")
CLOSING_COLUMNS = ("closing", "value", "currency")
AUTHOR_CHARACTERS_MAX = 100
PERIODS_MAX = 10_000
LISTS_BEFORE_CLOSING = ("drift", "conflicts", "quarantine", "unrecognised", "parked")  # to check before a closing

ACCOUNTS = """
    SELECT concat(split_part(account_id, ':', 1), ':', split_part(account_id, ':', 2), ':', programme) AS programme,
           unit, count(*) AS accounts
      FROM accounts WHERE ledger_id = $1 GROUP BY 1, 2
"""


def show_trial_balance(
    ledger: OptionalLedgerOption = None,
    at: AtOption = None,
    as_of_position: AsOfPositionOption = None,
    known_at: KnownAtOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sum every class of all accounts by programme and unit. Ends with 1 unless each sum is zero."""
    as_of_params = _as_params(at=at, as_of_position=as_of_position, known_at=known_at)

    async def work(_environment: Environment, connection: Connection) -> dict[str, Any]:
        query = await open_finance_query(connection, ledger)
        times = await parse_as_of_params(query, as_of_params)
        balance = await read_trial_balance(connection, query.ledger.ledger_id, times.at, times.position)
        sums = balance.sums()
        wrong = balance.differing or await count_unbalanced(connection, query.ledger.ledger_id)
        return {
            "at": times.at,
            "balanced": not any(one.sum for one in sums) and not wrong,
            "accounts": balance.accounts,
            "accounts_differing": balance.differing[:100],
            "items": [{**one._asdict(), "sum": one.sum} for one in sums],
        }

    found = run_with_connection(data, work)
    if as_json:
        show_json(msgspec.json.decode(encode_json(found)))
    else:
        rows = [
            (item["programme"], item["unit"], name, format_decimal(points))
            for item in found["items"]
            for name, points in [*item["classes"].items(), ("sum", item["sum"])]
        ]
        show_table(("programme", "unit", "class", "points"), rows)
        show_note(f"{found['accounts']:,} accounts; {'balanced' if found['balanced'] else 'NOT balanced'}.")
    if not found["balanced"]:
        raise typer.Exit(FINDINGS)


def show_liability(
    ledger: OptionalLedgerOption = None,
    first: Annotated[
        str | None, typer.Option("--from", help="The first day. Default: the first day of the month.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day, included. Default: today.")] = None,
    by: Annotated[str, typer.Option(help="day or month.")] = "month",
    programme: Annotated[str | None, typer.Option(help="This programme only.")] = None,
    unit: Annotated[str | None, typer.Option(help="This unit only.")] = None,
    vintage: Annotated[str | None, typer.Option(help="Only points earned in this month, such as 2026-03.")] = None,
    as_of_position: AsOfPositionOption = None,
    known_at: KnownAtOption = None,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "table",
    output: Annotated[Path | None, typer.Option(help="The file to write. Default: standard output.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Roll the outstanding points forward by vintage: as a table, CSV, NDJSON or a beancount journal.

    Closed months are shown as known at their closing. Ends with 1 if the closing differs from the sum of the accounts.
    """
    if form not in FORMATS:
        raise RequestInvalid(f"--format must be one of {', '.join(FORMATS)}")
    as_of_params = _as_params(as_of_position=as_of_position, known_at=known_at)
    days = {"from": first, "to": last, "by": by, "programme": programme, "unit": unit, "vintage": vintage}

    async def work(
        _environment: Environment, connection: Connection
    ) -> tuple[Ledger, Liability, dict[tuple[str, str], int]]:
        query = await open_finance_query(connection, ledger)
        times = await parse_as_of_params(query, as_of_params)
        wanted = await parse_roll_forward(query, _as_params(**days), times)
        rows = await connection.fetch(ACCOUNTS, query.ledger.ledger_id)
        counts = {(row["programme"], row["unit"]): row["accounts"] for row in rows}
        return query.ledger, await read_liability(connection, query.ledger.ledger_id, wanted, times.position), counts

    found, liability, counts = run_with_connection(data, work)
    if as_json:
        show_json(_liability_json(liability))
    elif form == "table":
        _show_table(liability, counts)
    else:
        files = {
            "csv": to_csv(liability.rows),
            "ndjson": to_ndjson(liability.rows),
            "beancount": to_beancount(found.name, liability),
        }
        _write(files[form], output)
    for tie in liability.ties:
        if tie.difference:
            show_note(
                f"{tie.programme} {tie.unit}: {format_decimal(tie.closing)} is not the accounts'"
                f" {format_decimal(tie.accounts_total)}."
            )
    if any(tie.difference for tie in liability.ties):
        raise typer.Exit(FINDINGS)


def _liability_json(liability: Liability) -> dict[str, Any]:
    return {
        "items": [liability_row_json(row) for row in liability.rows],
        "totals": [liability_row_json(row) for row in liability.totals],
        "ties": not any(tie.difference for tie in liability.ties),
        "accounts": [{**tie._asdict(), "difference": tie.difference} for tie in liability.ties],
    }


def _show_table(liability: Liability, counts: Mapping[tuple[str, str], int]) -> None:
    """Print the rows with every movement that is not zero throughout, the totals, and the number of accounts summed."""
    rows = [liability_row_json(row) for row in liability.rows]
    totals = [{**liability_row_json(row), "vintage": "total"} for row in liability.totals]
    moved = [name for name in MOVEMENT_NAMES if any(row[name] for row in rows)]
    columns = (*KEY_COLUMNS, "opening", *moved, *CLOSING_COLUMNS)
    show_table(columns, ([row[name] for name in columns] for row in [*rows, *totals]))
    for tie in liability.ties:
        if not tie.difference:
            count = counts.get((tie.programme, tie.unit), 0)
            show_note(f"{tie.programme} {tie.unit}: closing {format_decimal(tie.closing)} = sum of {count:,} accounts.")


def close(
    period: PeriodArgument,
    ledger: OptionalLedgerOption = None,
    author: Annotated[
        str, typer.Option(help="A role or staff number, no name. It is stored in plain text.")
    ] = OPERATOR,
    yes: Annotated[bool, typer.Option("--yes", help="Close it without asking, even if matters are open.")] = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close a month: its figures are fixed as known now. Later reports of the month appear in the next month.

    Shows open matters first. If there are any, it asks on a terminal; without a terminal it needs --yes.
    """
    parse_period(period)

    async def work(_environment: Environment, connection: Connection) -> dict[str, ListTotals]:
        query = await open_finance_query(connection, ledger)
        return await count_lists(connection, query.ledger.ledger_id, clock.now(), None)

    totals = {
        name: one for name, one in run_with_connection(data, work).items() if one.items and name in LISTS_BEFORE_CLOSING
    }
    if totals and not as_json:
        show_note(f"Open matters before {period} is closed:")
        for name, one in totals.items():
            points = ", ".join(f"{format_decimal(points)} {unit}" for unit, points in one.points.items())
            show_note(f"    {name}: {one.items:,}{f', {points}' if points else ''} ({LISTS[name].title})")
    if totals and not yes and not dry_run:
        if not sys.stdin.isatty() or as_json:
            raise RequestInvalid(
                f"{len(totals)} lists are not empty ({', '.join(totals)}): use `--yes` to close the month nevertheless"
            )
        typer.confirm(f"Close {period} nevertheless?", abort=True)
    _record_closing(plan_close, period, ledger, data, as_json, "Closed", author, dry_run=dry_run)


def reopen(
    period: PeriodArgument,
    ledger: OptionalLedgerOption = None,
    author: Annotated[
        str, typer.Option(help="A role or staff number, no name. It is stored in plain text.")
    ] = OPERATOR,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reopen the last closed month."""
    _record_closing(plan_reopening, period, ledger, data, as_json, "Opened", author, dry_run=dry_run)


def _record_closing(
    plan_change: Any,
    period: str,
    ledger: str | None,
    data: Path | None,
    as_json: bool,
    outcome: str,
    by: str,
    *,
    dry_run: bool,
) -> None:
    parse_period(period)
    if not by.strip() or len(by) > AUTHOR_CHARACTERS_MAX:
        raise RequestInvalid(f"`--author` must have 1 to {AUTHOR_CHARACTERS_MAX} characters")
    refuse_personal_value("--author", by)

    async def work(environment: Environment, connection: Connection) -> tuple[Ledger, PeriodChange, Preview | None]:
        query, vault = await open_finance_query(connection, ledger), Vault(environment.master_key)
        plan = plan_change(connection, vault, query.ledger, period, by=by.strip())
        if dry_run:
            return query.ledger, *await preview_operation(connection, query.ledger.ledger_id, plan)
        await record_command(connection, f"{outcome} {period}".lower(), query.ledger)
        change = await record_plan(connection, vault, query.ledger, await plan)
        await catch_up(connection, query.ledger.ledger_id)
        return query.ledger, change, None

    found, change, preview = run_with_connection(data, work)
    if preview is not None:
        show_preview(change, preview, as_json=as_json)
    elif as_json:
        show_json({"ledger": found.name, "period": period, "position": change.position, "by": by.strip()})
    elif outcome == "Closed":
        show(
            f"Closed {period} of {found.name} by {by.strip()}, at position {change.position}. It is shown as known "
            f"now; later reports are prior-period items of the next month. See `loyalty period show {period}`."
        )
    else:
        show(f"Reopened {period} of {found.name} by {by.strip()}, at position {change.position}.")


def list_periods(ledger: OptionalLedgerOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the months that are or were closed."""

    async def work(_environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        query = await open_finance_query(connection, ledger)
        return [dict(row) for row in await connection.fetch(PERIODS, query.ledger.ledger_id, "", PERIODS_MAX)]

    rows = run_with_connection(data, work)
    columns = ("period", "status", "known_position", "closed_at", "closed_by", "reopenings")
    if as_json:
        show_json(msgspec.json.decode(encode_json(rows)))
    else:
        show_table(columns, ([row[name] for name in columns] for row in rows))


periods = typer.Typer(help="One month: its figures, and its late reports.", no_args_is_help=True)


@periods.command("show")
def show_period(
    period: PeriodArgument, ledger: OptionalLedgerOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Show a month: totals, prior-period items in it, and changes reported since it was closed."""
    parse_period(period)

    async def work(_environment: Environment, connection: Connection) -> dict[str, Any]:
        return await period_json(await open_finance_query(connection, ledger), period)

    found = run_with_connection(data, work)
    if as_json:
        show_json(msgspec.json.decode(encode_json(found)))
        return
    closed = f", closed by {found['closed_by']} as known at position {found['known_position']}"
    show(f"{found['period']}: {found['status']}{closed if found['status'] == 'closed' else ''}.")
    columns = (
        "programme",
        "unit",
        "opening",
        *(name for name in MOVEMENT_NAMES if any(row[name] for row in found["totals"])),
    )
    columns = (*columns, *CLOSING_COLUMNS)
    show_table(columns, ([row[name] for name in columns] for row in found["totals"]))
    for name, title in (("prior_period_items", "Prior-period items"), ("later_items", "Reported since it was closed")):
        of = ("account", "points", "unit", "first_position")
        rows = [[item[column] for column in of] for item in found[name]]
        if rows:
            show_table(of, rows, title=title)


async def open_finance_query(connection: Connection, name: str | None) -> QueryContext:
    """Return a query context of an up-to-date ledger: the named one, or the only ledger. Raises RequestInvalid if there
    is no single ledger.
    """
    await generations.ensure_active_generation(connection)
    if name is None:
        every = await registry.list_ledgers(connection)
        if len(every) != 1:
            raise RequestInvalid(f"--ledger is required; ledgers: {', '.join(one.name for one in every) or 'none yet'}")
        [found] = every
    else:
        found = await registry.find_ledger(connection, name)
    await catch_up(connection, found.ledger_id)
    return QueryContext(connection, found, OPERATOR)


def _as_params(**options: object) -> Mapping[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _write(lines: Iterator[str], output: Path | None) -> None:
    if output is None:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        return
    with output.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
