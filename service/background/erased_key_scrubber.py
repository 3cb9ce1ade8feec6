"""Remove destroyed keys from the disk of the embedded PostgreSQL. Then a copy of its folder decrypts nothing.

A deleted row stays in the file of its table until another row replaces it. It stays in the write-ahead log until that
file is removed. So each erasure is followed by these steps:

1. Rewrite the two tables that held something of the person.
2. Switch the write-ahead log to a new file, and make a checkpoint.
3. The embedded server removes old log files instead of reusing them (`wal_recycle`).

A copy from before the erasure still decrypts what it could decrypt then. The administrator is responsible for a server
that is not embedded: see docs/security.md.
"""

import asyncio
import logging
import time
from pathlib import Path

from ledger.background import keep_connected
from ledger.database import Connection

MARKER_FILE = "erasures-scrubbed"  # a file in the data folder with the number of erasures already scrubbed
CHECK_SECONDS = 2.0
PAUSE_RATIO = 20  # pause after a scrub, in multiples of its duration: spares large tables
SNAPSHOT_SECONDS_MAX = 120.0

ERASURES = "SELECT count(*) FROM ledger.erasures"
NEW_TRANSACTION = "SELECT pg_current_xact_id()::xid::text"
# PostgreSQL keeps a deleted row for transactions that began before.
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
    """Remove the keys that erasures have destroyed from the disk. Return False if there were none since the last time.

    Raises TimeoutError while a transaction is open that began before an erasure.
    """
    erasures = await connection.fetchval(ERASURES)
    marker = folder / MARKER_FILE
    if erasures == _read_marker(marker):
        return False
    started = await connection.fetchval(NEW_TRANSACTION)
    async with asyncio.timeout(SNAPSHOT_SECONDS_MAX):
        while await connection.fetchval(OLDER_SNAPSHOTS, started):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for statement in SCRUB:
        await connection.execute(statement)
    marker.write_text(f"{erasures}\n")
    return True


async def scrub_after_erasures(dsn: str, folder: Path) -> None:
    """Scrub after each erasure, until cancelled."""

    async def scrub_and_pause(connection: Connection) -> None:
        started = time.monotonic()
        if await scrub(connection, folder):
            await asyncio.sleep(PAUSE_RATIO * (time.monotonic() - started))

    subject, seconds = "removing destroyed keys from the disk", CHECK_SECONDS
    await keep_connected(subject, dsn, scrub_and_pause, log=_log, retry_seconds=seconds, pause_seconds=seconds)


def _read_marker(marker: Path) -> int:
    try:
        return int(marker.read_text())
    except (FileNotFoundError, ValueError):
        return 0
