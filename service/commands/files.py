"""loyalty import: history in, from files of deliveries."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
import uvloop
from rich.progress import Progress

from ledger import registry
from ledger.errors import RequestInvalid
from ledger.reading import BODY_BYTES_MAX
from ledger.registry import InboundConnection
from ledger.vault import Vault
from projections import generations
from projections.projector import catch_up
from service import import_workers
from service.commands.exports import import_exported
from service.commands.screen import AsJson, Data, note, progress_bar, show_json, show_table
from service.importing import Line, Summary, import_lines, is_damage, open_file, read_lines
from service.memory import keep_what_is_loaded
from service.place import Place, open_place, settings_of

LINES_NAMED_MAX = 10
LARGE_BYTES = 32 * 1024 * 1024  # to start processes takes longer than to import what is smaller

Lines = Iterator[Line]
Tell = Callable[[Summary], None]


def import_file(
    file: Annotated[
        Path | None, typer.Argument(help="NDJSON, also .gz or .zst; - is standard input.", show_default=False)
    ] = None,
    connection_id: Annotated[
        str | None, typer.Option("--connection", help="As if it came in here.", show_default=False)
    ] = None,
    exported: Annotated[
        Path | None,
        typer.Option(help="Instead: what `loyalty export` wrote.", show_default=False),
    ] = None,
    ledger: Annotated[str | None, typer.Option(help="The ledger that --exported makes.", show_default=False)] = None,
    exporter_key: Annotated[
        Path | None, typer.Option(help="Its master key, where ours is another: a file as master.key.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend lines that are not JSON: trailing commas, markdown, a lost brace.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that read; without it, one, or all cores for a large file."),
    ] = None,
    advance: Annotated[bool, typer.Option(help="Bring the projections up to date afterwards.")] = True,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Append each line of a file as a delivery. Run it again if it broke off: what is there already changes nothing.

    Positions follow the file, and webhooks go on coming in between. Ends with 1 if a line could not be stored because
    it is longer than a delivery may be; all others are.

    With --exported and --ledger, makes a ledger equal to an exported one: positions, entries and hashes.
    """
    if exported is not None:
        if ledger is None or file is not None or connection_id is not None:
            raise typer.BadParameter("--exported takes --ledger, and neither a file nor a connection")
        import_exported(exported, ledger, exporter_key, advance=advance, data=data, as_json=as_json)
        return
    if file is None or connection_id is None:
        raise typer.BadParameter("a file and --connection say what is imported, or --exported and --ledger")
    with open_place(settings_of(data)) as place, progress_bar() as progress, ExitStack() as opened:
        inbound = uvloop.run(_find(place, connection_id))
        raw, size = _open(file, opened)
        lines = read_lines(open_file(file, raw))
        tell = _teller(progress, raw, size)
        try:
            summary = _import(place, inbound, lines, tell, workers or _workers_for(size), mending=repair)
        except Exception as error:
            if is_damage(error):
                raise RequestInvalid(f"{file} is damaged; what came before is appended") from error
            raise
        if advance:
            progress.add_task("bringing the projections up to date", total=None)
            uvloop.run(_catch_up(place, inbound))
    _show_summary(summary, mending=repair, as_json=as_json)
    if summary.too_long:
        raise typer.Exit(1)


async def _find(place: Place, connection_id: str) -> InboundConnection:
    async with place.connection() as connection:
        return await registry.find_connection(connection, place.master_key, connection_id)


def _workers_for(size: int | None) -> int:
    return (os.cpu_count() or 1) if size is not None and size >= LARGE_BYTES else 1


def _teller(progress: Progress, raw: BinaryIO, size: int | None) -> Tell:
    """Give what shows how far a file has been imported: by its bytes where its size is known."""
    task = progress.add_task("", total=size)

    def tell(summary: Summary) -> None:
        progress.update(task, completed=raw.tell() if size else None, description=f"{summary.lines:,} lines")

    return tell


def _import(
    place: Place, inbound: InboundConnection, lines: Lines, tell: Tell, workers: int, *, mending: bool
) -> Summary:
    keep_what_is_loaded()
    if workers > 1:
        task = import_workers.Task(place.dsn, place.master_key, inbound, mending)
        return import_workers.import_by_workers(task, lines, tell, workers)

    async def alone() -> Summary:
        async with place.connection() as connection:
            return await import_lines(connection, Vault(place.master_key), inbound, lines, tell, mending=mending)

    return uvloop.run(alone())


async def _catch_up(place: Place, inbound: InboundConnection) -> None:
    async with place.connection() as connection:
        await generations.ensure_live(connection)
        await catch_up(connection, inbound.ledger.ledger_id)


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
