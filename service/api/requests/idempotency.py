"""Idempotent changes: a repeated POST with the same Idempotency-Key gets the first answer, and changes nothing.

1. The key is locked while the change is made, in all processes. A second request at that time is refused.
2. An answer that is stored under the key is sent again, if the request is the same.
3. Otherwise the change is made, and its answer is stored in the transaction of the change: both or none. It is stored
   for ever, as event keys are. An error is not stored, and undoes the change.

Answers are encrypted under the master key, because some hold the secret of an endpoint.

Rebuilds, promotions, test messages and the close of a month take effect outside of the transaction. If the process ends
before their answer is stored, a repeated request makes them again. A month is closed once all the same.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

from ledger.database import Connection
from ledger.errors import IdempotencyKeyInUse, IdempotencyKeyReused, RequestInvalid
from ledger.locks import IDEMPOTENCY_KEYS
from service.api.requests.app_context import APP_CONTEXT, CHANGE_CONNECTION
from service.api.requests.bodies import BODY, read_body
from service.api.responses import stored_response

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
KEY = re.compile(r"[A-Za-z0-9._~:+-]{1,200}")
KEY_RULE = "`Idempotency-Key` must have 1 to 200 characters: letters, digits and ._~:+-"
AT_ONCE_MAX = 4  # changes with a key that one process makes at the same time; each holds a connection

LOCK_KEY = "SELECT pg_try_advisory_xact_lock($1, $2)"
FIND_ANSWER = """
    SELECT request_hash, status, body FROM ledger.idempotent_answers WHERE ledger_id = $1 AND key_hash = $2
"""
STORE_ANSWER = """
    INSERT INTO ledger.idempotent_answers (ledger_id, key_hash, request_hash, status, body)
    VALUES ($1, $2, $3, $4, $5)
"""

_changes = asyncio.Semaphore(AT_ONCE_MAX)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class KeyedRequest(NamedTuple):
    """A request with its Idempotency-Key. Keyed hashes stand for the key and the request: both may name a person."""

    ledger_id: int
    key_hash: bytes
    request_hash: bytes


async def answer_once(request: web.Request, ledger_id: int, handler: Handler) -> web.StreamResponse:
    """Answer a request that may have an Idempotency-Key. A dry run changes nothing, so its key has no effect.

    Raises RequestInvalid, IdempotencyKeyInUse or IdempotencyKeyReused.
    """
    key = idempotency_key(request)
    if key is None or request.query.get("dry_run") == "true":
        return await handler(request)
    context = request.app[APP_CONTEXT]
    request[BODY] = await read_body(request, context.body_budget)
    keyed = _keyed_request(request, key, ledger_id, context.vault.body_hash_key(ledger_id))
    async with _changes, context.service_pool.acquire() as connection, _locked(connection, keyed):
        stored = await connection.fetchrow(FIND_ANSWER, ledger_id, keyed.key_hash)
        if stored is not None:
            if stored["request_hash"] != keyed.request_hash:
                raise IdempotencyKeyReused
            body = context.master_key.decrypt(stored["body"], keyed.key_hash)
            return stored_response(body, stored["status"], {REPLAYED_HEADER: "true"})
        request[CHANGE_CONNECTION] = connection
        response = await handler(request)
        assert isinstance(response, web.Response)
        assert isinstance(response.body, bytes)
        encrypted = context.master_key.encrypt(response.body, keyed.key_hash)
        await connection.execute(STORE_ANSWER, *keyed, response.status, encrypted)
    context.progress.notify_appended()
    return response


def idempotency_key(request: web.Request) -> str | None:
    """Return the Idempotency-Key of a request; None without one. Quotes around it are left out.

    Raises RequestInvalid.
    """
    given = request.headers.get(HEADER)
    if given is None:
        return None
    key = given.strip().removeprefix('"').removesuffix('"')
    if not KEY.fullmatch(key):
        raise RequestInvalid(KEY_RULE)
    return key


def _keyed_request(request: web.Request, key: str, ledger_id: int, secret: bytes) -> KeyedRequest:
    parameters = sorted(item for item in request.query.items() if item[0] != "min_position")
    parts = (request.method, request.path, repr(parameters))
    described = b"".join(len(part).to_bytes(4, "big") + part for part in (*map(str.encode, parts), request[BODY]))
    return KeyedRequest(
        ledger_id,
        hmac.digest(secret, b"idempotency key\0" + key.encode(), hashlib.sha256),
        hmac.digest(secret, b"request\0" + described, hashlib.sha256),
    )


@asynccontextmanager
async def _locked(connection: Connection, keyed: KeyedRequest) -> AsyncIterator[None]:
    """Hold the lock of a key, in a transaction. Raises IdempotencyKeyInUse if another request holds it."""
    async with connection.transaction():
        number = int.from_bytes(keyed.key_hash[:4], "big", signed=True)
        if not await connection.fetchval(LOCK_KEY, IDEMPOTENCY_KEYS, number):
            raise IdempotencyKeyInUse
        yield
