"""loyalty import, rebuild, digest: history in, the views again, and what they come to."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
import uvloop
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ledger import registry
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.reading import BODY_BYTES_MAX
from ledger.vault import Vault
from projections import generations
from projections.digest import digest
from projections.projector import catch_up
from projections.rebuild import Report, rebuild
from service.commands.screen import ERR, AsJson, Data, note, show, show_json, show_table
from service.importing import Summary, import_lines, is_damage, open_file, read_lines
from service.place import Place, ask, open_place, settings_of

LINES_NAMED_MAX = 10


def import_file(
    file: Annotated[Path, typer.Argument(help="NDJSON, also .gz or .zst; - is standard input.", show_default=False)],
    connection_id: Annotated[str, typer.Option("--connection", help="As if it came in here.", show_default=False)],
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend lines that are not JSON: trailing commas, markdown, a lost brace.")
    ] = False,
    advance: Annotated[bool, typer.Option(help="Bring the projections up to date afterwards.")] = True,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Append each line of a file as a delivery. Run it again if it broke off: what is there already changes nothing.

    Ends with 1 if a line could not be stored because it is longer than a delivery may be; all others are.
    """

    async def work(place: Place, connection: Connection) -> Summary:
        inbound = await registry.find_connection(connection, place.master_key, connection_id)
        with _progress() as progress, ExitStack() as opened:
            raw, size = _open(file, opened)
            task = progress.add_task("", total=size)

            def tell(summary: Summary) -> None:
                done = raw.tell() if size else None
                progress.update(task, completed=done, description=f"{summary.lines:,} lines")

            lines = read_lines(open_file(file, raw))
            summary = await import_lines(connection, Vault(place.master_key), inbound, lines, tell, mending=repair)
            if advance:
                progress.remove_task(task)
                progress.add_task("bringing the projections up to date", total=None)
                await generations.ensure_live(connection)
                await catch_up(connection, inbound.ledger.ledger_id)
        return summary

    try:
        summary = ask(data, work)
    except Exception as error:
        if is_damage(error):
            raise RequestInvalid(f"{file} is damaged; what came before is appended") from error
        raise
    _show_summary(summary, mending=repair, as_json=as_json)
    if summary.too_long:
        raise typer.Exit(1)


def rebuild_views(data: Data = None, as_json: AsJson = False) -> None:
    """Derive every fact and row again from position 1, compare with the live ones, and swap. Nobody needs to stop."""

    async def work(place: Place) -> Report:
        async with place.connection() as connection:
            await generations.ensure_live(connection)
        with _progress() as progress:
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


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal)


def _open(file: Path, opened: ExitStack) -> tuple[BinaryIO, int | None]:
    """Open a file, or standard input, whose size is not known."""
    if str(file) == "-":
        return sys.stdin.buffer, None
    raw = opened.enter_context(file.open("rb"))
    return raw, file.stat().st_size


def _show_summary(summary: Summary, *, mending: bool, as_json: bool) -> None:
    told = {
        "lines": summary.lines,
        "appended": summary.appended,
        "duplicates": summary.duplicates,
        "conflicts": summary.conflicts,
        "unreadable": summary.unreadable,
        "too_long": summary.too_long,
    }
    if as_json:
        mended = {"lines": summary.mended_lines, "places": summary.mended_places}
        show_json({**told, "repaired": mended} if mending else told)
    else:
        show_table(tuple(told), [[*list(told.values())[:-1], len(summary.too_long)]])
    if mending:
        places = ", ".join(f"{rule} {count:,}" for rule, count in sorted(summary.mended_places.items()))
        note(
            f"Lines repaired: {summary.mended_lines:,}{places and f' ({places})'}. What is stored is the repaired text."
        )
    if summary.too_long:
        named = ", ".join(str(number) for number in summary.too_long[:LINES_NAMED_MAX])
        more = " and more" if len(summary.too_long) > LINES_NAMED_MAX else ""
        note(f"Longer than {BODY_BYTES_MAX:,} bytes, and not stored: line {named}{more}.")
