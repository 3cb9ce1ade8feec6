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
from service.cli.demo_steps import EXAMPLE_PATHS, MEMBERS, DemoLedger, DemoSummary, SentProgramme, SentSamples
from service.cli.serve import warn
from service.cli.terminal.console import JsonOption, show, show_json, show_note, show_table
from service.console.sessions import SessionKeeper
from service.demo.members import FIRST_MEMBER
from service.environment import Environment, load_settings, open_environment
from service.server import run

MEMBERS_MAX = 5_000


def run_demo(
    once: Annotated[bool, typer.Option("--once", help="End after the summary.")] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: LOYALTY_PORT, else 8080.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The data folder. Default: LOYALTY_DATA, else ./data.", show_default=False, file_okay=False),
    ] = None,
    members: Annotated[
        int, typer.Option(min=0, max=MEMBERS_MAX, help="Members of the simulated programme; 0 sends the samples only.")
    ] = MEMBERS,
    as_json: JsonOption = False,
) -> None:
    """Start the service with an embedded PostgreSQL, send it every sample and one year of a simulated programme, show
    the results, and keep serving.

    The ledger stays in the data folder. DATABASE_URL is not used.
    """
    settings = load_settings(data if data is not None else load_settings(None).data)
    show_note(f"Starting PostgreSQL in {settings.data.resolve()}")
    with open_environment(settings, may_make=True) as environment:
        port = settings.port if port is None else port
        uvloop.run(_demonstrate(environment, port, members, once=once, as_json=as_json))


async def _demonstrate(environment: Environment, port: int, members: int, *, once: bool, as_json: bool) -> None:
    await environment.prepare()
    await run.check_setup(environment)
    await warn(environment, sealing=False)
    async with environment.connection() as connection:
        demo_ledger = await demo_steps.prepare_demo(environment, connection)
    async with demo_steps.listen_on_port(environment, port) as url:
        if port and urlsplit(url).port != port:
            show_note(f"Another program listens on port {port}, so the service uses a free port.")
        show_note(f"Sending every sample to {url}")
        sent = await demo_steps.send_samples(url, demo_ledger)
        live = await connect(environment.dsn)
        try:
            if members:
                show_note(f"Sending one year of a simulated programme with {members} members")
                programme = await demo_steps.send_programme(url, demo_ledger, live, members)
            else:
                programme = None
            summary = await demo_steps.summarize(live, demo_ledger.ledger, sent)
        finally:
            await live.close()
        if as_json:
            _show_as_json(sent, programme, summary, None if once else url, demo_ledger)
        else:
            _show_summary(sent, programme, summary)
            if once:
                show("\nTo send queries yourself, run it without --once, or run `loyalty serve`.")
            else:
                _show_example_queries(url, demo_ledger)
                _show_console_link(url, environment, demo_ledger)
        if not once:
            stop = run.stop_event()
            (show_note if as_json else show)("Serving until Ctrl-C.")
            await stop.wait()


def _show_summary(sent: Sequence[SentSamples], programme: SentProgramme | None, summary: DemoSummary) -> None:
    counts = {
        "samples sent": [batch.samples for batch in sent],
        "events appended": [batch.outcomes["appended"] for batch in sent],
        "duplicates": [batch.outcomes["duplicate"] for batch in sent],
        "conflicts": [batch.outcomes["conflict"] for batch in sent],
        "recognised": [len(batch.positions) - summary.unread[batch.source].total() for batch in sent],
        "unrecognised": [summary.unread[batch.source]["unrecognised"] for batch in sent],
        "quarantined": [summary.unread[batch.source]["quarantined"] for batch in sent],
    }
    rows = [(name, *numbers, sum(numbers)) for name, numbers in counts.items()]
    show_table(("", *(batch.source for batch in sent), "all"), rows, title="Events sent")
    if programme is not None:
        counts_of_outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(programme.outcomes.items()))
        show(f"Simulated programme: {programme.members} members, {programme.deliveries} deliveries "
             f"({counts_of_outcomes})\n")  # fmt: skip
    show_table(("projection", "subjects"), summary.subjects.items(), title="Projected subjects")
    if summary.parked:
        show(f"{summary.parked} subjects are parked: see /v1/reconciliation/parked")


def _show_as_json(
    sent: Sequence[SentSamples],
    programme: SentProgramme | None,
    summary: DemoSummary,
    url: str | None,
    demo_ledger: DemoLedger,
) -> None:
    sources = {
        batch.source: {"samples": batch.samples, **dict(batch.outcomes), **dict(summary.unread[batch.source])}
        for batch in sent
    }
    simulated = None if programme is None else {**programme._asdict(), "outcomes": dict(programme.outcomes)}
    service = {} if url is None else {"url": url, "key": demo_ledger.key}
    projected = {"projections": dict(summary.subjects), "parked": summary.parked}
    show_json({"sources": sources, "programme": simulated, **projected, **service})
    sys.stdout.flush()


def _show_example_queries(url: str, demo_ledger: DemoLedger) -> None:
    show(f"\nURL  {url}\nkey  {demo_ledger.key}\n\nTry:")
    for question in EXAMPLE_PATHS:
        show(f"  curl -s -H 'Authorization: Bearer {demo_ledger.key}' '{url}{question}'")


def _show_console_link(url: str, environment: Environment, demo_ledger: DemoLedger) -> None:
    """Print the address of the console, which signs in once."""
    if environment.settings.console:
        token = SessionKeeper(environment.master_key).make_one_time_token(demo_ledger.acting_key)
        show(f"\nConsole, signed in by this link once within ten minutes:\n  {url}/console/login?once={token}")
        show(f"There, search for {FIRST_MEMBER.email}.\n")
