"""The master key, which encrypts secrets and keys before they are stored: AES-256-GCM, a fresh nonce each time."""

import base64
import hashlib
import hmac
import os
from functools import partial
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import MasterKeyWrong

KEY_BYTES = 32
NONCE_BYTES = 12


def new_keyed_hash(key: bytes) -> hmac.HMAC:
    """Start an HMAC-SHA-256 under one key. Its copies hash many short messages without setting up the key again.

    A function instead of the name of SHA-256 makes `hmac` copy two plain hashes, in a third of the time that the copy
    of OpenSSL's HMAC takes.
    """
    return hmac.new(key, digestmod=partial(hashlib.sha256))


class MasterKey:
    """Encrypts and decrypts bytes under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise MasterKeyWrong(f"{len(key)} bytes instead of {KEY_BYTES}")
        self._key = key
        self._cipher = AESGCM(key)

    def __reduce__(self) -> tuple[type["MasterKey"], tuple[bytes]]:
        """Allow pickling, so that a process can pass the key to its worker processes over a pipe."""
        return MasterKey, (self._key,)

    @classmethod
    def from_text(cls, text: str) -> "MasterKey":
        """Read a key from base64. Raises MasterKeyWrong if it is malformed."""
        try:
            return cls(base64.b64decode(text, validate=True))
        except ValueError:
            raise MasterKeyWrong("not base64") from None

    @classmethod
    def from_file(cls, path: Path) -> "MasterKey":
        """Read the key from a file. Create the file with a new key and mode 0600 if it is absent.

        Raises MasterKeyWrong if the key is malformed.
        """
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            pass
        return cls.from_text(path.read_text().strip())

    def encrypt(self, plain: bytes, context: bytes = b"") -> bytes:
        """Encrypt. `context` is the associated data: decryption needs the same.

        Returns nonce, ciphertext and tag, 28 bytes more than the plain text.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def decrypt(self, encrypted: bytes, context: bytes = b"") -> bytes:
        """Decrypt the result of `encrypt`. Raises MasterKeyWrong if the key or the context differs, or the bytes were
        changed.
        """
        try:
            return self._cipher.decrypt(encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], context)
        except InvalidTag:
            raise MasterKeyWrong from None

    @property
    def name(self) -> str:
        """A name that distinguishes the key from other keys, and does not reveal it."""
        return self.derive(b"name")[:8].hex()

    def derive(self, purpose: bytes) -> bytes:
        """Derive a key of 32 bytes for one purpose. It reveals neither this key nor the key of another purpose."""
        return hmac.digest(self._key, purpose, "sha256")
