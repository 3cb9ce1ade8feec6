"""The signer: signs heads of ledgers, and remembers the last one of each outside the database.

Whoever can rewrite the database, or restores an old copy of it, cannot rewrite this folder by that. So before a head is
signed, who asks must show that it continues the remembered one (tree.py does), and what is remembered is on disk
before a signature leaves this file. A key is 32 bytes in base64, a line each in the file `keys`, or given by a setting;
all of them sign, so that verifiers which know only the old one go on until it is retired.
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
    """Another process signed since the head was read; look again."""


class Signer:
    """Signs with the keys of one folder; `given` takes the place of those in the file, `site` begins new origins."""

    def __init__(self, folder: Path, given: Sequence[bytes] = (), site: str | None = None) -> None:
        self.folder = folder
        self._given = given
        self.site = site

    def seeds(self) -> list[bytes]:
        """Give the keys, oldest first; none if none was made yet. Raises KeyWrong."""
        if self._given:
            return list(self._given)
        kept = durable_files.read(self.folder / "keys")
        return [] if kept is None else read_seeds(kept.decode("latin-1"))

    def add_key(self) -> bytes:
        """Make a further key, beside which the old ones go on signing. Raises KeyWrong if keys are given by a setting,
        or there are too many."""
        self._refuse_given()
        with durable_files.locked(self.folder, "keys"):
            seeds = self.seeds()
            if len(seeds) == KEYS_MAX:
                raise KeyWrong(f"{KEYS_MAX} keys sign already; retire one first")
            seeds.append(os.urandom(SEED_BYTES))
            durable_files.write(self.folder / "keys", _write_seeds(seeds))
        return seeds[-1]

    def first_key(self) -> None:
        """Make a key unless there is one."""
        with durable_files.locked(self.folder, "keys"):
            if not self.seeds():
                durable_files.write(self.folder / "keys", _write_seeds([os.urandom(SEED_BYTES)]))

    def drop_key(self, seed: bytes) -> None:
        """Destroy a key: it signs no more; what it signed stays verifiable. Raises KeyWrong if it is the last."""
        self._refuse_given()
        with durable_files.locked(self.folder, "keys"):
            seeds = [one for one in self.seeds() if one != seed]
            if not seeds:
                raise KeyWrong("it is the only one; add another first")
            durable_files.write(self.folder / "keys", _write_seeds(seeds))

    def keys(self, origin: str) -> list[SigningKey]:
        """Give the keys under the name of a log, oldest first."""
        return [SigningKey(origin, seed) for seed in self.seeds()]

    def remembered(self, ledger: str) -> bytes | None:
        """Give the last head of a ledger that was signed here, as the note that it is; None if there is none."""
        return durable_files.read(self.folder / f"{ledger}.checkpoint")

    def sign(self, ledger: str, head: Checkpoint, *, after: bytes | None) -> bytes:
        """Sign a head that continues the one in `after`, which is what is remembered. Raises HeadMoved if it is not."""
        with durable_files.locked(self.folder, ledger):
            if self.remembered(ledger) != after:
                raise HeadMoved
            text = head.write()
            note = Note(text, [key.sign(text) for key in self.keys(head.origin)]).write().encode()
            durable_files.write(self.folder / f"{ledger}.checkpoint", note)
        return note

    def forget(self, ledger: str) -> None:
        """Lay the remembered head of a ledger aside, under another name: it is evidence."""
        with durable_files.locked(self.folder, ledger):
            if self.remembered(ledger) is not None:
                aside = f"{ledger}.checkpoint.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{os.urandom(2).hex()}"
                (self.folder / f"{ledger}.checkpoint").rename(self.folder / aside)
                durable_files.sync(self.folder)

    def _refuse_given(self) -> None:
        if self._given:
            raise KeyWrong("the keys are given by LOYALTY_SIGNING_KEY; change it there")


def read_seeds(text: str) -> list[bytes]:
    """Read keys in base64, separated by blanks or newlines. Raises KeyWrong."""
    try:
        seeds = [base64.b64decode(one, validate=True) for one in text.split()]
    except ValueError:
        raise KeyWrong("it is not base64") from None
    if not seeds or len(seeds) > KEYS_MAX or any(len(seed) != SEED_BYTES for seed in seeds):
        raise KeyWrong(f"it is not one to {KEYS_MAX} times {SEED_BYTES} bytes")
    return seeds


def _write_seeds(seeds: Sequence[bytes]) -> bytes:
    return b"".join(base64.b64encode(seed) + b"\n" for seed in seeds)
