"""loyalty witness: a small witness to run on another party's machine, without a database."""

import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from aiohttp import web

from ledger.transparency.signed_notes import VerifierKey
from ledger.transparency.witness import Witness
from service.cli.terminal.console import JsonOption, show_note, show_result
from service.environment import service_url
from service.server.protocol import LimitedRunner
from service.server.run import stop_event
from service.server.witness_app import make_witness_app


def witness(
    name: Annotated[str, typer.Option(help="The witness's name, such as witness.example.com/w1.", show_default=False)],
    folder: Annotated[
        Path, typer.Option(help="Folder for its key and the last checkpoint of each log.", file_okay=False)
    ] = Path("witness"),
    log: Annotated[
        list[str] | None, typer.Option(help="The public key of a log to cosign from now on; can be repeated.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8081,
    as_json: JsonOption = False,
) -> None:
    """Cosign checkpoints of known logs, each only if it continues the last one, until SIGTERM or Ctrl-C.

    Logs stay known: pass a key once. If a log changes its key, pass the new key too.
    """
    made = Witness(folder, name)
    for key in log or ():
        made.trust(VerifierKey.read(key))

    async def work() -> None:
        runner = LimitedRunner(make_witness_app(made), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            stop = stop_event()
            url = service_url(host, runner.addresses[0][1])
            key = made.key.write()
            show_result({"key": key, "url": url}, f"{key}\nListening on {url}", as_json=as_json)
            sys.stdout.flush()
            if not made.logs():
                show_note("The witness knows no log yet; start it with --log KEY.")
            await stop.wait()
        finally:
            await runner.cleanup()

    uvloop.run(work())
