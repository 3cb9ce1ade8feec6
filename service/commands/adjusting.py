"""loyalty adjust: change a balance by hand, adopt what the vendor claims, or take an adjustment back."""

from datetime import date
from decimal import Decimal
from typing import Annotated

import typer

from ledger import registry
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.vault import Vault
from ledger.vendors.shape import as_points
from projections import generations
from projections.projector import catch_up
from service.adjusting import Adjusted, Words, adjust, reverse
from service.answers import plain
from service.commands.screen import AsJson, Data, InLedger, show, show_json
from service.place import Place, ask
from service.window.account_views import find_account
from service.window.reading import Reader


def adjust_account(
    ledger: InLedger,
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its id, whole or bare.", show_default=False)],
    author: Annotated[str, typer.Option(help="Who asks for it; sealed.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; sealed.", show_default=False)],
    points: Annotated[str | None, typer.Option(help="Add so many, or take -12.5 away.", show_default=False)] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take the vendor's claim for true.")] = False,
    take_back: Annotated[str | None, typer.Option("--reverse", help="Take this adjustment back.")] = None,
    adjustment: Annotated[str | None, typer.Option("--id", help="It is made once under this id.")] = None,
    expires_on: Annotated[str | None, typer.Option(help="The last day of points added, 2026-12-31.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change a balance by an event of ours: --points, --adopt, or --reverse ADJUSTMENT."""
    if (points is not None) + adopt + (take_back is not None) != 1:
        raise typer.BadParameter("one of --points, --adopt and --reverse")
    words = Words("operator", author, reason)
    wanted = None if points is None else _points(points)
    last_day = None if expires_on is None else _day(expires_on)

    async def work(place: Place, connection: Connection) -> Adjusted:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_live(connection)
        await catch_up(connection, found.ledger_id)
        vault = Vault(place.master_key)
        account_id = (await find_account(Reader(connection, found, "operator"), account))["account_id"]
        if take_back is not None:
            done = await reverse(connection, vault, found, account_id, take_back, words)
        else:
            done = await adjust(
                connection, vault, found, account_id, wanted, words, adjustment=adjustment, expires_on=last_day
            )
        await catch_up(connection, found.ledger_id)
        return done

    done = ask(data, work)
    if as_json:
        show_json({**done._asdict(), "points": plain(done.points)})
    else:
        again = " It had been made before." if done.outcome == "duplicate" else ""
        show(f"{done.account}: {plain(done.points)}; adjustment {done.adjustment} at position {done.position}.{again}")


def _points(text: str) -> Decimal:
    try:
        return as_points(text)
    except ValueError as wrong:
        raise RequestInvalid(f"points: {wrong}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestInvalid("expires-on is a day, for example 2026-12-31") from None
