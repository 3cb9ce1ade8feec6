"""Authenticate a delivery by its raw bytes (domain §2). Comparisons take constant time; any live secret will do.

A scheme is a function (secrets, header name, headers, body, now) -> whether it is right. A header that is missing or
given twice is never right: intermediaries disagree on which one counts.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from multidict import CIMultiDictProxy

from ledger.errors import BadCredentials
from ledger.registry import InboundConnection

STANDARD_WEBHOOKS_TOLERANCE_SECONDS = 300
STANDARD_WEBHOOKS_PREFIX = b"whsec_"

_STRING_OR_SPACE = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+', re.DOTALL)

Headers = CIMultiDictProxy[str]


def authenticate(inbound: InboundConnection, headers: Headers, body: bytes, now: float) -> None:
    """Check a delivery against a connection's scheme and secrets; `now` in seconds since 1970.

    Raises BadCredentials.
    """
    if not SCHEMES[inbound.scheme](inbound.secrets, inbound.header, headers, body, now):
        raise BadCredentials


def by_header(secrets: Sequence[bytes], header: str, headers: Headers, _body: bytes, _now: float) -> bool:
    """The header carries the secret itself."""
    given = _only(headers, header)
    return given is not None and _any_equal(secrets, given.encode("utf-8", "surrogateescape"))


def by_voucherify(secrets: Sequence[bytes], header: str, headers: Headers, body: bytes, _now: float) -> bool:
    """Hexadecimal HMAC-SHA256 of the raw body, else of the body with white space outside strings removed: Voucherify
    signs what JSON.stringify gives, without a time stamp."""
    given = _only(headers, header)
    if given is None:
        return False
    signature = given.strip().lower().encode("utf-8", "surrogateescape")
    if _any_equal((_hmac_hex(secret, body) for secret in secrets), signature):
        return True
    compact = without_white_space(body)
    return compact != body and _any_equal((_hmac_hex(secret, compact) for secret in secrets), signature)


def by_standard_webhooks(secrets: Sequence[bytes], header: str, headers: Headers, body: bytes, now: float) -> bool:
    """Standard Webhooks 1.0.0: `v1,` and base64 of HMAC-SHA256 over "id.timestamp.body", several separated by blanks.

    A time stamp more than STANDARD_WEBHOOKS_TOLERANCE_SECONDS away is refused.
    """
    identifier, stamp, signatures = (_only(headers, name) for name in ("webhook-id", "webhook-timestamp", header))
    if identifier is None or stamp is None or signatures is None or not stamp.isascii() or not stamp.isdigit():
        return False
    if len(stamp) > 12 or abs(now - int(stamp)) > STANDARD_WEBHOOKS_TOLERANCE_SECONDS:
        return False
    signed = f"{identifier}.{stamp}.".encode("utf-8", "surrogateescape") + body
    given = [part[3:].encode("utf-8", "surrogateescape") for part in signatures.split(" ") if part.startswith("v1,")]
    expected = [base64.b64encode(hmac.digest(_standard_key(secret), signed, "sha256")) for secret in secrets]
    return any(_any_equal(expected, signature) for signature in given)


def without_white_space(body: bytes) -> bytes:
    """Remove white space outside strings by scanning: parsing and dumping would respell numbers and escapes."""
    return _STRING_OR_SPACE.sub(lambda match: match[1] or b"", body)


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


def _standard_key(secret: bytes) -> bytes:
    if not secret.startswith(STANDARD_WEBHOOKS_PREFIX):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(STANDARD_WEBHOOKS_PREFIX), validate=True)
    except binascii.Error:
        return secret


Scheme = Callable[[Sequence[bytes], str, Headers, bytes, float], bool]
SCHEMES: Mapping[str, Scheme] = {
    "header": by_header,
    "voucherify": by_voucherify,
    "standard-webhooks": by_standard_webhooks,
}
