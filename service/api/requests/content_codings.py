"""Decode the content coding of a delivered body: gzip, deflate or zstd.

No vendor documents compressed webhooks. A proxy may compress, and a vendor may begin to. The two alternatives to
decoding would lose data:

- A 415 loses the events of a vendor that does not resend after an error.
- Storing the compressed bytes leaves a readable event uninterpreted for ever.

A decoded body has the same size limit. Decoding follows authentication, which covers the bytes as sent.
"""

import sys
import zlib
from collections.abc import Callable, Mapping, Sequence

from ledger.errors import CodingUnknown, DeliveryTooLarge

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

MEMBERS_MAX = 16  # of a gzip file; each copies the bytes after it
GZIP_WINDOW = 31  # for zlib: the largest window, and a gzip header
ZLIB_WINDOW = 15
RAW_WINDOW = -15


class _Damaged(Exception):
    """The body is not in the coding that its header names."""


def decode_body(body: bytes, codings: Sequence[str], bytes_max: int) -> bytes:
    """Return a body without its content coding. `codings` are the values of its Content-Encoding headers.

    A body that is not in the named coding is returned unchanged: the header may be wrong. Raises CodingUnknown for
    another coding or more than one, and DeliveryTooLarge beyond `bytes_max`.
    """
    named = [part.strip().lower() for value in codings for part in value.split(",")]
    names = [name for name in named if name not in ("", "identity")]
    if not names:
        return body
    if len(names) > 1 or names[0] not in CODINGS:
        raise CodingUnknown(f"one of {', '.join(CODINGS)}")
    try:
        return CODINGS[names[0]](body, bytes_max)
    except (_Damaged, zlib.error, ZstdError, EOFError):
        return body


def _decode_gzip(body: bytes, bytes_max: int) -> bytes:
    """Decode gzip, which may consist of several members in sequence."""
    decoded = b""
    for _ in range(MEMBERS_MAX):
        if not body:
            return decoded
        member, body = _decompress(body, GZIP_WINDOW, bytes_max - len(decoded))
        decoded += member
    raise _Damaged


def _decode_deflate(body: bytes, bytes_max: int) -> bytes:
    """Decode deflate: with a zlib header, as HTTP defines it, or without, as some senders do."""
    try:
        decoded, rest = _decompress(body, ZLIB_WINDOW, bytes_max)
    except zlib.error:
        decoded, rest = _decompress(body, RAW_WINDOW, bytes_max)
    if rest:
        raise _Damaged
    return decoded


def _decompress(body: bytes, window: int, bytes_max: int) -> tuple[bytes, bytes]:
    """Return the content of one compressed stream, and the bytes after it."""
    stream = zlib.decompressobj(window)
    decoded = stream.decompress(body, bytes_max + 1)
    if len(decoded) > bytes_max:
        raise DeliveryTooLarge(f"at most {bytes_max} bytes when decoded")
    if not stream.eof:
        raise _Damaged
    return decoded, stream.unused_data


def _decode_zstd(body: bytes, bytes_max: int) -> bytes:
    stream = ZstdDecompressor()
    decoded: bytes = stream.decompress(body, bytes_max + 1)
    if len(decoded) > bytes_max:
        raise DeliveryTooLarge(f"at most {bytes_max} bytes when decoded")
    if not stream.eof or stream.unused_data:
        raise _Damaged
    return decoded


CODINGS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _decode_gzip,
    "x-gzip": _decode_gzip,
    "deflate": _decode_deflate,
    "zstd": _decode_zstd,
}
