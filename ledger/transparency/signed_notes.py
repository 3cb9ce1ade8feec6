"""Signed notes (C2SP signed-note): a text, an empty line, and one line per signature. Any key may sign, in any order.

A signature counts only if its name and key id are those of a trusted key. Other signatures are ignored, even wrong
ones. So a log can change its key, and witnesses can add theirs. A key id is the first four bytes of SHA-256(name ||
0x0A || kind || public key). The kind selects the signature algorithm and the signed bytes.
"""

import base64
import binascii
import re
import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import KeyWrong, NoteWrong

ED25519 = 1  # signs the text of the note
COSIGNATURE = 4  # also Ed25519; signs the time of the witness and the text (C2SP tlog-cosignature)

SEED_BYTES = 32
KEY_ID_BYTES = 4
SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE: 8 + 64}
SECONDS_MAX = 2**63 - 1
NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100
SIGNATURE_LINE = "\N{EM DASH} "

_NAME = re.compile(r"[^\s+\x00-\x1f]{1,1000}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Signature(NamedTuple):
    """One line below a note. The kind of its key defines the format of `value`."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """Return the line, with its newline."""
        return f"{SIGNATURE_LINE}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


class Note(NamedTuple):
    """A parsed note. The text ends with a newline. Trust it only after a signature was verified."""

    text: str
    signatures: Sequence[Signature]

    def write(self) -> str:
        """Return the note as it was read."""
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)


class VerifierKey(NamedTuple):
    """A public key with a name."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Parse `name+key id+base64`, the format in which verifier keys are published. Raises KeyWrong."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        decoded = _decode_base64(encoded)
        if not _NAME.fullmatch(name) or decoded is None or len(decoded) != 33 or decoded[0] not in SIGNATURE_BYTES:
            raise KeyWrong("the format is name+8 hexadecimal digits+Ed25519 key in base64")
        key = cls(name, decoded[0], decoded[1:])
        if key.key_id.hex() != key_id:
            raise KeyWrong(f"its id is not {key_id}")
        return key

    def write(self) -> str:
        """Return the format that `read` parses."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes((self.kind,)) + self.public).decode()}"

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature. They identify the key; they do not protect it."""
        return sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.public).digest()[:KEY_ID_BYTES]

    def is_named_in(self, signature: Signature) -> bool:
        """Return True if a signature names this key. It may still be wrong."""
        return (signature.name, signature.key_id) == (self.name, self.key_id)

    def verifies(self, text: str, signature: Signature) -> bool:
        """Return True if a signature that names this key is valid."""
        if len(signature.value) != SIGNATURE_BYTES[self.kind]:
            return False
        signed_bytes = text.encode()
        if self.kind == COSIGNATURE:
            if cosigned_at(signature) > SECONDS_MAX:
                return False
            signed_bytes = _cosigned_bytes(text, cosigned_at(signature))
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature.value[-64:], signed_bytes)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """An Ed25519 key with a name."""

    def __init__(self, name: str, seed: bytes, kind: int = ED25519) -> None:
        """Build the key from its seed of 32 bytes. Raises KeyWrong for another length, or a name with white space or
        "+".
        """
        if len(seed) != SEED_BYTES:
            raise KeyWrong(f"{len(seed)} bytes instead of {SEED_BYTES}")
        if not _NAME.fullmatch(name):
            raise KeyWrong("the name is empty, or contains white space or +")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = VerifierKey(name, kind, self._private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Signature:
        """Sign the text of a note."""
        assert self.public.kind == ED25519
        return Signature(self.public.name, self.public.key_id, self._private.sign(text.encode()))

    def cosign(self, text: str, seconds: int) -> Signature:
        """Sign as a witness: the text was the newest of its log that the witness had seen, `seconds` after 1970."""
        assert self.public.kind == COSIGNATURE
        signature = self._private.sign(_cosigned_bytes(text, seconds))
        return Signature(self.public.name, self.public.key_id, struct.pack(">Q", seconds) + signature)


def cosigned_at(signature: Signature) -> int:
    """Return the time of a cosignature, as the witness states it, in seconds since 1970."""
    return int.from_bytes(signature.value[:8], "big")


def read_note(note: bytes) -> Note:
    """Parse a note: its last empty line separates text and signatures. Nothing is verified. Raises NoteWrong."""
    if len(note) > NOTE_BYTES_MAX:
        raise NoteWrong(f"it is longer than {NOTE_BYTES_MAX:,} bytes")
    try:
        content = note.decode()
    except UnicodeDecodeError:
        raise NoteWrong("it is not UTF-8") from None
    if _CONTROL.search(content):
        raise NoteWrong("it has control characters")
    text, empty, lines = content.rpartition("\n\n")
    if not empty or not lines.endswith("\n"):
        raise NoteWrong("it has no empty line before its signatures, or no newline at its end")
    return Note(text + "\n", read_signatures(lines))


def read_signatures(lines: str) -> list[Signature]:
    """Parse lines of signatures, at least one. Raises NoteWrong."""
    signatures = [_signature(line) for line in lines.removesuffix("\n").split("\n")]
    if len(signatures) > SIGNATURES_MAX:
        raise NoteWrong(f"it has more than {SIGNATURES_MAX} signatures")
    return signatures


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(SIGNATURE_LINE).partition(" ")
    decoded = _decode_base64(encoded)
    if not line.startswith(SIGNATURE_LINE) or not _NAME.fullmatch(name) or decoded is None:
        raise NoteWrong("a signature line is malformed")
    if len(decoded) <= KEY_ID_BYTES:
        raise NoteWrong("a signature is too short")
    return Signature(name, decoded[:KEY_ID_BYTES], decoded[KEY_ID_BYTES:])


def verify(note: Note, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Return the trusted keys that signed a note.

    Raises NoteWrong if none of them did, or if a signature that names one of them is wrong.
    """
    signers = []
    for key in keys:
        by_key = [signature for signature in note.signatures if key.is_named_in(signature)]
        if not all(key.verifies(note.text, signature) for signature in by_key):
            raise NoteWrong(f"its signature by {key.name} is wrong")
        if by_key:
            signers.append(key)
    if not signers:
        raise NoteWrong("no trusted key signed it")
    return signers


def _cosigned_bytes(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _decode_base64(text: str) -> bytes | None:
    """Decode canonical standard base64; None for anything else."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.b64encode(decoded).decode() == text else None
