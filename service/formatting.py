"""How answers look: JSON with exact points, problem documents, cursors.

Points are JSON strings in plain notation without trailing zeros, everywhere; times are ISO 8601 in UTC; lists are
{"items": [...], "next": cursor or null}.
"""

import base64
from decimal import Decimal
from typing import Any

import orjson

from ledger import errors
from ledger.decimals import plain
from ledger.errors import Unreadable
from ledger.parsing import parse_json as read_document
from ledger.parsing import without_mark

JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


def encode_json(value: Any) -> bytes:
    """Write an answer as JSON."""
    return orjson.dumps(value, default=_encode_other, option=JSON_OPTIONS)


def _encode_other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)


def encode_cursor(*key: str | int) -> str:
    """Write the last key of a page as a cursor, which callers hand back as it is."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(text: str | None, *kinds: type) -> list[Any] | None:
    """Read a cursor back, whose parts are of these kinds, unless the caller looks at them itself. Raises
    RequestInvalid if it is not one of ours."""
    if text is None:
        return None
    try:
        key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise errors.RequestInvalid("cursor") from None
    if not isinstance(key, list) or (kinds and tuple(map(type, key)) != kinds):
        raise errors.RequestInvalid("cursor")
    return key


def payload_json(payload: bytes) -> Any:
    """Show a payload as it stands where it is JSON that we accept, numbers of any size included, else as text."""
    try:
        read_document(payload)
    except Unreadable:
        return payload.decode("utf-8", "replace")
    return orjson.Fragment(without_mark(payload))
