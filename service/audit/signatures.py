"""Check signed heads: the checkpoints in the database, the signer's remembered head, and a checkpoint that an auditor
kept.

Each of them gives a head that the tree must have had. The signer's memory is outside the database, so it shows if the
newest checkpoints were deleted. It is read first, the checkpoints after it. So a checkpoint signed meanwhile only adds
to them. The signer remembers a head a moment before it stores the checkpoint. The check waits for that moment.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import KeyWrong, NoteWrong
from ledger.store.registry import Ledger
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.kept_checkpoints import read_kept_checkpoints
from ledger.transparency.signed_notes import VerifierKey, read_note, verify
from ledger.transparency.signer import Signer
from ledger.transparency.tree_heads import SignedCheckpoint

READ_ATTEMPTS_MAX = 5
RETRY_SECONDS = 0.2
CLOCK_SKEW_MAX = timedelta(minutes=5)

CHECKPOINTS = """
    SELECT checkpoint, log, size, root, note, signed_at FROM ledger.checkpoints WHERE ledger_id = $1 ORDER BY checkpoint
"""
ORIGINS = "SELECT log, origin FROM ledger.logs WHERE ledger_id = $1"
KEYS = "SELECT log, key, added_at FROM ledger.log_keys WHERE ledger_id = $1 ORDER BY log, added_at, key"
RECORDED = "SELECT position, recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = ANY ($2)"


class RequiredHead(NamedTuple):
    """A head that the tree must have had. `whose` names its source in messages."""

    size: int
    root: bytes
    source: str


class StoredLogKey(NamedTuple):
    """A stored public key. `key` is None if it cannot be parsed."""

    log: int
    text: str
    key: VerifierKey | None
    added_at: datetime


class SignatureChecker:
    """Checks the signatures of one ledger. `wrong` and `details` have check names as keys. `wanted` holds heads for the
    check of the tree.
    """

    def __init__(self, connection: Connection, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger
        self._origins: Mapping[int, str] = {}
        self._keys: Sequence[StoredLogKey] = ()
        self._signed: Sequence[SignedCheckpoint] = ()
        self.wrong: dict[str, list[str]] = {}
        self.details: dict[str, str] = {}
        self.wanted: list[RequiredHead] = []

    async def check(self, signer: Signer, older: bytes | None) -> None:
        """Check everything. `older` is a checkpoint file that an auditor kept."""
        remembered = signer.last_head(self._ledger.name)
        await self._read()
        self._check_checkpoints()
        self.wrong["times"] = [*self._key_times(), *await self._checkpoint_times()]
        self.details["times"] = "times of checkpoints and keys agree with the events"
        await self._check_memory(signer, remembered)
        if older is not None:
            self._check_older(older)

    async def _read(self) -> None:
        ledger_id = self._ledger.ledger_id
        self._origins = {row["log"]: row["origin"] for row in await self._connection.fetch(ORIGINS, ledger_id)}
        self._keys = [
            StoredLogKey(row["log"], row["key"], _key(row["key"]), row["added_at"])
            for row in await self._connection.fetch(KEYS, ledger_id)
        ]
        self._signed = [SignedCheckpoint(*row) for row in await self._connection.fetch(CHECKPOINTS, ledger_id)]

    def _keys_of(self, log: int) -> list[VerifierKey]:
        return [stored.key for stored in self._keys if stored.log == log and stored.key is not None]

    def _check_checkpoints(self) -> None:
        """Check each stored checkpoint. Those of the newest log become required heads of the tree."""
        newest = max((checkpoint.log for checkpoint in self._signed), default=0)
        wrong = [
            f"a key of log {stored.log} cannot be read: {stored.text[:80]}"
            for stored in self._keys
            if stored.key is None
        ]
        largest: dict[int, int] = {}
        for checkpoint in self._signed:
            try:
                note = read_note(checkpoint.note)
                verify(note, self._keys_of(checkpoint.log))
                if Checkpoint.read(note.text) != (self._origins.get(checkpoint.log), checkpoint.size, checkpoint.root):
                    raise NoteWrong("it differs from its columns")
            except NoteWrong as error:
                wrong.append(f"checkpoint {checkpoint.checkpoint}: {error}")
                continue
            if checkpoint.size < largest.get(checkpoint.log, 0):
                wrong.append(f"checkpoint {checkpoint.checkpoint} is smaller than one before it")
            largest[checkpoint.log] = checkpoint.size
            if checkpoint.log == newest:  # an operator abandoned older logs because the ledger did not continue them
                self.wanted.append(
                    RequiredHead(checkpoint.size, checkpoint.root, f"checkpoint {checkpoint.checkpoint}")
                )
        given_up = f"; {newest - 1} earlier logs were abandoned" if newest > 1 else ""
        self.wrong["signatures"] = wrong
        self.details["signatures"] = f"{len(self._signed):,} checkpoints are signed by the log's keys{given_up}"

    def _key_times(self) -> Iterator[str]:
        """Yield keys that were stored later than the first checkpoint that they signed."""
        for stored in self._keys:
            signed = (
                checkpoint
                for checkpoint in self._signed
                if checkpoint.log == stored.log and _is_signed_by(checkpoint, stored)
            )
            first = next(signed, None)
            if first is not None and stored.added_at > first.signed_at + CLOCK_SKEW_MAX:
                yield f"a key of log {stored.log} is dated after its first checkpoint {first.checkpoint}"

    async def _checkpoint_times(self) -> list[str]:
        """Find checkpoints signed before their last event was recorded, or before the previous checkpoint."""
        sizes = [checkpoint.size for checkpoint in self._signed]
        rows = await self._connection.fetch(RECORDED, self._ledger.ledger_id, sizes)
        recorded = {row["position"]: row["recorded_at"] for row in rows}
        wrong, before = [], None
        for checkpoint in self._signed:
            since = [at for at in (recorded.get(checkpoint.size), before) if at is not None]
            if since and checkpoint.signed_at < max(since) - CLOCK_SKEW_MAX:
                wrong.append(
                    f"checkpoint {checkpoint.checkpoint} is dated before its last event or the previous checkpoint"
                )
            before = checkpoint.signed_at
        return wrong

    async def _check_memory(self, signer: Signer, remembered: bytes | None) -> None:
        """Check that the head last signed is in the database, signed by a key that the database knows."""
        if remembered is None:
            self.details["signer"] = (
                f"nothing outside the database was compared: {signer.folder} remembers no head of this ledger"
            )
            self.wrong["signer"] = []
            return
        try:
            note = read_note(remembered)
            head = Checkpoint.read(note.text)
        except NoteWrong as error:
            self.wrong["signer"] = [f"the remembered head cannot be read: {error}"]
            return
        self.wanted.append(RequiredHead(head.size, head.root, "the signer's remembered head"))
        for _ in range(READ_ATTEMPTS_MAX):
            if self._has(head):
                break
            await asyncio.sleep(RETRY_SECONDS)
            await self._read()
        logs = [log for log, origin in self._origins.items() if origin == head.origin]
        wrong = []
        if not logs:
            wrong.append(f"the signer signed for {head.origin}, but the database has no such log")
        elif not self._has(head):
            wrong.append(
                f"the signer signed a head of {head.size:,} events that is not among the checkpoints: it was "
                "deleted, or "
                "the service was killed at that moment; in that case run `loyalty seal`"
            )
        else:
            try:
                verify(note, [key for log in logs for key in self._keys_of(log)])
            except NoteWrong as error:
                wrong.append(f"the remembered head is not signed by a key in the database: {error}")
        self.wrong["signer"] = wrong
        self.details["signer"] = f"the head of {head.size:,} events that the signer remembers is among the checkpoints"

    def _has(self, head: Checkpoint) -> bool:
        """Return True if the head, or a larger head of its log, is among the checkpoints. Another signer may have been
        quicker.
        """
        of_log = [checkpoint for checkpoint in self._signed if self._origins.get(checkpoint.log) == head.origin]
        return any(
            checkpoint.size > head.size or (checkpoint.size, checkpoint.root) == (head.size, head.root)
            for checkpoint in of_log
        )

    def _check_older(self, older: bytes) -> None:
        """Check that the kept checkpoints are of this ledger. The check `heads` compares them with the tree."""
        self.wrong["older checkpoint"] = wrong = list[str]()
        try:
            found = read_kept_checkpoints(older)
            ours = [checkpoint for checkpoint in found if checkpoint.head.origin in self._origins.values()]
            if not ours:
                origins = " and ".join(sorted({checkpoint.head.origin for checkpoint in found}))
                raise NoteWrong(f"it is of {origins[:200]}, and this ledger is {' and '.join(self._origins.values())}")
            for checkpoint in ours:
                logs = [log for log, origin in self._origins.items() if origin == checkpoint.head.origin]
                verify(checkpoint.note, [key for log in logs for key in self._keys_of(log)])
        except NoteWrong as error:
            wrong.append(str(error))
            return
        self.wanted += [
            RequiredHead(checkpoint.head.size, checkpoint.head.root, "the older checkpoint") for checkpoint in ours
        ]
        newest = max(ours, key=lambda checkpoint: checkpoint.head.size).head
        also = f", and {len(ours) - 1} before it" if len(ours) > 1 else ""
        self.details["older checkpoint"] = (
            f"it is of {newest.size:,} events of {newest.origin}, signed by a key of that log{also}"
        )


def _key(text: str) -> VerifierKey | None:
    try:
        return VerifierKey.read(text)
    except KeyWrong:
        return None


def _is_signed_by(signed: SignedCheckpoint, stored: StoredLogKey) -> bool:
    try:
        signatures = read_note(signed.note).signatures
        return stored.key is not None and any(stored.key.is_named_in(signature) for signature in signatures)
    except NoteWrong:
        return False
