"""Bulk adjustments: each row of a CSV file is one adjustment, made once by its id. A refused row stops no other."""

import csv
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson
import typer

from ledger.database import Connection
from ledger.errors import LedgerError, RequestInvalid
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.vendors.fields import as_points
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.terminal.console import confirm, show, show_json, show_table
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, run_with_connection
from service.formatting import encode_json
from service.operations.adjust import Author, adjust, plan_adjustment
from service.operations.preview import available_after, preview_operation
from service.queries.accounts import find_account
from service.queries.context import QueryContext

ROWS_MAX = 100_000
REQUIRED = ("id", "account", "points")
OPTIONAL = ("expires_on", "author", "reason")
ADOPT = "adopt"


class BulkAdjustment(NamedTuple):
    """One row. `points` None adopts the vendor's claim."""

    line: int
    adjustment: str
    account: str
    points: Decimal | None
    author: Author
    expires_on: date | None


class BulkOutcome(NamedTuple):
    """Result of one row. `after` are the points available after it; `reason` states why it was refused."""

    line: int
    id: str
    account: str
    points: Decimal | None
    outcome: str  # "appended", "duplicate" or "refused"
    position: int | None
    after: Decimal | None
    reason: str | None


class BulkOptions(NamedTuple):
    """Options of all rows. Author and reason hold for rows that state none."""

    author: Author
    allow_debt: bool
    dry_run: bool


def adjust_file(file: Path, ledger: str, options: BulkOptions, data: Path | None, *, yes: bool, as_json: bool) -> None:
    """Make the adjustments of a file, and print the result of each row. Ends with 1 if a row was refused."""
    rows = list(read_rows(file, options.author))
    if not options.dry_run:
        confirm(f"Make {len(rows):,} adjustments in the ledger {ledger}?", yes=yes)

    async def work(environment: Environment, connection: Connection) -> list[BulkOutcome]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        vault = Vault(environment.master_key)
        query = QueryContext(connection, found, "operator", vault.body_hash_key(found.ledger_id))
        return [outcome async for outcome in adjust_rows(query, vault, rows, options)]

    outcomes = run_with_connection(data, work)
    if as_json:
        show_json(orjson.loads(encode_json([outcome._asdict() for outcome in outcomes])))
    else:
        show_table(BulkOutcome._fields, outcomes)
        refused = sum(outcome.outcome == "refused" for outcome in outcomes)
        done = " Dry run: nothing was recorded." if options.dry_run else ""
        show(f"{len(outcomes) - refused:,} rows accepted, {refused:,} refused.{done}")
    if any(outcome.outcome == "refused" for outcome in outcomes):
        raise typer.Exit(FINDINGS)


def read_rows(file: Path, author: Author) -> Iterator[BulkAdjustment | BulkOutcome]:
    """Read the rows of a CSV file. A row that cannot be read is a refused outcome.

    Raises RequestInvalid if the file cannot be read, lacks a column, has an unknown one, or has too many rows.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            columns = reader.fieldnames or ()
            unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
            missing = [name for name in REQUIRED if name not in columns]
            if unknown or missing:
                raise RequestInvalid(
                    f"the first line of --file must name the columns {', '.join(REQUIRED)}, and may name"
                    f" {', '.join(OPTIONAL)}; missing: {', '.join(missing) or 'none'}, unknown: {len(unknown)}"
                )
            seen: set[str] = set()
            for row in reader:
                if len(seen) >= ROWS_MAX:
                    raise RequestInvalid(f"--file has more than {ROWS_MAX:,} rows")
                yield _parse_row(reader.line_num, row, author, seen)
                seen.add(row["id"] or f"line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestInvalid(f"--file cannot be read as CSV in UTF-8: {type(error).__name__}") from None


def _parse_row(
    line: int, row: Mapping[str, str | None], author: Author, seen: set[str]
) -> BulkAdjustment | BulkOutcome:
    adjustment, account, points = ((row[name] or "").strip() for name in REQUIRED)
    day = (row.get("expires_on") or "").strip()
    try:
        if not adjustment or not account:
            raise ValueError("id and account are required")
        if adjustment in seen:
            raise ValueError("an earlier row has the same id")
        amount = None if points == ADOPT else as_points(points)
        if day and (amount is None or amount < 0):
            raise ValueError("expires_on is allowed only if points are added")
        of_row = Author(author.by, row.get("author") or author.author, row.get("reason") or author.reason)
        return BulkAdjustment(line, adjustment, account, amount, of_row, date.fromisoformat(day) if day else None)
    except ValueError as error:
        return BulkOutcome(line, adjustment, account, None, "refused", None, None, str(error))


async def adjust_rows(
    query: QueryContext, vault: Vault, rows: list[BulkAdjustment | BulkOutcome], options: BulkOptions
) -> AsyncIterator[BulkOutcome]:
    """Make the adjustments in order, each in its own transaction. A dry run previews each row alone."""
    for row in rows:
        if isinstance(row, BulkOutcome):
            yield row
            continue
        try:
            yield await _adjust_row(query, vault, row, options)
        except LedgerError as error:
            yield BulkOutcome(row.line, row.adjustment, row.account, row.points, "refused", None, None, str(error))


async def _adjust_row(query: QueryContext, vault: Vault, row: BulkAdjustment, options: BulkOptions) -> BulkOutcome:
    connection, ledger = query.connection, query.ledger
    account_id = (await find_account(query, row.account))["account_id"]
    of = (connection, vault, ledger, account_id, row.points, row.author)
    plan = plan_adjustment(*of, adjustment=row.adjustment, expires_on=row.expires_on)
    planned, preview = await preview_operation(connection, ledger.ledger_id, plan)
    after = available_after(preview, account_id)
    if after is not None and after < 0 and planned.points < 0 and not options.allow_debt:
        raise RequestInvalid(f"it leaves a debt of {-after:f} points; use --allow-debt to allow it")
    if options.dry_run:
        result = planned
    else:
        result = await adjust(*of, adjustment=row.adjustment, expires_on=row.expires_on)
        await catch_up(connection, ledger.ledger_id)
    return BulkOutcome(
        row.line, row.adjustment, account_id, result.points, result.outcome, result.position, after, None
    )
