"""loyalty serve, project, dispatch, migrate, spread: long-running processes, and the schema that they need."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated

import typer
import uvloop

from ledger.background import cancel
from ledger.database import Connection
from ledger.gc_tuning import freeze_loaded_objects
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from projections.engine import generations
from service.cli.terminal.console import DataOption, JsonOption, show_json, show_note, show_result
from service.distribution import distribute_ledgers
from service.environment import Environment, load_settings, open_environment, run_with_connection
from service.monitoring.logs import configure_logs
from service.monitoring.opentelemetry_tracer import install_tracer
from service.postgres_versions import check_version
from service.server import run
from service.server.service_workers import running_workers
from service.settings import Settings
from service.startup_checks import check_replication


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: LOYALTY_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: LOYALTY_PORT, else 8080.")
    ] = None,
    project: Annotated[bool, typer.Option(help="Keep the projections up to date in a process of their own.")] = True,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that serve. Default: LOYALTY_WORKERS, else 1.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Receive webhooks and answer queries until SIGTERM or Ctrl-C. With --workers, SIGHUP replaces the workers."""
    settings = load_settings(data)
    count = settings.workers if workers is None else workers

    async def work(environment: Environment) -> None:
        await environment.prepare()
        await run.check_setup(environment)
        await warn(environment, sealing=project)
        if environment.embedded:
            show_note(f"Runs on {environment}: the owner of that folder can change the ledger.")
        address = (host or settings.host, settings.port if port is None else port)
        stop = run.stop_event()
        async with AsyncExitStack() as running:
            if count == 1:
                url = await running.enter_async_context(run.running_service(environment, *address, project=project))
            else:
                service = running_workers(environment, *address, data=data, project=project, count=count)
                url, reload = await running.enter_async_context(service)
                await running.enter_async_context(reloading_on_hangup(reload))
            freeze_loaded_objects()
            show_result({"url": url}, f"Listening on {url}", as_json=as_json)
            sys.stdout.flush()
            await stop.wait()
            run.exit_at_last()
            show_note("Stopping after the current requests.")

    with observe(settings, "serve"), open_environment(settings, may_make=True) as environment:
        uvloop.run(work(environment))


@contextmanager
def observe(settings: Settings, process: str) -> Iterator[None]:
    """Write log lines, and send spans until the block ends, as the settings ask. Raises SetupWrong."""
    configure_logs(settings.log, access=settings.access_log)
    provider = install_tracer(settings.traces, process)
    try:
        yield
    finally:
        if provider is not None:
            provider.shutdown()


@asynccontextmanager
async def reloading_on_hangup(reload: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Call `reload` for each SIGHUP while the block runs, one after the other."""
    hangup = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def reload_always() -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            show_note("Replacing the workers.")
            await reload()
            show_note("The workers are replaced.")

    reloading = asyncio.create_task(reload_always())
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        await cancel(reloading)


async def warn(environment: Environment, *, sealing: bool) -> None:
    """Print warnings about the setup before a service starts.

    Raises SetupWrong if the PostgreSQL server is too old.
    """
    async with environment.connection() as connection:
        warnings = [await check_version(connection, embedded=environment.embedded), await check_replication(connection)]
    for warning in filter(None, warnings):
        show_note(warning)
    if sealing and environment.settings.seal and not environment.embedded and environment.settings.signer is None:
        show_note(
            f"Checkpoints are signed from the folder {environment.signer.folder.resolve()}. It must be durable, and "
            "shared by all signing "
            "processes: set LOYALTY_SIGNER to such a folder."
        )


def project(
    share: Annotated[
        str, typer.Option(help="Share of the ledgers, such as 2/3. Start one process, here or elsewhere, for each.")
    ] = "1/1",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the projections up to date until SIGTERM or Ctrl-C, beside `loyalty serve --no-project`."""
    own_share = LedgerShare.parse(share)
    settings = load_settings(data)
    with observe(settings, "project"), open_environment(settings) as environment:

        async def ready() -> None:
            await warn(environment, sealing=True)
            if as_json:
                show_json({"projecting": str(environment), "share": str(own_share)})
                sys.stdout.flush()
            of_share = "" if own_share == ALL_LEDGERS else f", the ledgers of share {own_share}"
            show_note(f"Projecting from {environment}{of_share}")

        uvloop.run(run.run_projector(environment, ready, own_share))


def dispatch(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Send outgoing webhooks until SIGTERM or Ctrl-C, beside `loyalty serve` with LOYALTY_OUTGOING=false."""
    settings = load_settings(data)
    with observe(settings, "dispatch"), open_environment(settings) as environment:

        async def ready() -> None:
            if as_json:
                show_json({"dispatching": str(environment)})
                sys.stdout.flush()
            show_note(f"Sending outgoing webhooks from {environment}")

        uvloop.run(run.run_dispatcher(environment, ready))


def migrate(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Migrate the ledger's schema to this version. Needs the database's owner, not the role of the service."""
    with open_environment(load_settings(data), may_make=True) as environment:
        schema = uvloop.run(environment.migrate())
        done = f"{str(environment)[:1].upper()}{str(environment)[1:]} is at schema {schema}."
        show_result({"database": str(environment), "schema": schema}, done, as_json=as_json)


def spread(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Distribute the ledgers over the servers of a PostgreSQL with Citus. Repeat it after each `loyalty migrate`.

    Needs the database's owner with the right to create roles. Import events afterwards: a database with events is
    refused.
    """

    async def work(_environment: Environment, connection: Connection) -> list[str]:
        distributed = await distribute_ledgers(connection)
        await generations.ensure_active_generation(connection)
        return distributed

    distributed = run_with_connection(data, work)
    show_result({"distributed": distributed}, f"Distributed: {', '.join(distributed)}.", as_json=as_json)
