"""Undo the content coding of a delivered body: gzip, deflate or zstd.

No vendor documents that it compresses its webhooks. A proxy on the way may, and a vendor may begin to. To answer 415
would then lose the events of a vendor that never sends again after an error, and to store the bytes as they came would
leave a readable event unread for ever. So the coding is undone, within the limit of a body, and after authentication,
which is over the bytes as they were sent.
"""

import sys
import zlib
from collections.abc import Callable, Mapping, Sequence

from ledger.errors import CodingUnknown, DeliveryTooLarge

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

MEMBERS_MAX = 16  # of a gzip file; each costs a copy of what follows it
GZIP_WINDOW = 31  # of zlib: the largest window, and the header of gzip
ZLIB_WINDOW = 15
RAW_WINDOW = -15


class _Damaged(Exception):
    """The body is not in the coding that its header names."""


def decode_body(body: bytes, codings: Sequence[str], bytes_max: int) -> bytes:
    """Return a body without its content coding, given the values of its Content-Encoding headers.

    A body that is not in the coding named is returned as it is: the header may be what is wrong. Raises CodingUnknown
    for another coding or several, and DeliveryTooLarge beyond bytes_max.
    """
    named = [part.strip().lower() for one in codings for part in one.split(",")]
    names = [name for name in named if name not in ("", "identity")]
    if not names:
        return body
    if len(names) > 1 or names[0] not in CODINGS:
        raise CodingUnknown(f"one of {', '.join(CODINGS)}")
    try:
        return CODINGS[names[0]](body, bytes_max)
    except (_Damaged, zlib.error, ZstdError, EOFError):
        return body


def _gunzip(body: bytes, bytes_max: int) -> bytes:
    """Decode gzip, which may consist of several members, one after the other."""
    out = b""
    for _ in range(MEMBERS_MAX):
        if not body:
            return out
        member, body = _inflate(body, GZIP_WINDOW, bytes_max - len(out))
        out += member
    raise _Damaged


def _deflated(body: bytes, bytes_max: int) -> bytes:
    """Decode deflate, with the header of zlib as HTTP says, or without it as some senders do."""
    try:
        out, rest = _inflate(body, ZLIB_WINDOW, bytes_max)
    except zlib.error:
        out, rest = _inflate(body, RAW_WINDOW, bytes_max)
    if rest:
        raise _Damaged
    return out


def _inflate(body: bytes, window: int, bytes_max: int) -> tuple[bytes, bytes]:
    """Return what one compressed stream holds, and what follows it."""
    stream = zlib.decompressobj(window)
    out = stream.decompress(body, bytes_max + 1)
    if len(out) > bytes_max:
        raise DeliveryTooLarge(f"at most {bytes_max} bytes when decoded")
    if not stream.eof:
        raise _Damaged
    return out, stream.unused_data


def _unzstd(body: bytes, bytes_max: int) -> bytes:
    stream = ZstdDecompressor()
    out: bytes = stream.decompress(body, bytes_max + 1)
    if len(out) > bytes_max:
        raise DeliveryTooLarge(f"at most {bytes_max} bytes when decoded")
    if not stream.eof or stream.unused_data:
        raise _Damaged
    return out


CODINGS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflated,
    "zstd": _unzstd,
}
