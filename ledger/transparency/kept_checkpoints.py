"""Read checkpoints that somebody kept: a signed note, an anchor's file with many of them, or an e-mail.

Nothing is verified here. The order is the order of the file.
"""

import email
import re
from itertools import pairwise
from typing import NamedTuple

from ledger.errors import NoteWrong
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import SIGNATURE_LINE, Note, read_note

KEPT_BYTES_MAX = 64 * 1024 * 1024
SCISSORS_OPEN, SCISSORS_CLOSE = "-----8<-----", "----->8-----"  # enclose the checkpoint in an e-mail

_ENCODED = b"content-transfer-encoding:"
_HEADERS_BYTES_MAX = 65_536
_EMPTY_LINES = re.compile(r"\n\n+")


class KeptCheckpoint(NamedTuple):
    """A kept note, and the checkpoint in it."""

    note: Note
    head: Checkpoint


def read_kept_checkpoints(content: bytes) -> list[KeptCheckpoint]:
    """Read the checkpoints in a file. Raises NoteWrong if there is none, or one of them is malformed."""
    if len(content) > KEPT_BYTES_MAX:
        raise NoteWrong(f"it is longer than {KEPT_BYTES_MAX:,} bytes")
    if _ENCODED in content[:_HEADERS_BYTES_MAX].lower():
        content = _text_of_mail(content)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise NoteWrong("it is not UTF-8") from None
    _, opened, rest = text.partition(f"{SCISSORS_OPEN}\n")
    if opened:
        text = rest.partition(f"\n{SCISSORS_CLOSE}")[0]
    blocks = _EMPTY_LINES.split(text.strip("\n"))
    notes = [
        read_note(f"{body}\n\n{signatures}\n".encode())
        for body, signatures in pairwise(blocks)
        if signatures.startswith(SIGNATURE_LINE) and not body.startswith(SIGNATURE_LINE)
    ]
    if not notes:
        raise NoteWrong("it holds no checkpoint")
    return [KeptCheckpoint(note, Checkpoint.read(note.text)) for note in notes]


def newest_checkpoint(kept: list[KeptCheckpoint], origin: str) -> KeptCheckpoint:
    """Return the largest checkpoint of a log. Raises NoteWrong if there is none of this log."""
    of_log = [checkpoint for checkpoint in kept if checkpoint.head.origin == origin]
    if not of_log:
        origins = " and ".join(sorted({checkpoint.head.origin for checkpoint in kept}))[:200]
        raise NoteWrong(f"it is of {origins}, not of {origin}")
    return max(of_log, key=lambda checkpoint: checkpoint.head.size)


def _text_of_mail(content: bytes) -> bytes:
    for part in email.message_from_bytes(content).walk():
        decoded = part.get_payload(decode=True)
        if part.get_content_type() == "text/plain" and isinstance(decoded, bytes):
            return decoded
    raise NoteWrong("it is an e-mail without text")
