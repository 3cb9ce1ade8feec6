"""Send checkpoints to witnesses, which cosign them, and to anchors, which keep them.

An event could be changed unnoticed until another party has a checkpoint that covers it. So each checkpoint is sent at
once, and to all receivers at the same time. A receiver that cannot be reached gets the next checkpoint, which covers
this one. Nothing here delays sealing.
"""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from ledger import clock, durable_files
from ledger.database import Connection, connect
from ledger.errors import NoteWrong
from ledger.store.registry import Ledger
from ledger.transparency import tiles
from ledger.transparency.checkpoints import read_size
from ledger.transparency.signed_notes import COSIGNATURE, Note, cosigned_at, read_note, read_signatures, verify
from ledger.transparency.tree_heads import SignedCheckpoint
from ledger.transparency.witness import WitnessRequest
from service.monitoring.instruments import Instruments
from service.settings import Settings, WitnessAddress

REQUEST_SECONDS_MAX = 15.0
TRIES_MAX = 3
REPLY_BYTES_MAX = 65_536
DONE = "done"

COSIGNED_SIZE = """
    SELECT coalesce(max(c.size), 0) FROM ledger.cosignatures s JOIN ledger.checkpoints c USING (checkpoint)
     WHERE s.ledger_id = $1 AND c.ledger_id = $1 AND s.witness = $2 AND c.log = $3
"""
ADD_COSIGNATURE = """
    INSERT INTO ledger.cosignatures (ledger_id, checkpoint, witness, line, cosigned_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING
"""

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes checkpoints in the background: one at a time for each ledger. The newest one is always the next."""

    def __init__(self, dsn: str, settings: Settings, instruments: Instruments) -> None:
        self._dsn = dsn
        self._witnesses = settings.witness_addresses()
        self._anchors = settings.anchor_addresses()
        self._instruments = instruments
        self._running: dict[int, asyncio.Task[None]] = {}
        self._next: dict[int, tuple[Ledger, SignedCheckpoint]] = {}

    def publish(self, ledger: Ledger, signed: SignedCheckpoint) -> None:
        """Send a checkpoint, now or after the one being sent."""
        if not self._witnesses and not self._anchors:
            return
        self._next[ledger.ledger_id] = (ledger, signed)
        if ledger.ledger_id not in self._running:
            task = asyncio.create_task(self._publish_all(ledger.ledger_id))
            self._running[ledger.ledger_id] = task
            task.add_done_callback(lambda _: self._running.pop(ledger.ledger_id, None))

    async def close(self) -> None:
        """Cancel the sending."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _publish_all(self, ledger_id: int) -> None:
        while ledger_id in self._next:
            ledger, signed = self._next.pop(ledger_id)
            try:
                outcomes = await send_checkpoint(self._dsn, ledger, signed, self._witnesses, self._anchors)
                for anchor in self._anchors:
                    if outcomes[anchor] != DONE:
                        self._instruments.count_anchor_failure(ledger.name)
            except Exception as error:
                _log.warning("checkpoint %s of %s: %s", signed.checkpoint, ledger.name, type(error).__name__)


async def send_checkpoint(
    dsn: str, ledger: Ledger, signed: SignedCheckpoint, witnesses: list[WitnessAddress], anchors: list[str]
) -> dict[str, str]:
    """Send a checkpoint to all receivers at once. Return DONE or the failure, by receiver."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        requests = {
            witness.key.name: _request_cosignature(session, dsn, ledger, signed, witness) for witness in witnesses
        }
        requests |= {anchor: _send_to_anchor(session, ledger, signed, anchor) for anchor in anchors}
        results = await asyncio.gather(*requests.values(), return_exceptions=True)
    outcomes = {}
    for receiver, result in zip(requests, results, strict=True):
        if isinstance(result, asyncio.CancelledError):
            raise result
        outcomes[receiver] = DONE
        if isinstance(result, BaseException):
            outcomes[receiver] = str(result) if isinstance(result, NoteWrong) else type(result).__name__
            _log.warning("checkpoint %s of %s to %s: %s", signed.checkpoint, ledger.name, receiver, outcomes[receiver])
    return outcomes


async def _request_cosignature(
    session: aiohttp.ClientSession, dsn: str, ledger: Ledger, signed: SignedCheckpoint, witness: WitnessAddress
) -> None:
    """Ask a witness to cosign, and store the cosignature. Raises NoteWrong if the witness refuses or errs."""
    connection = await connect(dsn)
    try:
        old = await connection.fetchval(COSIGNED_SIZE, ledger.ledger_id, witness.key.name, signed.log)
        for _ in range(TRIES_MAX):
            if old > signed.size:
                raise NoteWrong(f"it has cosigned {old} events, and this ledger has {signed.size}: an old copy?")
            proof = await tiles.prove_consistency(connection, ledger.ledger_id, old, signed.size)
            body = WitnessRequest(old, proof, signed.note).write()
            async with session.post(f"{witness.url}/add-checkpoint", data=body) as response:
                text = (await response.content.read(REPLY_BYTES_MAX)).decode("utf-8", "replace")
                if response.status == 200:
                    await _store_cosignature(connection, ledger, signed, witness, text)
                    return
                if response.status != 409 or response.content_type != "text/x.tlog.size":
                    raise NoteWrong(f"it answers {response.status}")
                reported_size = read_size(text.strip())
                if reported_size == old:
                    raise NoteWrong(f"it has cosigned other {old} events")
                old = reported_size
        raise NoteWrong("others ask it about this log all the time")
    finally:
        await connection.close(timeout=5)


async def _store_cosignature(
    connection: Connection, ledger: Ledger, signed: SignedCheckpoint, witness: WitnessAddress, lines: str
) -> None:
    text = read_note(signed.note).text
    signatures = [signature for signature in read_signatures(lines) if witness.key.is_named_in(signature)]
    verify(Note(text, signatures), [witness.key])
    at = clock.now()
    if witness.key.kind == COSIGNATURE:
        at = datetime.fromtimestamp(cosigned_at(signatures[0]), UTC)
    key = (ledger.ledger_id, signed.checkpoint, witness.key.name)
    await connection.execute(ADD_COSIGNATURE, *key, signatures[0].line(), at)


async def _send_to_anchor(
    session: aiohttp.ClientSession, ledger: Ledger, signed: SignedCheckpoint, anchor: str
) -> None:
    """Append a checkpoint to a file, followed by an empty line, or POST it to a URL. Raises NoteWrong."""
    if not anchor.startswith(("http://", "https://")):
        await asyncio.to_thread(durable_files.append, Path(anchor), signed.note + b"\n")
        return
    headers = {"Content-Type": "text/plain; charset=utf-8", "Loyalty-Ledger": ledger.name}
    async with session.post(anchor, data=signed.note, headers=headers) as response:
        if response.status >= 300:
            raise NoteWrong(f"it answers {response.status}")
