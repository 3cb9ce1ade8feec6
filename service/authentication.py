"""Authenticate a delivery by its raw bytes (domain §2). Comparisons take constant time; any live secret will do.

A scheme is a function (secrets, header name, headers, body, now) -> whether it is right. A header that is missing or
given twice is never right: intermediaries disagree on which one counts. A stored secret that could not be created
today, such as an empty one, is never right either.

A stranger needs nothing but a connection's URL to have a body hashed here, so the cost is linear in the body, a few
milliseconds for the largest.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence

from multidict import CIMultiDictProxy

from ledger.credentials import is_usable, standard_key
from ledger.errors import BadCredentials
from ledger.reading import without_white_space
from ledger.registry import InboundConnection

STANDARD_WEBHOOKS_TOLERANCE_SECONDS = 300
STAMP_DIGITS_MAX = 12
SIGNATURE_CHARACTERS = 64  # of a SHA-256 in hexadecimal

Headers = CIMultiDictProxy[str]


def authenticate(inbound: InboundConnection, headers: Headers, body: bytes, now: float) -> None:
    """Check a delivery against a connection's scheme and secrets; `now` in seconds since 1970.

    Raises BadCredentials.
    """
    secrets = [secret for secret in inbound.secrets if is_usable(inbound.scheme, secret)]
    if not SCHEMES[inbound.scheme](secrets, inbound.header, headers, body, now):
        raise BadCredentials


def by_header(secrets: Sequence[bytes], header: str, headers: Headers, _body: bytes, _now: float) -> bool:
    """The header carries the secret itself."""
    given = _only(headers, header)
    return given is not None and _any_equal(secrets, given.encode("utf-8", "surrogateescape"))


def by_voucherify(secrets: Sequence[bytes], header: str, headers: Headers, body: bytes, _now: float) -> bool:
    """Hexadecimal HMAC-SHA256 of the raw body, else of the JSON document without white space.

    Voucherify signs what JSON.stringify returns, without a time stamp. So the second form is tried only for a body that
    is JSON itself, and only white space between tokens may be added to a captured delivery: such a copy has the same
    event key.
    """
    given = _only(headers, header)
    signature = b"" if given is None else given.strip().lower().encode("utf-8", "surrogateescape")
    if len(signature) != SIGNATURE_CHARACTERS:
        return False
    if _any_equal((_hmac_hex(secret, body) for secret in secrets), signature):
        return True
    compact = without_white_space(body)
    if compact is None or compact == body:
        return False
    return _any_equal((_hmac_hex(secret, compact) for secret in secrets), signature)


def by_standard_webhooks(secrets: Sequence[bytes], header: str, headers: Headers, body: bytes, now: float) -> bool:
    """Standard Webhooks 1.0.0: `v1,` and base64 of HMAC-SHA256 over "id.timestamp.body", several separated by blanks.

    A time stamp more than STANDARD_WEBHOOKS_TOLERANCE_SECONDS away is refused, and so is an id with a dot: with one,
    the signature of a captured delivery would also fit another id, time stamp and body.
    """
    identifier, stamp, signatures = (_only(headers, name) for name in ("webhook-id", "webhook-timestamp", header))
    if not identifier or "." in identifier or stamp is None or signatures is None:
        return False
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= STAMP_DIGITS_MAX):
        return False
    if abs(now - int(stamp)) > STANDARD_WEBHOOKS_TOLERANCE_SECONDS:
        return False
    signed = f"{identifier}.{stamp}.".encode("utf-8", "surrogateescape") + body
    keys = [standard_key(secret.decode()) or b"" for secret in secrets]
    expected = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys if key]
    given = [part[3:].encode("utf-8", "surrogateescape") for part in signatures.split(" ") if part.startswith("v1,")]
    return any(_any_equal(expected, signature) for signature in given)


def _only(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, ())
    return values[0] if len(values) == 1 else None


def _any_equal(expected: Iterable[bytes], given: bytes) -> bool:
    """Compare with every one, so that the time taken does not tell which fits."""
    found = False
    for one in expected:
        found |= hmac.compare_digest(one, given)
    return found


def _hmac_hex(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, body, hashlib.sha256).hex().encode()


Scheme = Callable[[Sequence[bytes], str, Headers, bytes, float], bool]
SCHEMES: Mapping[str, Scheme] = {
    "header": by_header,
    "voucherify": by_voucherify,
    "standard-webhooks": by_standard_webhooks,
}
