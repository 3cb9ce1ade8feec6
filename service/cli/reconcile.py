"""loyalty reconcile: open matters as a table, CSV or JSON, and the comparison with an external statement."""

import asyncio
import io
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from ledger import clock
from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import RequestInvalid
from ledger.store import registry
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show, show_note, show_table
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, run_with_connection
from service.formatting import encode_json
from service.importing.deliveries import open_file
from service.importing.utf16 import as_utf8
from service.reconciliation.catalogue import LISTS, count_lists, latest_start, totals_json
from service.reconciliation.formats import csv_line, csv_pages
from service.reconciliation.lists import Key, ListQuery, ListTotals, OpenItem
from service.statements.columns import read_records
from service.statements.compare import (
    DAYS_DEFAULT,
    ComparisonRules,
    StatementComparison,
    StatementFinding,
    compare_statement,
)

ALL = "all"
STATEMENT = "statement"
FINDINGS_SHOWN_MAX = 50
COPY_BYTES = 1024 * 1024
FINDING_COLUMNS = ("finding", "account", "line", "day", "theirs", "ours", "difference", "reference", "kind", "note")


def reconcile(
    ledger: LedgerOption,
    fail_on: Annotated[
        str, typer.Option(help=f"End with 1 if one of these lists has open items: {', '.join(LISTS)}; all.")
    ] = "",
    as_csv: Annotated[str | None, typer.Option("--csv", help="Print this list, or the statement, as CSV.")] = None,
    at: Annotated[str | None, typer.Option(help="As of this time, with a zone. Default: now.")] = None,
    grace_hours: Annotated[int | None, typer.Option(min=0, help="Grace in hours, instead of each list's own.")] = None,
    statement: Annotated[
        Path | None, typer.Option(help="A CSV file of balances or entries to compare; .gz too; - is standard input.")
    ] = None,
    columns: Annotated[str, typer.Option(help="Columns by meaning: account=Member No,balance=Points.")] = "",
    days_apart: Annotated[
        int, typer.Option(min=0, max=31, help="Days that matching entries may be apart.")
    ] = DAYS_DEFAULT,
    tolerance: Annotated[str, typer.Option(help="Difference to ignore.")] = "0",
    time_zone: Annotated[str, typer.Option(help="The time zone of the statement's days.")] = "UTC",
    date_format: Annotated[str | None, typer.Option(help="Format of ambiguous dates, such as %d/%m/%Y.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List open matters between vendors' reports and the ledger, or compare a statement with the ledger.

    Ends with 1 if a list named by --fail-on has open items, with 2 if --fail-on is not understood.
    """
    if as_csv is not None and as_json:
        raise typer.BadParameter("give either --csv or --json, not both")
    failing = _parse_lists(fail_on, statement is not None)
    time = _parse_time(at)
    if statement is None:
        if as_csv is not None and as_csv not in LISTS:
            raise typer.BadParameter(f"there is no list {as_csv!r}; lists: {', '.join(LISTS)}")
        grace = None if grace_hours is None else timedelta(hours=grace_hours)
        totals = _show_lists(data, ledger, time, grace, as_csv, as_json=as_json)
        is_open = any(totals[name].items for name in failing)
    else:
        rules = ComparisonRules(time, days_apart, _parse_number(tolerance))
        read = (_parse_columns(columns), _parse_zone(time_zone), date_format)
        compared = _show_statement(data, ledger, statement, read, rules, as_csv=as_csv is not None, as_json=as_json)
        is_open = bool(failing) and bool(compared.findings)
    if is_open:
        raise typer.Exit(FINDINGS)


def _show_lists(
    data: Path | None, ledger: str, at: datetime, grace: timedelta | None, as_csv: str | None, *, as_json: bool
) -> Mapping[str, ListTotals]:
    async def work(_environment: Environment, connection: Connection) -> Mapping[str, ListTotals]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        if as_csv is not None:
            open_list = LISTS[as_csv]
            list_query = ListQuery(found.ledger_id, at, latest_start(open_list, at, grace), 0, open_list.start)

            async def read_page(list_query: ListQuery) -> tuple[list[OpenItem], Key | None]:
                return await open_list.read(connection, list_query)

            async for lines in csv_pages(read_page, open_list, list_query):
                _write(lines)
        return await count_lists(connection, found.ledger_id, at, grace)

    totals = run_with_connection(data, work)
    if as_csv is None and as_json:
        _write(encode_json({"ledger": ledger, "at": at, "items": totals_json(totals)}))
    elif as_csv is None:
        rows = [
            (
                name,
                f"{totals_of_list.items:,}{' or more' if totals_of_list.more else ''}",
                _format_points(totals_of_list),
                LISTS[name].title,
            )
            for name, totals_of_list in totals.items()
        ]
        show_table(("list", "open", "points", "meaning"), rows)
    return totals


def _show_statement(
    data: Path | None,
    ledger: str,
    statement: Path,
    read: tuple[Mapping[str, str], ZoneInfo, str | None],
    rules: ComparisonRules,
    *,
    as_csv: bool,
    as_json: bool,
) -> StatementComparison:
    compared = StatementComparison()
    shown: list[StatementFinding] = []

    def take(finding: StatementFinding) -> None:
        if as_csv:
            _write(csv_line([getattr(finding, column) for column in (*FINDING_COLUMNS, "position")]))
        elif as_json:
            held.write("," * bool(sum(compared.findings.values()) > 1) + encode_json(finding._asdict()).decode())
        elif len(shown) < FINDINGS_SHOWN_MAX:
            shown.append(finding)

    async def work(_environment: Environment, connection: Connection) -> None:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        if as_csv:
            _write(csv_line((*FINDING_COLUMNS, "position")))
        with ExitStack() as opened:
            standard = str(statement) == "-"
            raw = sys.stdin.buffer if standard else opened.enter_context(statement.open("rb"))
            file = as_utf8(open_file(statement, raw))
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
            async for finding in compare_statement(
                connection, found.ledger_id, read_records(text, *read), rules, compared
            ):
                take(finding)
                await asyncio.sleep(0)
            text.detach()

    with tempfile.TemporaryFile("w+", encoding="utf-8") as held:  # JSON is printed only when complete
        run_with_connection(data, work)
        if as_json:
            held.seek(0)
            _write(b'{"findings":[')
            while block := held.read(COPY_BYTES):
                sys.stdout.write(block)
            _write(b'],"summary":' + encode_json(_summary_json(compared)) + b"}\n")
    if not as_csv and not as_json:
        show_table(
            FINDING_COLUMNS,
            [[getattr(finding, name) for name in FINDING_COLUMNS] for finding in shown],
        )
        _show_totals(compared, len(shown))
    return compared


def _summary_json(compared: StatementComparison) -> dict[str, Any]:
    return {
        "of": compared.of,
        "lines": compared.lines,
        "matched": compared.matched,
        "matched_by": compared.matched_by,
        "findings": compared.findings,
    }


def _show_totals(compared: StatementComparison, shown: int) -> None:
    found = sum(compared.findings.values())
    if found > shown:
        show_note(f"{found - shown:,} more; --csv statement or --json prints all.")
    by = ", ".join(f"{name} {count:,}" for name, count in compared.matched_by.items())
    findings = ", ".join(f"{name} {count:,}" for name, count in sorted(compared.findings.items())) or "no findings"
    show(f"{compared.lines:,} lines of {compared.of}: {compared.matched:,} agree{by and f' ({by})'}; {findings}.")


def _format_points(totals: ListTotals) -> str:
    return ", ".join(f"{format_decimal(points)} {unit}" for unit, points in sorted(totals.points.items()))


def _parse_lists(text: str, with_statement: bool) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    known = {*LISTS, ALL, *({STATEMENT} if with_statement else ())}
    unknown = sorted(names - known)
    if unknown:
        raise typer.BadParameter(
            f"there is no list {unknown[0]!r}; lists: {', '.join(LISTS)}; all", param_hint="--fail-on"
        )
    return set(LISTS) if ALL in names else names


def _parse_time(text: str | None) -> datetime:
    if text is None:
        return clock.now()
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("it must be a time such as 2026-03-31T23:59:59Z", param_hint="--at") from None
    if time.tzinfo is None:
        raise typer.BadParameter("the time needs a zone, for example Z", param_hint="--at")
    return time


def _parse_columns(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if any(not sign for _, sign, _ in pairs):
        raise typer.BadParameter("it must have the form account=Member No,balance=Points", param_hint="--columns")
    return {what.strip(): column.strip() for what, _, column in pairs}


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise typer.BadParameter(f"there is no time zone {name!r}", param_hint="--time-zone") from None


def _parse_number(text: str) -> Decimal:
    try:
        return abs(Decimal(text))
    except ArithmeticError:
        raise RequestInvalid("--tolerance must be a number") from None


def _write(line: bytes) -> None:
    sys.stdout.write(line.decode())
