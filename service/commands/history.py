"""loyalty rebuild, digest: the views again, and what they come to."""

from typing import Annotated, Any

import typer
import uvloop

from ledger import registry
from ledger.database import Connection
from projections import generations
from projections.digest import digest
from projections.projector import catch_up
from projections.replay import Report, rebuild
from service.commands.screen import AsJson, Data, progress_bar, show, show_json, show_table
from service.place import Place, ask, open_place, settings_of


def rebuild_views(data: Data = None, as_json: AsJson = False) -> None:
    """Derive every fact and row again from position 1, compare with the live ones, and swap. Nobody needs to stop."""

    async def work(place: Place) -> Report:
        async with place.connection() as connection:
            await generations.ensure_live(connection)
        with progress_bar() as progress:
            task = progress.add_task("", total=None)

            def tell(stage: str, done: int, of: int) -> None:
                progress.update(task, completed=done, total=of or None, description=stage)

            return await rebuild(place.dsn, progress=tell)

    with open_place(settings_of(data)) as place:
        report = uvloop.run(work(place))
    if as_json:
        show_json(report._asdict())
        return
    show(f"Rebuilt from {report.events:,} events, which gave {report.facts:,} facts.")
    for ledger, tables in report.differing.items():
        show(f"In {ledger} these tables came out otherwise than they were: {', '.join(tables)}.")
    if not report.differing:
        show("Every row came out as it was.")


def show_digest(
    ledger: Annotated[str | None, typer.Option(help="Of this ledger only.")] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print a hash of every projected row, positions aside: equal histories give equal digests."""

    async def work(_place: Place, connection: Connection) -> dict[str, dict[str, Any]]:
        await generations.ensure_live(connection)
        found = await registry.all_ledgers(connection) if ledger is None else []
        chosen = found if ledger is None else [await registry.find_ledger(connection, ledger)]
        return {
            one.name: {
                "position": await catch_up(connection, one.ledger_id),
                **(await digest(connection, one.ledger_id))._asdict(),
            }
            for one in chosen
        }

    found = ask(data, work)
    if as_json:
        show_json(found if ledger is None else {"ledger": ledger, **found[ledger]})
    else:
        columns = ("position", "digest", "untimed_left_out")
        show_table(("ledger", *columns), ((name, *(one[key] for key in columns)) for name, one in found.items()))
