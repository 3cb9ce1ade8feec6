"""State that all request handlers share: pools, appender, progress, limits, and caches of API keys and connections."""

import asyncio
import base64
from typing import Any, NamedTuple

from aiohttp import web
from async_lru import alru_cache

from ledger.background import RetryPauses
from ledger.database import Connection
from ledger.errors import BadCredentials, ConnectionUnknown, NotAwaited, RequestInvalid, ScopeMissing
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import api_keys, registry
from ledger.store.api_keys import ApiAccess
from ledger.store.read import tail
from ledger.store.registry import InboundConnection
from ledger.transparency.signer import Signer
from projections.engine import store
from projections.engine.progress import ProjectionProgress
from service.api.requests.bodies import BodyBudget
from service.api.requests.large_bodies import LargeBodyWorker
from service.api.requests.overload import Overload
from service.api.requests.refusal_delay import RefusalDelay
from service.api.requests.refusals import Refusals
from service.api.requests.request_shares import HEAVY_MAX, HEAVY_WAITING_MAX, WAITING_MAX, RequestShares
from service.background.appender import Appender
from service.background.memory_limit import MemoryLimit
from service.distribution import ReachableLedgers
from service.monitoring.instruments import Instruments
from service.parameters import parse_int
from service.queries.reader_pool import ReaderPool
from service.settings import Settings

CALLER_CACHE_SECONDS = 5.0  # a revoked key or a dropped secret is accepted for at most so long
CACHED_CALLERS_MAX = 10_000
LOOK_UP_SECONDS_MAX = 5.0  # then the caller gets 503
ACCESS_LOG_SECONDS = 60.0  # tiles read with one key within this time are recorded as one look


def check_scopes(access: ApiAccess, scope: str, *or_scopes: str) -> None:
    """Raise ScopeMissing unless the key has one of the scopes. `admin` includes every scope but `operator`."""
    enough = {scope, *or_scopes} if scope == api_keys.OPERATOR else {scope, *or_scopes, "admin"}
    if not access.scopes & enough:
        raise ScopeMissing(" or ".join((scope, *or_scopes)))


class RebuildProgress(NamedTuple):
    """The stage of a running rebuild, and the parts of it that are done."""

    stage: str
    done: int
    of: int


class AppContext:
    """Shared state of one running application; handlers find it under APP_CONTEXT."""

    def __init__(
        self,
        dsn: str,
        settings: Settings,
        service_pool: ReaderPool,
        reader_pool: ReaderPool,
        master_key: MasterKey,
        vault: Vault,
        appender: Appender,
        progress: ProjectionProgress,
        instruments: Instruments,
    ) -> None:
        self.dsn = dsn
        self.settings = settings
        self.reachable_ledgers = ReachableLedgers(dsn)
        self.service_pool = service_pool  # with the service's own rights
        self.reader_pool = reader_pool
        self.master_key = master_key
        self.vault = vault
        self.appender = appender
        self.progress = progress
        self.instruments = instruments
        self.query_shares = RequestShares(max(1, settings.pool_size // 2), WAITING_MAX)
        self.heavy_query_shares = RequestShares(HEAVY_MAX, HEAVY_WAITING_MAX)
        self.signer: Signer | None = None  # in the process that seals
        self.rebuild_task: asyncio.Task[Any] | None = None  # the rebuild that runs in this process, started over HTTP
        self.rebuild_progress: RebuildProgress | None = None  # of that rebuild
        self.body_budget = BodyBudget()
        self.overload = Overload()
        self.refusals = Refusals(instruments)
        self.refusal_delay = RefusalDelay()
        self.large_bodies = LargeBodyWorker()
        self.memory_limit = MemoryLimit(settings.memory_mib, vault.clear_caches)
        # Failures are not cached. Concurrent look-ups of one caller become one.
        self._connections = alru_cache(CACHED_CALLERS_MAX, ttl=CALLER_CACHE_SECONDS)(self._read_connection)
        self._api_keys = alru_cache(CACHED_CALLERS_MAX, ttl=CALLER_CACHE_SECONDS)(self._read_key)
        self._access_log_pauses = RetryPauses(ACCESS_LOG_SECONDS, ACCESS_LOG_SECONDS)  # by key that reads tiles

    async def find_connection(self, connection_id: str) -> InboundConnection:
        """Return an inbound connection by its id. Raises ConnectionUnknown."""
        if not registry.CONNECTION_ID_PATTERN.fullmatch(connection_id):  # so that no connection is taken for it
            raise ConnectionUnknown
        return await self._connections(connection_id)

    async def _read_connection(self, connection_id: str) -> InboundConnection:
        async with asyncio.timeout(LOOK_UP_SECONDS_MAX), self.service_pool.acquire() as connection:
            return await registry.find_connection(connection, self.master_key, connection_id)

    async def find_key(self, key: str) -> ApiAccess:
        """Return the ledger and scopes that a key opens. Raises BadCredentials."""
        if not api_keys.API_KEY_PATTERN.fullmatch(key.strip()):  # so that no connection is taken for it
            raise BadCredentials
        return await self._api_keys(key.strip())

    async def _read_key(self, key: str) -> ApiAccess:
        async with asyncio.timeout(LOOK_UP_SECONDS_MAX), self.service_pool.acquire() as connection:
            return await api_keys.find_key(connection, self.master_key, key)

    async def authenticate_key(
        self, request: web.Request, scope: str, *or_scopes: str, basic: bool = False
    ) -> ApiAccess:
        """Return the ledger and scopes that the key of a request opens. The key must have one of the scopes.

        With `basic`, the key may also be the password of HTTP Basic. Raises BadCredentials or ScopeMissing.
        """
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if basic and kind.lower() == "basic":
            key = _password(key)
        elif kind.lower() != "bearer":
            raise BadCredentials
        access = await self.find_key(key)
        check_scopes(access, scope, *or_scopes)
        return access

    def access_log_due(self, key_id: str) -> bool:
        """Return True if this key's reading of tiles is to be recorded now: once within ACCESS_LOG_SECONDS."""
        return self._access_log_pauses.is_due(key_id)

    async def await_position(self, request: web.Request, ledger_id: int) -> None:
        """Wait for `min_position`, for at most `wait_seconds_max`.

        Raises NotAwaited, or RequestInvalid for a position beyond the ledger.
        """
        position = parse_int(request.query.get("min_position"), "min_position", least=0, most=2**62)
        if position is None:
            return
        async with self.service_pool.acquire() as connection:
            if await store.read_checkpoint(connection, ledger_id) >= position:
                return
            last = await tail(connection, ledger_id)
        if position > last:  # waiting would not help
            raise RequestInvalid(f"`min_position` is {position}, but the last event has position {last}")
        if not await self.progress.wait_for(ledger_id, position, self.settings.wait_seconds_max):
            raise NotAwaited(f"position {position} within {self.settings.wait_seconds_max:g} s")


def _password(credentials: str) -> str:
    """Return the password of HTTP Basic. Raises BadCredentials."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        raise BadCredentials from None


APP_CONTEXT = web.AppKey("context", AppContext)
CHANGE_CONNECTION: web.RequestKey[Connection] = web.RequestKey(
    "change_connection"
)  # in the transaction of a keyed change
