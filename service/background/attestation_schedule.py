"""Attest every ledger as often as is configured, while the service runs, and only where something was told since."""

import logging

from ledger.background import keep_connected
from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store.registry import all_ledgers
from service.audit.attestation import attest

LOOK_SECONDS_MAX = 60.0

# Nothing is due for a ledger that has only its own attestations since the last.
DUE = """
    SELECT coalesce((SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND source = 'loyalty'
                        AND kind = 'attested' ORDER BY position DESC LIMIT 1), '-infinity')
             < now() - make_interval(secs => $2)
       AND coalesce((SELECT NOT (source = 'loyalty' AND kind = 'attested') FROM ledger.events WHERE ledger_id = $1
                      ORDER BY position DESC LIMIT 1), false)
"""

_log = logging.getLogger(__name__)


async def attest_on_schedule(dsn: str, vault: Vault, hours: float) -> None:
    """Attest each ledger `hours` after its last attestation, until cancelled. What goes wrong is told and tried again.

    With several services on one database two may attest at once; that is once too often, and does no harm.
    """
    seconds = hours * 3600

    async def look(connection: Connection) -> None:
        for ledger in await all_ledgers(connection):
            if await connection.fetchval(DUE, ledger.ledger_id, seconds):
                await attest(connection, vault, ledger)

    # Between two looks no connection is kept, which would keep a generation from being dropped.
    pause_seconds = min(LOOK_SECONDS_MAX, seconds / 4)
    await keep_connected("attesting", dsn, look, log=_log, retry_seconds=pause_seconds, pause_seconds=pause_seconds)
