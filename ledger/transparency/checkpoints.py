"""Checkpoints (C2SP tlog-checkpoint): the origin of a log, its size and its root, as the text of a signed note.

A proof file (C2SP tlog-proof) contains an index, a checkpoint, and the hashes between the entry and the root. It is
verified with the log's public key alone. The format allows extra data: it holds the entry.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ledger.errors import NoteWrong
from ledger.merkle import HASH_BYTES

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
PROOF_HASHES_MAX = 63

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """The claim of a log: it has `size` entries with this root."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def read(cls, text: str) -> "Checkpoint":
        """Parse the text of a note. Further lines are allowed and ignored. Raises NoteWrong."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3 or not all(lines) or not text.endswith("\n"):
            raise NoteWrong("it is not a checkpoint")
        return cls(lines[0], read_size(lines[1]), read_hash(lines[2]))

    def write(self) -> str:
        """Return the text of a note."""
        return f"{self.origin}\n{self.size}\n{write_hash(self.root)}\n"


@dataclass(frozen=True, slots=True)
class ProofFile:
    """Proof that an entry has the index `index`, from 0, in the log with the signed checkpoint `note`."""

    index: int
    proof: Sequence[bytes]
    note: bytes
    extra: bytes | None = None

    @classmethod
    def read(cls, content: bytes) -> "ProofFile":
        """Parse a proof file. Nothing is verified. Raises NoteWrong."""
        head, empty, note = content.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise NoteWrong("the proof is not ASCII") from None
        extra = None
        if len(lines) > 1 and lines[1].startswith("extra "):
            extra = _decode_base64(lines.pop(1).removeprefix("extra "))
        if not empty or len(lines) < 2 or lines[0] != PROOF_HEADER or not lines[1].startswith("index "):
            raise NoteWrong(f"it does not have the format {PROOF_HEADER}")
        if len(lines) - 2 > PROOF_HASHES_MAX:
            raise NoteWrong(f"the proof has more than {PROOF_HASHES_MAX} hashes")
        index = read_size(lines[1].removeprefix("index "))
        return cls(index, [read_hash(line) for line in lines[2:]], note, extra)

    def write(self) -> bytes:
        """Return the content of the proof file."""
        extra = "" if self.extra is None else f"extra {base64.b64encode(self.extra).decode()}\n"
        hashes = "".join(f"{write_hash(hashed)}\n" for hashed in self.proof)
        return f"{PROOF_HEADER}\n{extra}index {self.index}\n{hashes}\n".encode() + self.note


def read_size(text: str) -> int:
    """Parse a number of entries, without leading zeros. Raises NoteWrong."""
    if not _SIZE.fullmatch(text):
        raise NoteWrong("a size must be a number without leading zeros")
    return int(text)


def read_hash(text: str) -> bytes:
    """Parse a hash in base64. Raises NoteWrong."""
    decoded = _decode_base64(text)
    if len(decoded) != HASH_BYTES:
        raise NoteWrong("a hash must have 32 bytes")
    return decoded


def write_hash(hashed: bytes) -> str:
    """Return a hash in base64."""
    return base64.b64encode(hashed).decode()


def _decode_base64(text: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        decoded = b""
    if not decoded or base64.b64encode(decoded).decode() != text:
        raise NoteWrong("a hash or the extra data is not base64")
    return decoded
