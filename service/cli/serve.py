"""loyalty serve, project, migrate: long-running processes, and the schema that they need."""

import sys
from typing import Annotated

import typer
import uvloop

from service.cli.terminal.console import DataOption, JsonOption, show_json, show_note, show_result
from service.environment import Environment, load_settings, open_environment
from service.gc_tuning import freeze_loaded_objects
from service.postgres_versions import check_version
from service.server import run


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: LOYALTY_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: LOYALTY_PORT, else 8080.")
    ] = None,
    project: Annotated[bool, typer.Option(help="Keep the projections up to date in a process of their own.")] = True,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Receive webhooks and answer queries until SIGTERM or Ctrl-C."""
    settings = load_settings(data)

    async def work(place: Environment) -> None:
        await place.prepare()
        await run.check_setup(place)
        await warn(place, sealing=project)
        if place.embedded:
            show_note(f"Runs on {place}: the owner of that folder can change the ledger.")
        chosen = settings.port if port is None else port
        stop = run.stop_event()
        async with run.running_service(place, host or settings.host, chosen, project=project) as url:
            freeze_loaded_objects()
            show_result({"url": url}, f"Listening on {url}", as_json=as_json)
            sys.stdout.flush()
            await stop.wait()
            run.exit_at_last()
            show_note("Stopping after the current requests.")

    with open_environment(settings, may_make=True) as place:
        uvloop.run(work(place))


async def warn(place: Environment, *, sealing: bool) -> None:
    """Print warnings about the setup before a service starts.

    Raises SetupWrong if the PostgreSQL server is too old.
    """
    async with place.connection() as connection:
        told = await check_version(connection, embedded=place.embedded)
    if told is not None:
        show_note(told)
    if sealing and place.settings.seal and not place.embedded and place.settings.signer is None:
        show_note(
            f"Checkpoints are signed from the folder {place.signer.folder.resolve()}. It must be durable, and "
            "shared by all signing "
            "processes: set LOYALTY_SIGNER to such a folder."
        )


def project(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Keep the projections up to date until SIGTERM or Ctrl-C, beside `loyalty serve --no-project`."""
    with open_environment(load_settings(data)) as place:

        async def ready() -> None:
            await warn(place, sealing=True)
            if as_json:
                show_json({"projecting": str(place)})
                sys.stdout.flush()
            show_note(f"Projecting from {place}")

        uvloop.run(run.run_projector(place, ready))


def migrate(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Migrate the ledger's schema to this version. Needs the database's owner, not the role of the service."""
    with open_environment(load_settings(data), may_make=True) as place:
        schema = uvloop.run(place.migrate())
        done = f"{str(place)[:1].upper()}{str(place)[1:]} is at schema {schema}."
        show_result({"database": str(place), "schema": schema}, done, as_json=as_json)
