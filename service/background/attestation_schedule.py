"""Attest each ledger at the configured interval, if new events were recorded since."""

import logging

from ledger.background import keep_connected
from ledger.database import Session
from ledger.privacy.vault import Vault
from ledger.store.ledger_rounds import LedgerRounds
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from ledger.store.registry import Ledger, list_ledgers
from service.audit.attestation import attest

CHECK_SECONDS_MAX = 60.0
STEP_SECONDS_MAX = 6 * 3600.0  # for one ledger: all its rows are read

# A ledger is not due if its own attestations are its only new events.
DUE = """
    SELECT coalesce((SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND source = 'loyalty'
                        AND kind = 'attested' ORDER BY position DESC LIMIT 1), '-infinity')
             < now() - make_interval(secs => $2)
       AND coalesce((SELECT NOT (source = 'loyalty' AND kind = 'attested') FROM ledger.events WHERE ledger_id = $1
                      ORDER BY position DESC LIMIT 1), false)
"""

_log = logging.getLogger(__name__)


async def attest_on_schedule(dsn: str, vault: Vault, hours: float, share: LedgerShare = ALL_LEDGERS) -> None:
    """Attest each ledger of a share `hours` after its last attestation, until cancelled.

    A failure is logged, and retried. Several services on one database may attest twice at once. That does no harm.
    """
    seconds = hours * 3600
    pause = min(CHECK_SECONDS_MAX, seconds / 4)
    rounds = LedgerRounds("attesting", _log, retry_seconds=pause, step_seconds_max=STEP_SECONDS_MAX)

    async def attest_if_due(connection: Session, ledger: Ledger) -> None:
        if await connection.fetchval(DUE, ledger.ledger_id, seconds):
            await attest(connection, vault, ledger)

    async def attest_due_ledgers(connection: Session) -> None:
        await rounds.run(connection, share.select(await list_ledgers(connection)), attest_if_due)

    await keep_connected("attesting", dsn, attest_due_ledgers, log=_log, retry_seconds=pause, pause_seconds=pause)
