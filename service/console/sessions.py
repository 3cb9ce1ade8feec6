"""Sessions of the console. A session is a cookie that holds the API key, encrypted, with an end.

The server stores no session. A session ends at its end, and when its key is revoked, because each request checks the
key as the API does. Keys for encryption are derived from the master key, so any process of the service reads a session.
"""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from ledger import clock
from ledger.errors import BadCredentials, MasterKeyWrong
from ledger.privacy.encryption import MasterKey

SESSION_DURATION = timedelta(hours=8)
ONE_TIME_DURATION = timedelta(minutes=10)
USED_MAX = 1_000  # one-time links that are remembered as used

SESSION, ONE_TIME = b"console session", b"console one-time login"


class ConsoleSession(NamedTuple):
    """An open session: its API key, and its end."""

    key: str
    ends_at: datetime
    nonce: str = ""


class SessionKeeper:
    """Opens and reads sessions and one-time logins. Any process with the same master key reads them."""

    def __init__(self, master_key: MasterKey) -> None:
        self._cipher = MasterKey(master_key.derive(b"console sessions"))
        self._form_key = master_key.derive(b"console forms")
        self._used: dict[str, None] = {}  # nonces of used one-time logins, oldest first

    def open(self, key: str) -> str:
        """Return the cookie value of a new session."""
        return self._seal(ConsoleSession(key, clock.now() + SESSION_DURATION), SESSION)

    def read(self, text: str) -> ConsoleSession:
        """Return the session of a cookie value. Raises BadCredentials if it has ended, or is not of this service."""
        return self._unseal(text, SESSION)

    def make_one_time_token(self, key: str) -> str:
        """Return a token that signs in once, within ONE_TIME_DURATION."""
        return self._seal(ConsoleSession(key, clock.now() + ONE_TIME_DURATION, secrets.token_hex(16)), ONE_TIME)

    def use_one_time_token(self, token: str) -> str:
        """Return the API key of a one-time token, and mark the token as used. Raises BadCredentials.

        This process remembers the used tokens. The process that prints a link also serves it.
        """
        once = self._unseal(token, ONE_TIME)
        if once.nonce in self._used:
            raise BadCredentials
        if len(self._used) >= USED_MAX:
            del self._used[next(iter(self._used))]
        self._used[once.nonce] = None
        return once.key

    def form_token(self, bound_to: str) -> str:
        """Return the token that each form carries. It is bound to a session, or to a purpose before the login."""
        return hmac.digest(self._form_key, hashlib.sha256(bound_to.encode()).digest(), "sha256").hex()

    def is_form_token(self, token: str, bound_to: str) -> bool:
        return hmac.compare_digest(self.form_token(bound_to).encode(), token.encode())

    def _seal(self, session: ConsoleSession, purpose: bytes) -> str:
        return base64.urlsafe_b64encode(self._cipher.encrypt(msgspec.json.encode(session), purpose)).decode()

    def _unseal(self, text: str, purpose: bytes) -> ConsoleSession:
        try:
            plain = self._cipher.decrypt(base64.urlsafe_b64decode(text), purpose)
        except (ValueError, MasterKeyWrong):
            raise BadCredentials from None
        session = msgspec.json.decode(plain, type=ConsoleSession)
        if clock.now() >= session.ends_at:
            raise BadCredentials
        return session
