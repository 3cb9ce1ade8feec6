"""Secrets of connections: which rules each scheme has, checked when a secret is made and not when a delivery fails.

A wrong secret refuses every delivery of a vendor, and an empty one accepts every forger's. So both are refused here,
in a sentence that never holds the secret itself.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ledger.errors import RequestInvalid

STANDARD_WEBHOOKS_PREFIX = "whsec_"
STANDARD_WEBHOOKS_KEY_BYTES = (24, 64)  # fewest and most, as the specification says
KEY_BYTES_MADE = 32
SECRET_CHARACTERS_MIN = 8
SECRET_CHARACTERS_ADVISED = 16  # what is shorter is taken with a warning: a vendor may have chosen it
SECRET_CHARACTERS_MAX = 1_000

# Headers that HTTP, proxies or another part of a scheme give a meaning of their own.
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
    """How one way of authentication treats its secret and its header."""

    check: Callable[[str], None]
    make: Callable[[], str] | None  # None if the vendor makes the secret, and the operator copies it
    header: str | None  # None if the operator chooses the header


def check_static(secret: str) -> None:
    """Check a secret that a header carries, or that signs as it is. Raises RequestInvalid."""
    if not secret.strip():
        raise RequestInvalid("the secret is empty; leave it out to have one made, or give the vendor's")
    if not _VISIBLE.fullmatch(secret):
        raise RequestInvalid(
            "the secret may hold visible ASCII characters, and blanks inside; no line end, tab or blank at its edges"
        )
    if secret[0] == secret[-1] and secret[0] in "\"'":
        raise RequestInvalid("the secret stands in quotation marks; give it without them")
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
    """Make a secret of KEY_BYTES_MADE random bytes, in characters that every header and form takes."""
    return secrets.token_urlsafe(KEY_BYTES_MADE)


def make_standard() -> str:
    """Make a secret as the published libraries of Standard Webhooks read it."""
    return STANDARD_WEBHOOKS_PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES_MADE)).decode()


def standard_key(secret: str) -> bytes | None:
    """Return the bytes that sign under a secret of Standard Webhooks; None if it is not a secret of that standard.

    The spellings that the published libraries read alike are accepted: with or without `whsec_`, and with or without
    padding. What they read differently, such as base64 for URLs, is not.
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
    """Return a secret as it is stored. Raises RequestInvalid if no delivery, or any, could be authenticated with it."""
    SCHEMES[scheme].check(secret)
    return secret.encode()


def is_usable(scheme: str, secret: bytes) -> bool:
    """Return True if a delivery can be authenticated with a secret that is stored.

    Secrets stored by earlier versions were not checked: one that is only short goes on to be accepted.
    """
    return bool(secret) and (
        scheme != "standard-webhooks" or standard_key(secret.decode("utf-8", "replace")) is not None
    )


def make_secret(scheme: str) -> str:
    """Make a secret for a scheme. Raises RequestInvalid if the vendor makes it."""
    make = SCHEMES[scheme].make
    if make is None:
        raise RequestInvalid(
            f"the scheme {scheme} needs `--secret-file` or `--secret`: the vendor makes the secret and shows it in its"
            " settings; copy it from there"
        )
    return make()


def check_header(scheme: str, header: str | None, usual: str) -> str:
    """Return the name of the header that carries the secret or the signature; the usual one if none is given.

    Raises RequestInvalid if the scheme sets the name, or if no header may be called so.
    """
    fixed = SCHEMES[scheme].header
    if fixed is not None:
        if header is not None and header.lower() != fixed:
            raise RequestInvalid(f"the scheme {scheme} sends its signature in the header {fixed}; leave out `--header`")
        return fixed
    name = usual if header is None else header
    if not _HEADER.fullmatch(name):
        raise RequestInvalid(f"not a header's name: {name!r}")
    if name.lower() in RESERVED_HEADERS:
        raise RequestInvalid(f"the header {name} has another meaning; choose one of your own, such as {usual}")
    return name


SCHEMES: Mapping[str, Scheme] = {
    "header": Scheme(check_static, make_static, header=None),
    "voucherify": Scheme(check_static, make=None, header="x-voucherify-signature"),
    "standard-webhooks": Scheme(check_standard, make_standard, header="webhook-signature"),
}
