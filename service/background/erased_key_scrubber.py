"""Remove destroyed keys from the disk of the embedded PostgreSQL, so that a copy of its folder cannot open anything.

A deleted row stays in its table's file until other rows take its place, and in the write-ahead log until that is
removed. So after an erasure the two tables that held something of the person are written anew, and the log is switched
and cut at a checkpoint. The embedded server removes old files of the log instead of using them again (`wal_recycle`).

What was copied before the erasure still opens what it could open then. A server that is not ours is its
administrator's affair: docs/security.md says what to do there.
"""

import asyncio
import logging
import time
from pathlib import Path

from ledger.background import keep_connected
from ledger.database import Connection

MARK = "erasures-scrubbed"  # a file in the data folder: how many erasures are gone from the disk
LOOK_SECONDS = 2.0
REST_RATIO = 20  # after a scrub, so many times as long as it took: then a large table is not written all the time
SNAPSHOT_SECONDS_MAX = 120.0

ERASURES = "SELECT count(*) FROM ledger.erasures"
NEW_TRANSACTION = "SELECT pg_current_xact_id()::xid::text"
# A row is kept for whoever began before it was deleted.
OLDER_SNAPSHOTS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND age(backend_xmin) > age($1::text::xid)
"""
SCRUB = (
    "SET lock_timeout = '5s'",
    "VACUUM (FULL) ledger.personal_keys",
    "VACUUM (FULL) ledger.personal_index",
    "RESET lock_timeout",
    "SELECT pg_switch_wal()",
    "CHECKPOINT",
)

_log = logging.getLogger(__name__)


async def scrub(connection: Connection, folder: Path) -> bool:
    """Remove the keys that erasures have destroyed from the disk; return False if none was since the last time.

    Raises TimeoutError while a transaction that began before an erasure goes on.
    """
    erasures = await connection.fetchval(ERASURES)
    mark = folder / MARK
    if erasures == _marked(mark):
        return False
    begun = await connection.fetchval(NEW_TRANSACTION)
    async with asyncio.timeout(SNAPSHOT_SECONDS_MAX):
        while await connection.fetchval(OLDER_SNAPSHOTS, begun):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for statement in SCRUB:
        await connection.execute(statement)
    mark.write_text(f"{erasures}\n")
    return True


async def scrub_after_erasures(dsn: str, folder: Path) -> None:
    """Scrub after each erasure, as long as the service runs."""

    async def look(connection: Connection) -> None:
        while True:
            begun = time.monotonic()
            done = await scrub(connection, folder)
            spent = time.monotonic() - begun
            await asyncio.sleep(LOOK_SECONDS + (REST_RATIO * spent if done else 0))

    await keep_connected("removing destroyed keys from the disk", dsn, look, log=_log, retry_seconds=LOOK_SECONDS)


def _marked(mark: Path) -> int:
    try:
        return int(mark.read_text())
    except (FileNotFoundError, ValueError):
        return 0
