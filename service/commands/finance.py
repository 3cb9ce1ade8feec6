"""loyalty trial-balance, liability, close, reopen: what finance asks, and what it decides."""

import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ledger import registry
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.registry import Ledger
from ledger.vault import Vault
from projections import generations
from projections.projector import catch_up
from service.answers import encode, plain
from service.closing import close_period, liability, reopen_period
from service.commands.explaining import OPERATOR, AsOfPosition, At, KnownAt
from service.commands.screen import AsJson, Data, note, show, show_json, show_table
from service.exit_codes import FOUND
from service.journal import FORMATS, to_beancount, to_csv, to_ndjson
from service.liability import Liability, shown_row, trial_balance, unbalanced
from service.place import Place, ask
from service.window.finance import asked, read_period
from service.window.reading import Reader, resolved

LedgerName = Annotated[str | None, typer.Option("--ledger", help="The ledger's name; not needed if there is one only.")]
PeriodName = Annotated[str, typer.Argument(metavar="PERIOD", help="A month, such as 2026-03.", show_default=False)]
SHOWN = ("programme", "unit", "from", "to", "vintage", "opening", "closing", "value", "currency")


def show_trial_balance(
    ledger: LedgerName = None,
    at: At = None,
    as_of_position: AsOfPosition = None,
    known_at: KnownAt = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sum every class of all accounts by programme and unit. Ends with 1 unless each sum is zero."""
    query = _given(at=at, as_of_position=as_of_position, known_at=known_at)

    async def work(_place: Place, connection: Connection) -> dict[str, Any]:
        read = await _reader(connection, ledger)
        times = await resolved(read, query)
        balance = await trial_balance(connection, read.ledger.ledger_id, times.at, times.position)
        sums = balance.sums()
        wrong = balance.differing or await unbalanced(connection, read.ledger.ledger_id)
        return {
            "at": times.at,
            "balanced": not any(one.sum for one in sums) and not wrong,
            "accounts": balance.accounts,
            "accounts_differing": balance.differing[:100],
            "items": [{**one._asdict(), "sum": one.sum} for one in sums],
        }

    found = ask(data, work)
    if as_json:
        show_json(orjson.loads(encode(found)))
    else:
        rows = [
            (item["programme"], item["unit"], name, plain(points))
            for item in found["items"]
            for name, points in [*item["classes"].items(), ("sum", item["sum"])]
        ]
        show_table(("programme", "unit", "class", "points"), rows)
        note(f"{found['accounts']:,} accounts; {'balanced' if found['balanced'] else 'NOT balanced'}.")
    if not found["balanced"]:
        raise typer.Exit(FOUND)


def show_liability(
    ledger: LedgerName = None,
    first: Annotated[str | None, typer.Option("--from", help="The first day; that of the month by default.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day, in it; today by default.")] = None,
    by: Annotated[str, typer.Option(help="day or month.")] = "month",
    programme: Annotated[str | None, typer.Option(help="Of this programme only.")] = None,
    unit: Annotated[str | None, typer.Option(help="Of this unit only.")] = None,
    vintage: Annotated[str | None, typer.Option(help="Of points earned in this month only.")] = None,
    as_of_position: AsOfPosition = None,
    known_at: KnownAt = None,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "table",
    output: Annotated[Path | None, typer.Option(help="The file to write; standard output by default.")] = None,
    data: Data = None,
) -> None:
    """Roll the points outstanding forward, by vintage: as a table, or for a spreadsheet, a warehouse, beancount.

    Closed months are as known when they were closed. Ends with 1 if the closing is not the sum of the accounts.
    """
    if form not in FORMATS:
        raise RequestInvalid(f"a format is one of {', '.join(FORMATS)}")
    query = _given(as_of_position=as_of_position, known_at=known_at)
    days = {"from": first, "to": last, "by": by, "programme": programme, "unit": unit, "vintage": vintage}

    async def work(_place: Place, connection: Connection) -> tuple[Ledger, Liability]:
        read = await _reader(connection, ledger)
        times = await resolved(read, query)
        wanted = await asked(read, _given(**days), times)
        return read.ledger, await liability(connection, read.ledger.ledger_id, wanted, times.position)

    found, done = ask(data, work)
    if form == "table":
        shown = [shown_row(row) for row in done.rows]
        show_table(SHOWN, ([_cell(row[name]) for name in SHOWN] for row in shown))
    else:
        files = {"csv": to_csv(done.rows), "ndjson": to_ndjson(done.rows), "beancount": to_beancount(found.name, done)}
        _write(files[form], output)
    for tie in done.ties:
        if tie.difference:
            note(f"{tie.programme} {tie.unit}: {plain(tie.closing)} is not the accounts' {plain(tie.accounts)}.")
    if any(tie.difference for tie in done.ties):
        raise typer.Exit(FOUND)


def close(period: PeriodName, ledger: LedgerName = None, data: Data = None, as_json: AsJson = False) -> None:
    """Close a month: from now on it is answered as it is known now, and what comes late shows in the next."""
    _act(close_period, period, ledger, data, as_json, "Closed")


def reopen(period: PeriodName, ledger: LedgerName = None, data: Data = None, as_json: AsJson = False) -> None:
    """Open the last closed month again."""
    _act(reopen_period, period, ledger, data, as_json, "Opened")


def _act(work_on: Any, period: str, ledger: str | None, data: Path | None, as_json: bool, done: str) -> None:
    read_period(period)

    async def work(place: Place, connection: Connection) -> tuple[Ledger, int]:
        read = await _reader(connection, ledger)
        position = await work_on(connection, Vault(place.master_key), read.ledger, period, by=OPERATOR)
        await catch_up(connection, read.ledger.ledger_id)
        return read.ledger, position

    found, position = ask(data, work)
    if as_json:
        show_json({"ledger": found.name, "period": period, "position": position})
    else:
        show(f"{done} {period} of {found.name}; the act stands at position {position}.")


async def _reader(connection: Connection, name: str | None) -> Reader:
    """Give a reader of a ledger whose rows reflect all of it; the only ledger unless one is named."""
    await generations.ensure_live(connection)
    if name is None:
        every = await registry.all_ledgers(connection)
        if len(every) != 1:
            raise RequestInvalid(f"--ledger is one of {', '.join(one.name for one in every) or 'none yet'}")
        [found] = every
    else:
        found = await registry.find_ledger(connection, name)
    await catch_up(connection, found.ledger_id)
    return Reader(connection, found, OPERATOR)


def _given(**options: object) -> Mapping[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return plain(value) if isinstance(value, Decimal) else str(value)


def _write(lines: Iterator[str], output: Path | None) -> None:
    if output is None:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        return
    with output.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
