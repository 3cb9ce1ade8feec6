"""loyalty demo: a first look at the service with real payloads, in a minute."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop

from ledger.database import connect
from service.cli import demo_steps
from service.cli.demo_steps import EXAMPLE_PATHS, DemoLedger, DemoSummary, SentSamples
from service.cli.serve import warn
from service.cli.terminal.console import JsonOption, show, show_json, show_note, show_table
from service.environment import Environment, load_settings, open_environment
from service.server import run


def run_demo(
    once: Annotated[bool, typer.Option("--once", help="End after the summary.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: LOYALTY_PORT, else 8080.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The data folder. Default: LOYALTY_DATA, else ./data.", show_default=False, file_okay=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start the service with an embedded PostgreSQL, send it every sample, show the results, and keep serving.

    The ledger stays in the data folder. DATABASE_URL is not used.
    """
    settings = load_settings(data if data is not None else load_settings(None).data)
    show_note(f"Starting PostgreSQL in {settings.data.resolve()}")
    with open_environment(settings, may_make=True) as place:
        uvloop.run(_demonstrate(place, settings.port if port is None else port, once=once, as_json=as_json))


async def _demonstrate(place: Environment, port: int, *, once: bool, as_json: bool) -> None:
    await place.prepare()
    await run.check_setup(place)
    await warn(place, sealing=False)
    async with place.connection() as connection:
        made = await demo_steps.prepare_demo(place, connection)
    async with demo_steps.listen_on_port(place, port) as url:
        if port and urlsplit(url).port != port:
            show_note(f"Another program listens on port {port}, so the service uses a free port.")
        show_note(f"Sending every sample to {url}")
        sent = await demo_steps.send_samples(url, made)
        live = await connect(place.dsn)
        try:
            summary = await demo_steps.summarize(live, made.ledger, sent)
        finally:
            await live.close()
        if as_json:
            _show_as_json(sent, summary, None if once else url, made)
        else:
            _show_summary(sent, summary)
            if once:
                show("\nTo send queries yourself, run it without --once, or run `loyalty serve`.")
            else:
                _show_questions(url, made)
        if not once:
            stop = run.stop_event()
            (show_note if as_json else show)("Serving until Ctrl-C.")
            await stop.wait()


def _show_summary(sent: Sequence[SentSamples], summary: DemoSummary) -> None:
    counts = {
        "samples sent": [one.samples for one in sent],
        "events appended": [one.outcomes["appended"] for one in sent],
        "duplicates": [one.outcomes["duplicate"] for one in sent],
        "conflicts": [one.outcomes["conflict"] for one in sent],
        "recognised": [len(one.positions) - summary.unread[one.source].total() for one in sent],
        "unrecognised": [summary.unread[one.source]["unrecognised"] for one in sent],
        "quarantined": [summary.unread[one.source]["quarantined"] for one in sent],
    }
    rows = [(name, *numbers, sum(numbers)) for name, numbers in counts.items()]
    show_table(("", *(one.source for one in sent), "all"), rows, title="Events sent")
    show_table(("projection", "subjects"), summary.subjects.items(), title="Projected subjects")
    if summary.parked:
        show(f"{summary.parked} subjects are parked: see /v1/reconciliation/parked")


def _show_as_json(sent: Sequence[SentSamples], summary: DemoSummary, url: str | None, made: DemoLedger) -> None:
    sources = {
        one.source: {"samples": one.samples, **dict(one.outcomes), **dict(summary.unread[one.source])} for one in sent
    }
    service = {} if url is None else {"url": url, "key": made.key}
    show_json({"sources": sources, "projections": dict(summary.subjects), "parked": summary.parked, **service})
    sys.stdout.flush()


def _show_questions(url: str, made: DemoLedger) -> None:
    show(f"\nURL  {url}\nkey  {made.key}\n\nTry:")
    for question in EXAMPLE_PATHS:
        show(f"  curl -s -H 'Authorization: Bearer {made.key}' '{url}{question}'")
