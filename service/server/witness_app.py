"""A witness over HTTP (C2SP tlog-witness): POST /add-checkpoint, and its key. It needs no database."""

import asyncio
import time

from aiohttp import web

from ledger.transparency.witness import Witness
from service.api.requests.bodies import BODY_SECONDS_MAX

BODY_BYTES_MAX = 262_144  # a checkpoint of 16 signatures of 5 kB, which C2SP signed-note asks for, and a proof

WITNESS = web.AppKey("witness", Witness)


async def add_checkpoint(request: web.Request) -> web.Response:
    """POST /add-checkpoint: cosign a checkpoint that continues the last one of its log."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            body = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    reply = request.app[WITNESS].add_checkpoint(body, int(time.time()))
    return web.Response(status=reply.status, body=reply.body.encode(), headers={"Content-Type": reply.kind})


async def show_key(request: web.Request) -> web.Response:
    """GET /: the key that verifies its cosignatures."""
    return web.Response(text=request.app[WITNESS].key.write() + "\n")


def make_witness_app(witness: Witness) -> web.Application:
    """Return the application of a witness."""
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[WITNESS] = witness
    app.router.add_routes([web.post("/add-checkpoint", add_checkpoint), web.get("/", show_key)])
    return app
