"""What every request handler needs, made once: the pool, the appender, the projector, and what is cached of callers."""

import asyncio
import base64
import time
from typing import Any

from aiohttp import web

from ledger.errors import BadCredentials, ConnectionUnknown, NotAwaited, RequestInvalid, ScopeMissing
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.read import tail
from ledger.store.registry import ApiAccess, InboundConnection
from projections.engine import store
from projections.engine.worker import Projector
from service.api.requests.bodies import BodyBudget
from service.api.requests.large_bodies import LargeBodyWorker
from service.api.requests.overload import Overload
from service.api.requests.refusals import Refusals
from service.api.requests.request_shares import HEAVY_MAX, HEAVY_WAITING_MAX, WAITING_MAX, RequestShares
from service.api.requests.ttl_cache import CACHED_CALLERS_MAX, TtlCache
from service.background.appender import Appender
from service.parameters import parse_int
from service.queries.reader_pool import ReaderPool
from service.settings import Settings

ACCESS_LOG_SECONDS = 60.0  # in which one key's reads of tiles are one look


def check_scopes(access: ApiAccess, scope: str, *or_scopes: str) -> None:
    """Raise ScopeMissing unless a key carries one of the scopes, or admin, which does not stand for operator."""
    enough = {scope, *or_scopes} if scope == registry.OPERATOR else {scope, *or_scopes, "admin"}
    if not access.scopes & enough:
        raise ScopeMissing(" or ".join((scope, *or_scopes)))


class AppContext:
    """The door's and the window's common room."""

    def __init__(
        self,
        dsn: str,
        settings: Settings,
        pool: ReaderPool,
        reading: ReaderPool,
        master_key: MasterKey,
        vault: Vault,
        appender: Appender,
        projector: Projector,
    ) -> None:
        self.dsn = dsn
        self.settings = settings
        self.pool = pool  # may do what the service may; for callers who only read there is `reading`
        self.reading = reading
        self.master_key = master_key
        self.vault = vault
        self.appender = appender
        self.projector = projector
        self.reads = RequestShares(max(1, settings.pool_size // 2), WAITING_MAX)
        self.heavy_reads = RequestShares(HEAVY_MAX, HEAVY_WAITING_MAX)
        self.rebuilding: asyncio.Task[Any] | None = None  # the rebuild that a caller asked this process for
        self.bodies = BodyBudget()
        self.overload = Overload()
        self.refusals = Refusals()
        self.large = LargeBodyWorker()
        self.inbound = TtlCache(self._find_connection)
        self.keys = TtlCache(self._find_key)
        self._looks: dict[str, float] = {}  # of each key that reads tiles, until when that is one look

    async def _find_connection(self, connection_id: str) -> InboundConnection:
        if not registry.CONNECTION_ID.fullmatch(connection_id):  # no connection of the pool is needed to know that
            raise ConnectionUnknown
        async with self.pool.acquire() as connection:
            return await registry.find_connection(connection, self.master_key, connection_id)

    async def _find_key(self, key: str) -> ApiAccess:
        if not registry.KEY.fullmatch(key):  # no connection of the pool is needed to know that
            raise BadCredentials
        async with self.pool.acquire() as connection:
            return await registry.find_key(connection, self.master_key, key)

    async def caller(self, request: web.Request, scope: str, *or_scopes: str, basic: bool = False) -> ApiAccess:
        """Return what the key of a request opens; it must carry one of the scopes, see `check_scopes`.

        With `basic` it may also be the password of HTTP Basic. Raises BadCredentials or ScopeMissing.
        """
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if basic and kind.lower() == "basic":
            key = _password(key)
        elif kind.lower() != "bearer":
            raise BadCredentials
        access = await self.keys.get(key.strip())
        check_scopes(access, scope, *or_scopes)
        return access

    def looks_anew(self, key_id: str) -> bool:
        """Say whether a key that reads a tile now has not done so for a while."""
        now = time.monotonic()
        if now < self._looks.get(key_id, 0.0):
            return False
        if len(self._looks) >= CACHED_CALLERS_MAX:
            self._looks.clear()
        self._looks[key_id] = now + ACCESS_LOG_SECONDS
        return True

    async def await_position(self, request: web.Request, ledger_id: int) -> None:
        """Wait for ?min_position=, at most wait_seconds_max. Raises NotAwaited, or RequestInvalid beyond the ledger."""
        position = parse_int(request.query.get("min_position"), "min_position", least=0, most=2**62)
        if position is None:
            return
        async with self.pool.acquire() as connection:
            if await store.read_checkpoint(connection, ledger_id) >= position:
                return
            last = await tail(connection, ledger_id)
        if position > last:  # waiting would not help
            raise RequestInvalid(f"the ledger has come to position {last}, not {position}")
        if not await self.projector.wait_for(ledger_id, position, self.settings.wait_seconds_max):
            raise NotAwaited(f"position {position} within {self.settings.wait_seconds_max:g} s")


def _password(credentials: str) -> str:
    """Return the password of HTTP Basic. Raises BadCredentials."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        raise BadCredentials from None


APP_CONTEXT = web.AppKey("house", AppContext)
