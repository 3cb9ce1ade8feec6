"""loyalty terms: set a programme's rules where the vendor states nothing, and list them."""

from datetime import datetime, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.registry import Ledger
from projections.engine import generations
from projections.engine.worker import catch_up
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show_json, show_table
from service.cli.terminal.dry_runs import DryRunOption, show_outcome
from service.cli.terminal.operators import record_command
from service.environment import Environment, run_with_connection
from service.formatting import format_time
from service.operations.preview import Preview, preview_operation
from service.operations.programme_terms import PROGRAMMES, VERSIONS, TermsChange, plan_terms, set_terms
from service.queries.context import QueryContext
from service.queries.programmes import find_programme

PROGRAMMES_MAX = 10_000
NAMED_MAX = 20

terms = typer.Typer(help="Terms of programmes: time zone, expiry, value of a point.", no_args_is_help=True)


@terms.command("set")
def set_programme_terms(
    ledger: LedgerOption,
    programme: Annotated[
        str, typer.Option(help="The programme's id, in full or the vendor's part alone.", show_default=False)
    ],
    effective_from: Annotated[
        str, typer.Option(help="In effect from this day on, in the time zone; or from a time with a zone.")
    ],
    time_zone: Annotated[str, typer.Option(help="IANA name, such as Asia/Kolkata.")],
    expiry: Annotated[str, typer.Option(help="never, fixed or sliding.")] = "never",
    days: Annotated[int | None, typer.Option(help="Validity in days; 0 ends on the day of earning.")] = None,
    months: Annotated[int | None, typer.Option(help="Validity in months.")] = None,
    years: Annotated[int | None, typer.Option(help="Validity in years.")] = None,
    round_to_end_of: Annotated[
        str | None,
        typer.Option(help="End of validity is moved to the end of: month, quarter, half, year, or a named month."),
    ] = None,
    ratio: Annotated[str | None, typer.Option(help="Value of one point, with --currency.")] = None,
    currency: Annotated[str | None, typer.Option(help="Three letters, such as INR.")] = None,
    reversal_after_expiry: Annotated[
        str, typer.Option(help="Points returned after their last day: lapse, original or grace.")
    ] = "lapse",
    reversal_grace_days: Annotated[int, typer.Option(help="Days of validity with --reversal-after-expiry grace.")] = 0,
    transfer_grace_days: Annotated[
        int | None, typer.Option(help="Days until a transfer with one half is listed.")
    ] = None,
    existing_lots: Annotated[
        bool, typer.Option("--existing-lots", help="Apply the terms to lots earned before, too.")
    ] = False,
    new_programme: Annotated[
        bool, typer.Option("--new-programme", help="The ledger has no event of it yet; give source:org:programme.")
    ] = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set all terms of a programme from a day on. Values that the vendor states always win."""
    period = {"days": days, "months": months, "years": years}
    period = {name: length for name, length in period.items() if length is not None}
    terms_document: dict[str, Any] = {
        "effective_from": effective_from,
        "time_zone": time_zone,
        "expiry": {"rule": expiry, "round_to_end_of": round_to_end_of, **period},
        "existing_lots": existing_lots,
        "points_to_currency": None if ratio is None and currency is None else {"ratio": ratio, "currency": currency},
        "reversal_after_expiry": {"policy": reversal_after_expiry, "grace_days": reversal_grace_days},
        "transfer_grace_days": transfer_grace_days,
    }

    async def work(environment: Environment, connection: Connection) -> tuple[TermsChange, Preview | None]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        vault = Vault(environment.master_key)
        await catch_up(connection, found.ledger_id)
        name = programme if new_programme else await _find_programme_id(connection, found, programme)
        if dry_run:
            plan = plan_terms(vault, found, name, terms_document, by="operator")
            return await preview_operation(connection, found.ledger_id, plan, with_liability=True)
        await record_command(connection, f"programme set {name}", found)
        change = await set_terms(connection, vault, found, name, terms_document, by="operator")
        await catch_up(connection, found.ledger_id)
        return change, None

    change, preview = run_with_connection(data, work)
    text = f"Set the terms of {change.programme}; recorded at position {change.position}."
    show_outcome(change, preview, text, as_json=as_json)


async def _find_programme_id(connection: Connection, ledger: Ledger, name: str) -> str:
    """Return the full id of a programme with events or terms. Raises RequestInvalid, which lists the known
    programmes."""
    try:
        return await find_programme(QueryContext(connection, ledger, "operator"), name)
    except SubjectUnknown:
        rows = await connection.fetch(PROGRAMMES, ledger.ledger_id, "", NAMED_MAX)
        there = ", ".join(row["id"] for row in rows) or "none"
        raise RequestInvalid(
            f"the programme {name} is unknown; known programmes: {there}. Use --new-programme to set terms before its "
            "first event"
        ) from None


@terms.command("list")
def list_terms(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the programmes of a ledger and every version of their terms."""

    async def work(_environment: Environment, connection: Connection) -> list[tuple[object, ...]]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        programmes = await connection.fetch(PROGRAMMES, found.ledger_id, "", PROGRAMMES_MAX)
        ids = [row["id"] for row in programmes]
        versions = await connection.fetch(VERSIONS, found.ledger_id, ids)
        with_terms = {row["subject"] for row in versions}
        rows = [(programme, None, None, None, None, None) for programme in ids if programme not in with_terms]
        return sorted(
            [*rows, *((row["subject"], *_version_cells(row)) for row in versions)],
            key=lambda row: (row[0], str(row[1])),
        )

    rows = run_with_connection(data, work)
    columns = ("programme", "from", "time zone", "points lapse", "value of a point", "set by")
    if as_json:
        names = ("programme", "effective_from", "time_zone", "expiry", "worth", "set_by")
        show_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        show_table(columns, [(row[0], _format_start(row[1], row[2]), *row[2:]) for row in rows])


def _version_cells(row: Any) -> tuple[object, ...]:
    """Format one version of terms as cells of a table."""
    expiry = row["expiry"]
    if expiry != "never":
        months, days, until = row["expiry_months"], row["expiry_days"], row["expiry_until"]
        since = "activity" if expiry == "sliding" else "earning"
        periods = [f"{months} months after {since}"] if months else [f"{days} days after {since}"] if days else []
        expiry = ", ".join([*periods, *([f"to the end of {until}"] if until else [])])
    worth = None if row["currency"] is None else f"{format_decimal(row['points_to_currency'])} {row['currency']}"
    return (format_time(row["effective_from"]), row["time_zone"], expiry, worth, row["set_by"])


def _format_start(effective_from: Any, zone: Any) -> str | None:
    """Format the start of a version as it was set: a day in its own time zone, or a time if it is not midnight."""
    if effective_from is None:
        return None
    there = datetime.fromisoformat(effective_from).astimezone(ZoneInfo(zone))
    return there.date().isoformat() if there.time() == time() else there.isoformat()
