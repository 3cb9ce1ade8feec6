"""Move a ledger to another installation while it takes deliveries.

1. Copy all events, persons' keys and the access log. Deliveries go on.
2. Project the copy, and compare a digest of all rows at one position. Deliveries go on.
3. Hold the ledger's lock: deliveries get 503 with Retry-After. Copy the last events, and compare the roots.
4. Copy connections, API keys and endpoints, and close the ledger here. Deliveries get the address of the other
   installation. Endpoints are disabled here, and enabled there after the last commit.

Until the last commit the ledger stays here, whatever fails. A move that was broken off is repeated: it compares the
copied events with those here, and goes on after them.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from ledger.database import Session
from ledger.errors import MoveFailed
from ledger.merkle import Frontier
from ledger.privacy.encryption import MasterKey
from ledger.store import read, registry
from ledger.store.configuration_copy import copy_configuration
from ledger.store.export import (
    FORMAT,
    ExportedErasure,
    ExportHeader,
    ExportTrailer,
    SideRecord,
    exported_events,
    side_records,
)
from ledger.store.restore import LedgerRestore, find_or_create_ledger
from projections.engine import generations, store
from projections.engine.digest import compute_digest
from projections.engine.promotion import advance_to
from projections.engine.worker import catch_up
from service.outgoing.endpoint_copy import enable_moved, move_endpoints

EVENTS_PER_READ = 1_000
EVENTS_LEFT_MAX = 1_000  # that are copied while deliveries wait
ROUNDS_MAX = 20  # to come that near to the end
SIDE_RECORDS_PER_BLOCK = 1_000
EVERYTHING = 2**62  # a position that no ledger reaches

SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
LOCK = "SELECT ledger.lock($1)"
CLOSE = "SELECT ledger.close_moved($1, $2)"
FORGET_KEYS = "DELETE FROM ledger.personal_keys WHERE ledger_id = $1 AND subject = $2"
FORGET_LOOKUPS = "DELETE FROM ledger.personal_index WHERE ledger_id = $1 AND subject = $2"
QUOTE = "SELECT quote_literal($1::text)"
ALLOW_ERASURE = "SET LOCAL app.erasing = {}"  # reaches the server of the ledger, as set_config does not

ReportProgress = Callable[[int, int], None]  # (events copied, of all events)


class MasterKeys(NamedTuple):
    """The master keys of this installation and of the other one."""

    source: MasterKey
    target: MasterKey


class MoveResult(NamedTuple):
    """A moved ledger: its events, the root over them, the digest of its rows, and the time that deliveries waited."""

    events: int
    root: bytes
    digest: str
    seconds_held: float


class LedgerMove:
    """Moves one ledger, once. Both connections read the active generation of their installation, as the owner."""

    def __init__(self, source: Session, target: Session, keys: MasterKeys, report_progress: ReportProgress) -> None:
        self._source, self._target, self._keys, self._report_progress = source, target, keys, report_progress
        self._copied_records: set[int] = set()  # hashes of side records
        self._endpoints: list[str] = []  # to enable in the other installation
        self._frontiers = (Frontier(), Frontier())  # of the ledger here, and of its copy

    async def run(self, name: str, url: str) -> MoveResult:
        """Move a ledger. `url` is the address of the other installation, for redirects.

        Raises MoveFailed if the copies differ, ExportWrong if the other installation holds other events.
        """
        await generations.ensure_active_generation(self._target)
        self._ledger = await registry.find_ledger(self._source, name)
        header = ExportHeader(FORMAT, name, self._ledger.ledger_id, EVERYTHING, self._keys.source.name, with_keys=True)
        self._restore = LedgerRestore(self._target, header, await find_or_create_ledger(self._target, header, name))
        for _ in range(ROUNDS_MAX):
            tail = await read.tail(self._source, self._ledger.ledger_id)
            await self._copy_events(tail)
            if await read.tail(self._source, self._ledger.ledger_id) - tail <= EVENTS_LEFT_MAX:
                break
        await self._copy_side_records()
        digest = await self._compare_rows()
        began = time.monotonic()
        root = await self._finish(url)
        seconds_held = time.monotonic() - began
        target_id = self._restore.ledger.ledger_id
        await self._restore.finish(ExportTrailer(self._restore.position, root), self._keys.target)
        await catch_up(self._target, target_id)
        await enable_moved(self._target, self._keys.target, self._endpoints)
        return MoveResult(self._restore.position, root, digest, seconds_held)

    async def _finish(self, url: str) -> bytes:
        """Copy the rest while nothing is appended, and close the ledger here. Return the root. Raises MoveFailed."""
        try:
            async with self._source.transaction():
                return await self._finish_under_lock(url)
        except asyncpg.LockNotAvailableError:
            raise MoveFailed("the ledger is busy; repeat the command") from None

    async def _finish_under_lock(self, url: str) -> bytes:
        await self._source.execute(SET_LOCK_TIMEOUT)
        await self._source.execute(LOCK, self._ledger.ledger_id)
        await self._copy_events(await read.tail(self._source, self._ledger.ledger_id))
        await self._copy_side_records()
        root = await self._compare_roots()
        ledgers = self._ledger, self._restore.ledger
        await copy_configuration(self._source, self._target, *ledgers, *self._keys)
        self._endpoints = await move_endpoints(self._source, self._target, *ledgers, *self._keys)
        await self._source.execute(CLOSE, self._ledger.ledger_id, url)
        return root

    async def _copy_events(self, last: int) -> None:
        """Copy the events up to a position. Events that were copied before are compared."""
        while self._restore.position < last:
            after = self._restore.position
            upto = min(after + EVENTS_PER_READ, last)
            await self._restore.put(await exported_events(self._source, self._ledger.ledger_id, after, upto))
            sides = ((self._source, self._ledger), (self._target, self._restore.ledger))
            for frontier, (connection, ledger) in zip(self._frontiers, sides, strict=True):
                for _ in frontier.extend(await read.leaf_hashes(connection, ledger.ledger_id, after, upto)):
                    pass
            self._report_progress(upto, last)

    async def _copy_side_records(self) -> None:
        """Copy side records that were not copied before. Erasures come first: the copy may have keys that were deleted
        here, and a person may have a new key since.
        """
        for with_keys in (False, True):
            block: list[SideRecord] = []
            async with self._source.transaction():
                async for record in side_records(self._source, self._ledger.ledger_id, with_keys=with_keys):
                    if hash(record) in self._copied_records:
                        continue
                    self._copied_records.add(hash(record))
                    if isinstance(record, ExportedErasure):
                        await self._erase(record.subject)
                    block.append(record)
                    if len(block) == SIDE_RECORDS_PER_BLOCK:
                        await self._restore.put_side_records(block, *self._keys)
                        block = []
            await self._restore.put_side_records(block, *self._keys)

    async def _erase(self, subject: str) -> None:
        """Delete the keys and look-ups of a person in the copy."""
        ledger_id = self._restore.ledger.ledger_id
        async with self._target.transaction():
            erased = await self._target.fetchval(QUOTE, f"{ledger_id} {subject}")
            await self._target.execute(ALLOW_ERASURE.format(erased))
            await self._target.execute(FORGET_KEYS, ledger_id, subject)
            await self._target.execute(FORGET_LOOKUPS, ledger_id, subject)
            await self._target.execute(ALLOW_ERASURE.format("''"))

    async def _compare_rows(self) -> str:
        """Compare the rows of both at one position. Return their digest. Raises MoveFailed."""
        tail = await read.tail(self._source, self._ledger.ledger_id)
        await advance_to(self._source, self._ledger.ledger_id, tail)  # not to the end: deliveries go on
        async with self._source.transaction(isolation="repeatable_read", readonly=True):
            position = await store.read_checkpoint(self._source, self._ledger.ledger_id)
            await self._copy_events(position)
            ours = await compute_digest(self._source, self._ledger.ledger_id, untimed=True)
        await catch_up(self._target, self._restore.ledger.ledger_id)
        theirs = await compute_digest(self._target, self._restore.ledger.ledger_id, untimed=True)
        if ours.digest != theirs.digest:
            differing = [name for name, digest in ours.tables.items() if theirs.tables[name] != digest]
            raise MoveFailed(f"rows differ at position {position}, in {', '.join(differing)}")
        return ours.digest

    async def _compare_roots(self) -> bytes:
        """Compare the Merkle roots over all events of both, and return the root. Raises MoveFailed."""
        last = await read.tail(self._source, self._ledger.ledger_id)
        copied = await read.tail(self._target, self._restore.ledger.ledger_id)
        ours, theirs = (frontier.root() for frontier in self._frontiers)
        if copied != last or ours != theirs:
            raise MoveFailed(f"the copy has {copied} events or another root, and the ledger {last}")
        return ours
