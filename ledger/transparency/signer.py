"""The signer: signs tree heads of ledgers, and keeps each ledger's last signed head outside the database.

A person who rewrites the database, or restores an old copy, does not change this folder. So before a head is signed,
the caller must prove that it continues the last one (tree_heads.py does). The new head is on disk before its signature
leaves this module.

A key is 32 bytes in base64. Keys are lines of the file `keys`, or come from a setting. All keys sign, so verifiers that
know only the old key still work until it is retired.
"""

import base64
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ledger import durable_files
from ledger.errors import KeyWrong
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import SEED_BYTES, Note, SigningKey

KEYS_MAX = 8


class HeadMoved(Exception):
    """Another process signed after the last head was read; read it again."""


class Signer:
    """Signs with the keys of one folder. `given_seeds` replace the file; `site` is the prefix of new origins."""

    def __init__(self, folder: Path, given_seeds: Sequence[bytes] = (), site: str | None = None) -> None:
        self.folder = folder
        self._given_seeds = given_seeds
        self.site = site

    def seeds(self) -> list[bytes]:
        """Return the keys, oldest first; empty if none was generated yet. Raises KeyWrong."""
        if self._given_seeds:
            return list(self._given_seeds)
        stored = durable_files.read(self.folder / "keys")
        return [] if stored is None else read_seeds(stored.decode("latin-1"))

    def add_key(self) -> bytes:
        """Generate a further key. The old keys still sign. Raises KeyWrong if keys come from a setting, or are too
        many.
        """
        self._require_key_file()
        with durable_files.locked(self.folder, "keys"):
            seeds = self.seeds()
            if len(seeds) == KEYS_MAX:
                raise KeyWrong(f"{KEYS_MAX} keys sign already; retire one first")
            seeds.append(os.urandom(SEED_BYTES))
            durable_files.write(self.folder / "keys", _write_seeds(seeds))
        return seeds[-1]

    def ensure_key(self) -> None:
        """Generate a key if there is none."""
        with durable_files.locked(self.folder, "keys"):
            if not self.seeds():
                durable_files.write(self.folder / "keys", _write_seeds([os.urandom(SEED_BYTES)]))

    def drop_key(self, seed: bytes) -> None:
        """Destroy a key. Its signatures stay verifiable. Raises KeyWrong if it is the last key."""
        self._require_key_file()
        with durable_files.locked(self.folder, "keys"):
            seeds = [other for other in self.seeds() if other != seed]
            if not seeds:
                raise KeyWrong("it is the only key; add another one first")
            durable_files.write(self.folder / "keys", _write_seeds(seeds))

    def keys(self, origin: str) -> list[SigningKey]:
        """Return the keys under the name of a log, oldest first."""
        return [SigningKey(origin, seed) for seed in self.seeds()]

    def last_head(self, ledger: str) -> bytes | None:
        """Return the last head of a ledger that was signed here, as a signed note; None if there is none."""
        return durable_files.read(self.folder / f"{ledger}.checkpoint")

    def sign(self, ledger: str, head: Checkpoint, *, after: bytes | None) -> bytes:
        """Sign a head that continues the note `after`. Raises HeadMoved if `after` is not the last signed head any
        more.
        """
        with durable_files.locked(self.folder, ledger):
            if self.last_head(ledger) != after:
                raise HeadMoved
            text = head.write()
            note = Note(text, [key.sign(text) for key in self.keys(head.origin)]).write().encode()
            durable_files.write(self.folder / f"{ledger}.checkpoint", note)
        return note

    def set_aside_head(self, ledger: str) -> None:
        """Rename the file with the last head of a ledger. It is kept as evidence."""
        with durable_files.locked(self.folder, ledger):
            if self.last_head(ledger) is not None:
                aside = f"{ledger}.checkpoint.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{os.urandom(2).hex()}"
                (self.folder / f"{ledger}.checkpoint").rename(self.folder / aside)
                durable_files.sync(self.folder)

    def _require_key_file(self) -> None:
        if self._given_seeds:
            raise KeyWrong("the keys come from LOYALTY_SIGNING_KEY; change that setting")


def read_seeds(text: str) -> list[bytes]:
    """Parse keys in base64, separated by white space. Raises KeyWrong."""
    try:
        seeds = [base64.b64decode(word, validate=True) for word in text.split()]
    except ValueError:
        raise KeyWrong("it is not base64") from None
    if not seeds or len(seeds) > KEYS_MAX or any(len(seed) != SEED_BYTES for seed in seeds):
        raise KeyWrong(f"give 1 to {KEYS_MAX} keys of {SEED_BYTES} bytes each")
    return seeds


def _write_seeds(seeds: Sequence[bytes]) -> bytes:
    return b"".join(base64.b64encode(seed) + b"\n" for seed in seeds)
