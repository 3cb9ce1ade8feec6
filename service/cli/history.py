"""loyalty digest: what the views come to."""

from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.store import registry
from projections.engine import generations
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from service.cli.console import AsJson, Data, show_json, show_table
from service.environment import Environment, run_with_connection


def show_digest(
    ledger: Annotated[str | None, typer.Option(help="Of this ledger only.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print a hash of every projected row, positions aside: equal histories give equal digests."""

    async def work(_place: Environment, connection: Connection) -> dict[str, dict[str, Any]]:
        await generations.ensure_active_generation(connection)
        found = await registry.list_ledgers(connection) if ledger is None else []
        chosen = found if ledger is None else [await registry.find_ledger(connection, ledger)]
        return {
            one.name: {
                "position": await catch_up(connection, one.ledger_id),
                **(await compute_digest(connection, one.ledger_id))._asdict(),
            }
            for one in chosen
        }

    found = run_with_connection(data, work)
    if as_json:
        show_json(found if ledger is None else {"ledger": ledger, **found[ledger]})
    else:
        columns = ("position", "digest", "untimed_left_out")
        show_table(("ledger", *columns), ((name, *(one[key] for key in columns)) for name, one in found.items()))
