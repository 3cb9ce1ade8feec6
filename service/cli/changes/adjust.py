"""loyalty adjust: change a balance by hand, adopt the vendor's claim, or reverse an adjustment."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ledger import clock
from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import RequestInvalid
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.vendors.fields import as_points
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.changes.bulk_adjust import BulkOptions, adjust_file
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    YesOption,
    confirm,
    show,
    show_json,
    show_note,
)
from service.environment import Environment, run_with_connection
from service.operations.adjust import Author, adjust, plan_adjustment, plan_reversal, reverse
from service.operations.preview import available_after, preview_operation
from service.queries.accounts import account_json, find_account, fold_account
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext

ADJUSTMENT_POINTS = "SELECT points FROM adjustments WHERE ledger_id = $1 AND account_id = $2 AND adjustment = $3"
DRIFT = "SELECT drift FROM accounts WHERE ledger_id = $1 AND account_id = $2"


class RequestedChange(NamedTuple):
    """The requested change. `points` is None to adopt the vendor's claim, and in a reversal (`take_back` is set)."""

    points: Decimal | None
    take_back: str | None
    adjustment: str | None
    expires_on: date | None
    allow_debt: bool
    dry_run: bool
    yes: bool


def adjust_account(
    ledger: LedgerOption,
    author: Annotated[str, typer.Option(help="The person who requests it; stored encrypted.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; stored encrypted.", show_default=False)],
    account: Annotated[
        str | None,
        typer.Argument(
            metavar="ACCOUNT", help="The account's id, in full or the vendor's part alone.", show_default=False
        ),
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(help="Points to add, or a negative number to take away, such as -12.5.", show_default=False),
    ] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Adopt the vendor's last claim.")] = False,
    take_back: Annotated[str | None, typer.Option("--reverse", help="Reverse this adjustment.")] = None,
    adjustment: Annotated[
        str | None,
        typer.Option("--id", help="The adjustment's id, such as a case number. Repeated, it changes nothing."),
    ] = None,
    expires_on: Annotated[str | None, typer.Option(help="The last day of added points, such as 2026-12-31.")] = None,
    allow_debt: Annotated[
        bool, typer.Option("--allow-debt", help="Allow a debt: take away more than is available.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the balance before and after.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="Make the adjustments of a CSV file: id, account, points.", dir_okay=False)
    ] = None,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a balance by an internal event: --points, --adopt, --reverse ADJUSTMENT, or --file for many balances.

    Shows the balance before and after, and asks for confirmation on a terminal. The event stays in the ledger;
    --reverse undoes its effect.
    """
    requester = Author("operator", author, reason)
    if (points is not None) + adopt + (take_back is not None) + (file is not None) != 1:
        raise typer.BadParameter("give exactly one of --points, --adopt, --reverse and --file")
    if file is not None:
        adjust_file(file, ledger, BulkOptions(requester, allow_debt, dry_run), data, yes=yes, as_json=as_json)
        return
    if account is None:
        raise typer.BadParameter("give the ACCOUNT, or --file")
    last_day = None if expires_on is None else _day(expires_on)
    requested = RequestedChange(
        None if points is None else _points(points), take_back, adjustment, last_day, allow_debt, dry_run, yes
    )

    async def work(environment: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        query = QueryContext(
            connection, found, "operator", Vault(environment.master_key).body_hash_key(found.ledger_id)
        )
        return await _adjust(query, Vault(environment.master_key), account, requested, requester)

    result = run_with_connection(data, work)
    figures = {name: format_decimal(result[name]) for name in ("points", "before", "after")}
    if as_json:
        show_json({**result, **figures})
        return
    balances = "{account}: {points}; {before} before, {after} after".format_map(result | figures)
    if dry_run:
        show(f"{balances}. Dry run: nothing was changed.")
    else:
        repeated = " It was made before." if result["outcome"] == "duplicate" else ""
        show(f"{balances}; adjustment {result['id']} at position {result['position']}.{repeated}")


async def _adjust(
    query: QueryContext, vault: Vault, name: str, requested: RequestedChange, requester: Author
) -> dict[str, Any]:
    """Show the change, ask for confirmation and record it. Return the result with the balance before and after."""
    connection, ledger = query.connection, query.ledger
    account_id = (await find_account(query, name))["account_id"]
    requester.check()
    before = await _available(query, account_id)
    change = await _change(query, account_id, requested)
    if change is not None:
        after = before + change
        if after < 0 and change < 0 and not requested.allow_debt:
            raise RequestInvalid(
                f"{format_decimal(before)} points are available, so taking {format_decimal(-change)} away leaves a"
                f" debt of {format_decimal(-after)}; use --allow-debt to allow it"
            )
        if requested.dry_run:
            previewed = await _preview_available(query, vault, account_id, requested, requester)
            after = before if previewed is None else previewed
            return {"account": account_id, "points": change, "before": before, "after": after, "dry_run": True}
        show_note(f"{account_id}: {format_decimal(before)} before, {format_decimal(after)} after.")
        confirm(f"Change it by {format_decimal(change)}?", yes=requested.yes)
    elif requested.dry_run:
        raise RequestInvalid("an adjustment with this id was made before, or there is nothing to reverse or adopt")
    if requested.take_back is not None:
        result = await reverse(connection, vault, ledger, account_id, requested.take_back, requester)
    else:
        result = await adjust(
            connection, vault, ledger, account_id, requested.points, requester,
            adjustment=requested.adjustment, expires_on=requested.expires_on,
        )  # fmt: skip
    await catch_up(connection, ledger.ledger_id)
    return {**result._asdict(), "before": before, "after": await _available(query, account_id)}


async def _preview_available(
    query: QueryContext, vault: Vault, account_id: str, requested: RequestedChange, requester: Author
) -> Decimal | None:
    """Return the points available after the change, by a preview that records nothing."""
    of = (query.connection, vault, query.ledger, account_id)
    if requested.take_back is not None:
        plan = plan_reversal(*of, requested.take_back, requester)
    else:
        plan = plan_adjustment(
            *of, requested.points, requester, adjustment=requested.adjustment, expires_on=requested.expires_on
        )
    _, preview = await preview_operation(query.connection, query.ledger.ledger_id, plan)
    return available_after(preview, account_id)


async def _change(query: QueryContext, account_id: str, requested: RequestedChange) -> Decimal | None:
    """Return the change of the balance. None if this adjustment was made before, or there is nothing to reverse or
    adopt.
    """
    connection, ledger_id = query.connection, query.ledger.ledger_id
    adjustment_points = await connection.fetchval(
        ADJUSTMENT_POINTS, ledger_id, account_id, requested.take_back or requested.adjustment
    )
    if requested.take_back is not None:
        return None if adjustment_points is None else -adjustment_points
    if adjustment_points is not None:
        return None
    drift = await connection.fetchval(DRIFT, ledger_id, account_id) if requested.points is None else None
    return requested.points if requested.points is not None else drift


async def _available(query: QueryContext, account_id: str) -> Decimal:
    """Return the points available now, after today's lapses. A negative value is a debt."""
    view = await fold_account(query, account_id, AsOfQuery(clock.now(), None, False))
    available: Decimal = account_json(view)["available"]
    return available


def _points(text: str) -> Decimal:
    try:
        return as_points(text)
    except ValueError as wrong:
        raise RequestInvalid(f"points: {wrong}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestInvalid("--expires-on must be a day, for example 2026-12-31") from None
