"""Secrets of connections: the rules of each scheme, checked when a secret is set, not when a delivery fails.

With a wrong secret every delivery of the vendor is refused. With an empty one every forged delivery is accepted. So
both are refused here. The message never contains the secret.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ledger.errors import RequestInvalid

STANDARD_WEBHOOKS_PREFIX = "whsec_"
STANDARD_WEBHOOKS_KEY_BYTES = (24, 64)  # minimum and maximum of the specification
KEY_BYTES_MADE = 32
SECRET_CHARACTERS_MIN = 8
SECRET_CHARACTERS_ADVISED = 16  # a shorter secret gives a warning, because a vendor may have chosen it
SECRET_CHARACTERS_MAX = 1_000

# Headers with a meaning in HTTP, in proxies or in another part of a scheme.
RESERVED_HEADERS = frozenset(
    (
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection"),
        *("content-encoding", "content-length", "content-type", "date", "expect", "forwarded", "host", "keep-alive"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
        *("via", "webhook-id", "webhook-timestamp", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    )
)

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class Scheme(NamedTuple):
    """The rules of one authentication scheme for its secret and its header."""

    check: Callable[[str], None]
    make: Callable[[], str] | None  # None if the vendor generates the secret, and the operator copies it
    header: str | None  # None if the operator chooses the header


def check_static(secret: str) -> None:
    """Check a secret that is sent in a header, or used unchanged as the signing key. Raises RequestInvalid."""
    if not secret.strip():
        raise RequestInvalid("the secret is empty; omit it to have one generated, or give the vendor's")
    if not _VISIBLE.fullmatch(secret):
        raise RequestInvalid(
            "the secret may hold visible ASCII characters, and blanks inside; no line end, tab or blank at its edges"
        )
    if secret[0] == secret[-1] and secret[0] in "\"'":
        raise RequestInvalid("the secret is in quotation marks; give it without them")
    if not SECRET_CHARACTERS_MIN <= len(secret) <= SECRET_CHARACTERS_MAX:
        raise RequestInvalid(
            f"the secret must have {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX:,} characters;"
            f" {SECRET_CHARACTERS_ADVISED} or more are advised"
        )


def check_standard(secret: str) -> None:
    """Check a secret of Standard Webhooks. Raises RequestInvalid."""
    if standard_key(secret) is not None:
        return
    least, most = STANDARD_WEBHOOKS_KEY_BYTES
    hint = ""
    if secret.startswith("v1,"):
        hint = "; leave out `v1,`"
    elif secret.startswith(("whsk_", "whpk_")):
        hint = "; this one is for asymmetric signatures (v1a), which are not supported"
    elif secret != secret.strip() or secret[:1] in ("'", '"'):
        hint = "; leave out blanks, line ends and quotation marks"
    raise RequestInvalid(
        f"the secret must be {STANDARD_WEBHOOKS_PREFIX} and {least} to {most} bytes in standard base64,"
        f" or that base64 alone{hint}"
    )


def make_static() -> str:
    """Generate a secret of KEY_BYTES_MADE random bytes, in characters that every header and form accepts."""
    return secrets.token_urlsafe(KEY_BYTES_MADE)


def make_standard() -> str:
    """Generate a secret in the format of the published libraries of Standard Webhooks."""
    return STANDARD_WEBHOOKS_PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES_MADE)).decode()


def standard_key(secret: str) -> bytes | None:
    """Return the signing key of a Standard Webhooks secret; None if it is not a secret of that standard.

    Spellings that all published libraries read alike are accepted: with or without `whsec_`, with or without padding.
    Spellings that they read differently, such as URL-safe base64, are not.
    """
    text = secret.removeprefix(STANDARD_WEBHOOKS_PREFIX)
    bare = text.rstrip("=")
    if text not in (bare, bare + "=" * (-len(bare) % 4)):
        return None
    try:
        key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    least, most = STANDARD_WEBHOOKS_KEY_BYTES
    return key if least <= len(key) <= most else None


def check_secret(scheme: str, secret: str) -> bytes:
    """Return a secret as it is stored. Raises RequestInvalid if it could authenticate no delivery, or any delivery."""
    SCHEMES[scheme].check(secret)
    return secret.encode()


def is_usable(scheme: str, secret: bytes) -> bool:
    """Return True if a stored secret can authenticate a delivery.

    Earlier versions did not check secrets. A stored secret that is only too short is still accepted.
    """
    return bool(secret) and (
        scheme != "standard-webhooks" or standard_key(secret.decode("utf-8", "replace")) is not None
    )


def make_secret(scheme: str) -> str:
    """Generate a secret for a scheme. Raises RequestInvalid if the vendor generates it."""
    make = SCHEMES[scheme].make
    if make is None:
        raise RequestInvalid(
            f"the scheme {scheme} needs `--secret-file` or `--secret`: the vendor makes the secret and shows it in its"
            " settings; copy it from there"
        )
    return make()


def check_header(scheme: str, header: str | None, usual: str) -> str:
    """Return the name of the header with the secret or signature; `usual` if `header` is None.

    Raises RequestInvalid if the scheme fixes the name, or if the name cannot be used.
    """
    fixed = SCHEMES[scheme].header
    if fixed is not None:
        if header is not None and header.lower() != fixed:
            raise RequestInvalid(f"the scheme {scheme} sends its signature in the header {fixed}; leave out `--header`")
        return fixed
    name = usual if header is None else header
    if not _HEADER.fullmatch(name):
        raise RequestInvalid(f"not a valid header name: {name!r}")
    if name.lower() in RESERVED_HEADERS:
        raise RequestInvalid(f"the header {name} has another meaning; choose one of your own, such as {usual}")
    return name


SCHEMES: Mapping[str, Scheme] = {
    "header": Scheme(check_static, make_static, header=None),
    "voucherify": Scheme(check_static, make=None, header="x-voucherify-signature"),
    "standard-webhooks": Scheme(check_standard, make_standard, header="webhook-signature"),
}
