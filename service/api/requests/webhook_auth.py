"""Authenticate a delivery by its raw bytes. Comparisons take constant time, and any live secret is accepted.

A scheme is a function (secrets, header name, headers, body, now) -> bool. Three inputs never authenticate:

- a missing header;
- a repeated header, because intermediaries disagree on the one that counts;
- a stored secret that could not be created today, such as an empty one.

Anyone who knows a connection's URL can make this code hash a body. So the cost is linear in the body: a few
milliseconds for the largest.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from multidict import CIMultiDictProxy

from ledger.credentials import is_usable, standard_key
from ledger.errors import BadCredentials
from ledger.parsing import without_white_space
from ledger.store.registry import InboundConnection

STANDARD_WEBHOOKS_TOLERANCE_SECONDS = 300

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9A-Fa-f]{64}")

Headers = CIMultiDictProxy[str]


def authenticate(inbound: InboundConnection, headers: Headers, body: bytes, now: float) -> None:
    """Check a delivery by its connection's scheme and secrets; `now` is a Unix time. Raises BadCredentials."""
    secrets = [secret for secret in inbound.secrets if is_usable(inbound.scheme, secret)]
    if not SCHEMES[inbound.scheme](secrets, inbound.header, headers, body, now):
        raise BadCredentials


def check_headers(inbound: InboundConnection, headers: Headers, now: float) -> None:
    """Check the headers alone, so that the body of a stranger is not read. Raises BadCredentials.

    That is the whole check for the scheme `header`.
    """
    secrets = [secret for secret in inbound.secrets if is_usable(inbound.scheme, secret)]
    if not secrets or not HEADER_CHECKS[inbound.scheme](secrets, inbound.header, headers, now):
        raise BadCredentials


def check_header(secrets: Sequence[bytes], header: str, headers: Headers, _body: bytes, _now: float) -> bool:
    """The header carries the secret itself."""
    given = _single_header(headers, header)
    return given is not None and _any_equal(secrets, given.encode("utf-8", "surrogateescape"))


def check_voucherify(secrets: Sequence[bytes], header: str, headers: Headers, body: bytes, _now: float) -> bool:
    """Hexadecimal HMAC-SHA256 of the raw body, or of the JSON document without white space.

    Voucherify signs the result of JSON.stringify, without a time stamp. The second form is tried only for a body that
    is JSON. An attacker can only add white space between the tokens of a captured delivery. The copy has the same event
    key.
    """
    if not _signed_by_voucherify(secrets, header, headers, _now):
        return False
    signature = headers[header].strip().lower().encode("utf-8", "surrogateescape")
    if _any_equal((_hmac_hex(secret, body) for secret in secrets), signature):
        return True
    compact = without_white_space(body)
    if compact is None or compact == body:
        return False
    return _any_equal((_hmac_hex(secret, compact) for secret in secrets), signature)


def check_standard_webhooks(secrets: Sequence[bytes], header: str, headers: Headers, body: bytes, now: float) -> bool:
    """Standard Webhooks 1.0.0: `v1,` and base64 of HMAC-SHA256 over "id.timestamp.body"; several are separated by
    spaces.

    A time stamp more than STANDARD_WEBHOOKS_TOLERANCE_SECONDS away is refused. An id with a dot is refused too: the
    signature of a captured delivery would then fit another id, time stamp and body.
    """
    if not _signed_by_standard_webhooks(secrets, header, headers, now):
        return False
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode("utf-8", "surrogateescape") + body
    keys = [standard_key(secret.decode()) or b"" for secret in secrets]
    expected = [base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys if key]
    parts = headers[header].split(" ")
    given = [part[3:].encode("utf-8", "surrogateescape") for part in parts if part.startswith("v1,")]
    return any(_any_equal(expected, signature) for signature in given)


def _carries_the_secret(secrets: Sequence[bytes], header: str, headers: Headers, now: float) -> bool:
    return check_header(secrets, header, headers, b"", now)


def _signed_by_voucherify(_secrets: Sequence[bytes], header: str, headers: Headers, _now: float) -> bool:
    given = _single_header(headers, header)
    return given is not None and _SIGNATURE.fullmatch(given.strip()) is not None


def _signed_by_standard_webhooks(_secrets: Sequence[bytes], header: str, headers: Headers, now: float) -> bool:
    identifier, timestamp, signatures = (
        _single_header(headers, name) for name in ("webhook-id", "webhook-timestamp", header)
    )
    if not identifier or "." in identifier or timestamp is None or signatures is None:
        return False
    return (
        _TIMESTAMP.fullmatch(timestamp) is not None and abs(now - int(timestamp)) <= STANDARD_WEBHOOKS_TOLERANCE_SECONDS
    )


def _single_header(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, ())
    return values[0] if len(values) == 1 else None


def _any_equal(expected: Iterable[bytes], given: bytes) -> bool:
    """Compare with every expected value, so that the time taken does not reveal the one that is equal."""
    found = False
    for secret_or_signature in expected:
        found |= hmac.compare_digest(secret_or_signature, given)
    return found


def _hmac_hex(secret: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, body, hashlib.sha256).hex().encode()


Scheme = Callable[[Sequence[bytes], str, Headers, bytes, float], bool]
SCHEMES: Mapping[str, Scheme] = {
    "header": check_header,
    "voucherify": check_voucherify,
    "standard-webhooks": check_standard_webhooks,
}
HEADER_CHECKS: Mapping[str, Callable[[Sequence[bytes], str, Headers, float], bool]] = {
    "header": _carries_the_secret,
    "voucherify": _signed_by_voucherify,
    "standard-webhooks": _signed_by_standard_webhooks,
}
