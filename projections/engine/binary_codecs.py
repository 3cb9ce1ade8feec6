"""Encode and decode numeric and timestamptz in PostgreSQL's binary formats, to write rows faster than the driver does.

A row with 7 decimals and 3 times is encoded in 4.0 µs instead of 14.5 µs. A rebuild from facts takes a fifth less CPU
time, and an advance a tenth less. Only connections that write rows use these codecs: to decode a decimal takes longer.
Most columns are decimals and times, and the same few values repeat. So encoded decimals are cached.
"""

import struct
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger.database import Connection

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CACHED_MAX = 100_000
NEGATIVE = 0x4000
_HEADER = struct.Struct(">hhHH")  # number of groups, weight of the first group, sign, number of digits after the point

_encoded: dict[str, bytes] = {}  # by text, because 4 and 4.000 are equal but have different encodings


async def register_binary_codecs(connection: Connection) -> None:
    """Make a connection use these codecs."""
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=encode_numeric, decoder=decode_numeric, format="binary"
    )
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=encode_time, decoder=decode_time, format="tuple"
    )


def encode_time(time: datetime) -> tuple[int]:
    return ((time - EPOCH) // MICROSECOND,)


def decode_time(microseconds: tuple[int]) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds[0])


def encode_numeric(value: Decimal) -> bytes:
    """Encode a finite decimal as groups of four digits."""
    text = str(value)
    encoded = _encoded.get(text)
    if encoded is None:
        if len(_encoded) >= CACHED_MAX:
            _encoded.clear()
        encoded = _encoded[text] = _encode(value)
    return encoded


def _encode(value: Decimal) -> bytes:
    whole, _, fraction = f"{value:f}".lstrip("-").partition(".")
    digits = whole.rjust(-(-len(whole) // 4) * 4, "0") + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int(digits[at : at + 4]) for at in range(0, len(digits), 4)]
    weight = -(-len(whole) // 4) - 1
    while groups and groups[0] == 0:
        del groups[0]
        weight -= 1
    while groups and groups[-1] == 0:
        del groups[-1]
    sign = NEGATIVE if value < 0 else 0
    header = _HEADER.pack(len(groups), weight if groups else 0, sign, len(fraction))
    return header + struct.pack(f">{len(groups)}h", *groups)


def decode_numeric(encoded: bytes) -> Decimal:
    """Decode a finite decimal, with its scale."""
    count, weight, sign, scale = _HEADER.unpack_from(encoded)
    groups = struct.unpack_from(f">{count}h", encoded, _HEADER.size)
    number = 0
    for group in groups:
        number = number * 10_000 + group
    exponent = 4 * (weight - count + 1)  # of the last group
    number = number * 10 ** (exponent + scale) if exponent + scale >= 0 else number // 10 ** -(exponent + scale)
    return Decimal(f"{'-' if sign == NEGATIVE else ''}{number}E-{scale}")  # exact for any number of digits
