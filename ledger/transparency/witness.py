"""A witness (C2SP tlog-witness) cosigns a checkpoint if that checkpoint continues the log's last cosigned one. Another
party operates the witness. The witness guarantees that all its clients see the same log. A log cannot return to a state
before its last cosigned checkpoint. For each log it stores only the last checkpoint. The checkpoint is checked and
replaced under one lock. The new one is on disk before the cosignature is returned.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ledger import durable_files
from ledger.errors import KeyWrong, NoteWrong
from ledger.merkle import verify_consistency
from ledger.transparency.checkpoints import Checkpoint, read_hash, read_size, write_hash
from ledger.transparency.signed_notes import (
    COSIGNATURE,
    ED25519,
    SEED_BYTES,
    SigningKey,
    VerifierKey,
    read_note,
    verify,
)

PROOF_LINES_MAX = 63
LOGS_MAX = 10_000
SIZE_TYPE = "text/x.tlog.size"
EMPTY_ROOT = hashlib.sha256(b"").digest()


class WitnessRequest(NamedTuple):
    """A request to cosign `note`, with the proof that it continues the checkpoint of `old` entries."""

    old: int
    proof: Sequence[bytes]
    note: bytes

    @classmethod
    def read(cls, body: bytes) -> "WitnessRequest":
        """Parse the body of add-checkpoint. Raises NoteWrong."""
        head, empty, note = body.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise NoteWrong("the proof is not ASCII") from None
        if not empty or not first.startswith("old ") or len(lines) > PROOF_LINES_MAX:
            raise NoteWrong("it must begin with the old size and a proof")
        return cls(read_size(first.removeprefix("old ")), [read_hash(line) for line in lines], note)

    def write(self) -> bytes:
        """Return the body of add-checkpoint."""
        lines = "".join(f"{write_hash(hashed)}\n" for hashed in self.proof)
        return f"old {self.old}\n{lines}\n".encode() + self.note


class WitnessReply(NamedTuple):
    """An HTTP status and a body; `kind` is its media type."""

    status: int
    body: str
    kind: str = "text/plain"


class Witness:
    """Cosigns under one name. One folder holds its key, the keys of trusted logs, and their last checkpoints."""

    def __init__(self, folder: Path, name: str) -> None:
        """Read the key in the folder, or generate it. Raises KeyWrong."""
        self._folder = folder
        with durable_files.locked(folder, "key"):
            seed = durable_files.read(folder / "key")
            if seed is None:
                seed = os.urandom(SEED_BYTES)
                durable_files.write(folder / "key", seed)
        self._key = SigningKey(name, seed, COSIGNATURE)

    @property
    def key(self) -> VerifierKey:
        """The key that verifies its cosignatures."""
        return self._key.public

    def logs(self) -> list[VerifierKey]:
        """Return the keys of the trusted logs; the name of a key is the origin of its log."""
        return [
            VerifierKey.read(line) for line in (durable_files.read(self._folder / "logs") or b"").decode().splitlines()
        ]

    def trust(self, key: VerifierKey) -> None:
        """Trust a key from now on, for the log of its name. Raises KeyWrong."""
        if key.kind != ED25519:
            raise KeyWrong("the key of a log must be an Ed25519 key of kind 1")
        with durable_files.locked(self._folder, "logs"):
            known = self.logs()
            if len(known) >= LOGS_MAX:
                raise KeyWrong(f"{LOGS_MAX} keys are trusted already")
            if key not in known:
                text = "".join(f"{trusted.write()}\n" for trusted in [*known, key])
                durable_files.write(self._folder / "logs", text.encode())

    def add_checkpoint(self, body: bytes, now: int) -> WitnessReply:
        """Answer a request to cosign; `now` in seconds since 1970."""
        try:
            request = WitnessRequest.read(body)
            note = read_note(request.note)
            head = Checkpoint.read(note.text)
        except NoteWrong as error:
            return WitnessReply(400, f"{error}\n")
        keys = [key for key in self.logs() if key.name == head.origin]
        if not keys:
            return WitnessReply(404, "this log is not known here\n")
        try:
            verify(note, keys)
        except NoteWrong as error:
            return WitnessReply(403, f"{error}\n")
        if request.old > head.size:
            return WitnessReply(400, "the old size is larger than the new one\n")
        if head.size == 0 and head.root != EMPTY_ROOT:
            return WitnessReply(422, "a tree without entries has another root\n")
        name = hashlib.sha256(head.origin.encode()).hexdigest()
        with durable_files.locked(self._folder, name):
            reply = self._refusal(request, head, durable_files.read(self._folder / f"{name}.checkpoint"))
            if reply is None:
                durable_files.write(self._folder / f"{name}.checkpoint", request.note)
                reply = WitnessReply(200, self._key.cosign(note.text, now).line())
        return reply

    def _refusal(self, request: WitnessRequest, head: Checkpoint, last_note: bytes | None) -> WitnessReply | None:
        """Return the refusal of a checkpoint that does not continue the last one; None if it does."""
        last = None if last_note is None else Checkpoint.read(read_note(last_note).text)
        size = 0 if last is None else last.size
        if request.old != size:
            return WitnessReply(409, f"{size}\n", SIZE_TYPE)
        if last is None or size == 0:
            return WitnessReply(422, "a proof from nothing is empty\n") if request.proof else None
        if size == head.size and last.root != head.root:
            return WitnessReply(409, f"{size}\n", SIZE_TYPE)
        if not verify_consistency(size, head.size, last.root, head.root, request.proof):
            return WitnessReply(422, "the proof does not verify\n")
        return None
