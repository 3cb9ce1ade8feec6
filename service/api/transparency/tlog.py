"""The log of a ledger in the standard format C2SP tlog-tiles, so that existing verifiers read it.

The same files have two addresses:

- /v1/ledger/tlog/ needs a key of scope `read` or `audit`: a bearer token, or the password of HTTP Basic, which fits
  into a URL;
- /v1/logs/{token}/ needs no key. An operator publishes such an address.

Immutable files are marked for caches; the checkpoint is not. Leaves count from 0: leaf i is position i + 1. Reads with
a key of scope `audit` are recorded. All tiles read within a minute are one look.
"""

import gzip
import re
from typing import Any

from aiohttp import web

from ledger import merkle
from ledger.errors import NotFound, NotSealedYet
from ledger.merkle import TILE_WIDTH, TileName
from ledger.store import read
from ledger.store.registry import Ledger
from ledger.transparency import tiles
from ledger.transparency.public_logs import find_published
from service.api.requests.admission import ACCESS, get, keyless
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import log_access
from service.api.requests.parameters import REASON
from service.queries.checkpoints import cosigned_note, newest_checkpoint

GZIP_LEVEL = 1
FOR_EVER = "max-age=31536000, immutable"
BRIEFLY = "no-cache"

_TILE = re.compile(
    r"(?P<level>entries|0|[1-9]|[1-5][0-9]|6[0-3])/(?P<groups>(?:x[0-9]{3}/){0,5}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


async def get_log_checkpoint(request: web.Request) -> web.Response:
    """Return the newest signed checkpoint of the log, with the cosignatures of witnesses."""
    ledger = await _ledger_of(request, "checkpoint")
    async with request.app[APP_CONTEXT].service_pool.acquire() as connection:
        signed = await newest_checkpoint(connection, ledger)
        body = await cosigned_note(connection, ledger, signed)
    headers = {"Cache-Control": BRIEFLY}
    return web.Response(body=body, content_type="text/plain", charset="utf-8", headers=headers)


async def get_log_tile(request: web.Request) -> web.Response:
    """Return a tile of the log in the format C2SP tlog-tiles.

    `path` is `{level}/{number}[.p/{width}]` for hashes of the tree, or `entries/{number}[.p/{width}]` for entries.
    """
    ledger = await _ledger_of(request, "tiles")
    match = _TILE.fullmatch(request.match_info["path"])
    if match is None or int(match["width"] or 0) >= TILE_WIDTH:
        raise NotFound
    number = int(match["groups"].replace("/", "").replace("x", ""))
    if match["groups"] != tiles.tile_path("0", number).removeprefix("tile/0/"):
        raise NotFound
    entries = match["level"] == "entries"
    name = TileName(0 if entries else int(match["level"]), number, int(match["width"] or TILE_WIDTH))
    async with request.app[APP_CONTEXT].service_pool.acquire() as connection:
        signed = await newest_checkpoint(connection, ledger)
        first = name.number * TILE_WIDTH
        if first + name.width > signed.size >> merkle.TILE_LEVELS * name.level:
            raise NotFound
        if entries:
            found = await read.entries_between(connection, ledger.ledger_id, first, first + name.width)
            return _immutable(request, tiles.entry_bundle(found), compress=True)
        return _immutable(request, await tiles.read_tile(connection, ledger.ledger_id, name), compress=False)


async def _ledger_of(request: web.Request, files: str) -> Ledger:
    """Return the ledger of the requested log. Records a look with scope `audit`. Raises LedgerUnknown."""
    context = request.app[APP_CONTEXT]
    if "token" in request.match_info:
        async with context.service_pool.acquire() as connection:
            return await find_published(connection, context.master_key, request.match_info["token"])
    access = request[ACCESS]
    if "audit" in access.scopes and (files != "tiles" or context.access_log_due(access.key_id)):
        async with context.service_pool.acquire() as connection:
            await log_access(connection, access, request, f"the log's {files}")
    return access.ledger


def _immutable(request: web.Request, body: bytes, *, compress: bool) -> web.Response:
    headers = {"Cache-Control": ("public, " if "token" in request.match_info else "private, ") + FOR_EVER}
    if compress:
        headers["Vary"] = "Accept-Encoding"
        if takes_gzip(request.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, content_type="application/octet-stream", headers=headers)


def takes_gzip(accepted: str) -> bool:
    """Return True if an Accept-Encoding names gzip with a weight above 0."""
    for accepted_coding in accepted.split(","):
        coding, _, weight = accepted_coding.partition(";")
        if coding.strip().lower() == "gzip":
            name, _, value = weight.partition("=")
            return name.strip().lower() != "q" or value.strip().strip("0.") != ""
    return False


async def get_public_checkpoint(request: web.Request) -> web.Response:
    """Return the newest signed checkpoint of a published log."""
    return await get_log_checkpoint(request)


async def get_public_tile(request: web.Request) -> web.Response:
    """Return a tile of a published log in the format C2SP tlog-tiles."""
    return await get_log_tile(request)


NOTE: dict[str, Any] = {"tag": "proofs", "answer": None, "media": ("text/plain",), "errors": (NotSealedYet,)}
TILE: dict[str, Any] = {**NOTE, "media": ("application/octet-stream",)}
KEYED: dict[str, Any] = {"scopes": ("read", "audit"), "basic": True}

OPERATIONS = (
    get("/v1/ledger/tlog/checkpoint", get_log_checkpoint, REASON, **NOTE, **KEYED),
    get("/v1/ledger/tlog/tile/{path:.+}", get_log_tile, REASON, **TILE, **KEYED),
    keyless("/v1/logs/{token}/checkpoint", get_public_checkpoint, **NOTE),
    keyless("/v1/logs/{token}/tile/{path:.+}", get_public_tile, **TILE),
)
