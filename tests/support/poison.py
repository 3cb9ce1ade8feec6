"""Bodies made to break a parser, each with the reason for which it is quarantined."""

from collections.abc import Iterator

from ledger.parsing import BODY_BYTES_MAX, DEPTH_MAX, VALUES_MAX

NOT_JSON = "not JSON"
NOT_UTF8 = "not UTF-8"
REPEATED = "a repeated key"
TOO_DEEP = "nested too deeply"
TOO_MANY = "too many values"
NUL = "a NUL character"


def lists(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def structures(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def filled(head: bytes, unit: bytes, tail: bytes) -> bytes:
    """Repeat a unit until the body is as large as a delivery may be."""
    return head + unit * ((BODY_BYTES_MAX - len(head) - len(tail)) // len(unit)) + tail


SMALL: dict[str, tuple[bytes, str]] = {
    "a word": (b"pointsIssued", NOT_JSON),
    "half a word": (b"nul", NOT_JSON),
    "a form": (b"eventName=pointsIssued&points=60", NOT_JSON),
    "XML": (b"<event><points>60</points></event>", NOT_JSON),
    "cut off": (b'{"eventName": "pointsIssued", "data": {"poi', NOT_JSON),
    "two documents": (b'{"a": 1}{"b": 2}', NOT_JSON),
    "a document and a NUL": (b"{}\x00", NOT_JSON),
    "a trailing comma": (b'{"a": 1,}', NOT_JSON),
    "single quotes": (b"{'a': 1}", NOT_JSON),
    "keys without quotes": (b"{a: 1}", NOT_JSON),
    "a comment": (b'{"a": 1} // one', NOT_JSON),
    "markdown escapes": (rb'{"events": \[ \]}', NOT_JSON),
    "no opening brace": (b'"a": 1}', NOT_JSON),
    "two byte order marks": (b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}', NOT_JSON),
    "a byte order mark inside": (b'{"a":\xef\xbb\xbf1}', NOT_JSON),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), NOT_JSON),
    "Latin-1": ('{"name": "José"}'.encode("latin-1"), NOT_UTF8),
    "an overlong spelling": (b'{"a": "\xc0\xaf"}', NOT_UTF8),
    "a lone surrogate in bytes": (b'{"a": "\xed\xa0\x80"}', NOT_UTF8),
    "a lone high surrogate": (rb'{"a": "\ud800"}', NOT_JSON),
    "a lone low surrogate": (rb'{"a": "\udc00x"}', NOT_JSON),
    "a lone surrogate as a key": (rb'{"\ud800": 1}', NOT_JSON),
    "two high surrogates": (rb'{"a": "\ud83d\ud83d"}', NOT_JSON),
    "a raw NUL": (b'{"a": "x\x00y"}', NOT_JSON),
    "an escaped NUL": (rb'{"a": ["x\u0000y"]}', NUL),
    "a NUL as a key": (rb'{"a": [{"\u0000": 1}]}', NUL),
    "a raw line break in a string": (b'{"a": "x\ny"}', NOT_JSON),
    "a raw control character": (b'{"a": "\x01"}', NOT_JSON),
    "an unknown escape": (rb'{"a": "\x41"}', NOT_JSON),
    "a key twice": (b'{"points": 1, "points": 2}', REPEATED),
    "a key twice with one value": (b'{"points": 1, "points": 1}', REPEATED),
    "a key twice, deep inside": (b'{"a": [{"b": {"points": 1, "c": 2, "points": 3}}]}', REPEATED),
    "a key twice, once in escapes": (rb'{"points": 1, "p\u006fints": 2}', REPEATED),
    "a key twice, blanks before the colon": (b'{"points" : 1, "points"\n\t:2}', REPEATED),
    "a key twice beside a string like a key": (rb'{"a": "\"points\":", "points": 1, "points": 2}', REPEATED),
    "a key twice beside an escaped colon": (rb'{"a": "\u003a\u003A", "points": 1, "points": 2}', REPEATED),
    "an empty key twice": (b'{"": 1, "": 2}', REPEATED),
    "65 lists": (lists(DEPTH_MAX + 1), TOO_DEEP),
    "65 structures": (structures(DEPTH_MAX + 1), TOO_DEEP),
    "a hundred lists in a structure": (b'{"a": %b}' % lists(100), TOO_DEEP),
    "NaN": (b'{"points": NaN}', NOT_JSON),
    "Infinity": (b'{"points": Infinity}', NOT_JSON),
    "-Infinity": (b'{"points": -Infinity}', NOT_JSON),
    "a leading zero": (b'{"points": 060}', NOT_JSON),
    "a hexadecimal number": (b'{"points": 0x3c}', NOT_JSON),
}

# Built when they are asked for: each is as large as a delivery may be, or nearly.
LARGE: dict[str, tuple[bytes, bytes, bytes, str]] = {
    "NULs": (b"", b"\x00", b"", NOT_JSON),
    "bytes that are no text": (b'"', b"\xff", b'"', NOT_UTF8),
    "quotes": (b"", b'"', b"", NOT_JSON),
    "a string that does not end": (b'"', b"x", b"", NOT_JSON),
    "escapes that do not end": (b'"', b'\\"', b"", NOT_JSON),
    "a string of blanks": (b'["', b" ", b'"', NOT_JSON),
    "escaped NULs": (b'"', rb"\u0000", b'"', NUL),
    "a key many times": (b'{"points":1', b',"points":2', b"}", TOO_MANY),
    "a long key twice": (b'{"points":1,"points":"', b"x", b'"}', REPEATED),
    "colons in a string beside a key twice": (b'{"a":1,"a":"', b":", b'"}', REPEATED),
    "escaped colons beside a key twice": (b'{"a":1,"a":"', rb"\u003a", b'"}', REPEATED),
    "escaped quotes beside a key twice": (rb'{"a":"\u003a","a":"', b'\\"', b'"}', REPEATED),
    "commas": (b"", b",", b"", TOO_MANY),
    "numbers": (b"[0", b",1", b"]", TOO_MANY),
    "fractions": (b"[0", b",1.5", b"]", TOO_MANY),
    "empty lists": (b"[[]", b",[]", b"]", TOO_MANY),
    "empty structures": (b"[{}", b",{}", b"]", TOO_MANY),
    "personal values": (b'[{"zip":1}', b',{"zip":1}', b"]", TOO_MANY),
    "lists in lists that do not end": (b"", b"[", b"", TOO_MANY),
    "structures in structures that do not end": (b"", b'{"a":', b"", TOO_MANY),
}


def poison() -> Iterator[tuple[str, bytes, str]]:
    """Yield every body with its name and the reason why it cannot be parsed."""
    for name, (body, reason) in SMALL.items():
        yield name, body, reason
    for name, (head, unit, tail, reason) in LARGE.items():
        yield f"1 MiB: {name}", filled(head, unit, tail), reason
    yield "100,000 lists", lists(100_000), TOO_MANY
    yield "500,000 lists", lists(500_000), TOO_MANY
    yield "100,000 structures", structures(100_000), TOO_MANY
    yield "60,001 values", b"[" + b"1," * VALUES_MAX + b"1]", TOO_MANY
