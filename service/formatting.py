"""Format values for answers and files: JSON with exact points, and cursors of lists.

Points are JSON strings in plain notation without trailing zeros. Times are ISO 8601 in UTC. Lists are {"items": [...],
"next": cursor or null}.

orjson encodes answers, because it asks this file how to write a decimal, and takes parts that are JSON already. It also
decodes requests, because it refuses deep nesting with an error. msgspec decodes stored JSON.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import orjson

from ledger import errors
from ledger.decimals import format_decimal
from ledger.errors import Unreadable
from ledger.parsing import parse_json as read_document
from ledger.parsing import without_byte_order_mark

T = TypeVar("T")

JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE


def encode_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return orjson.dumps(value, default=_encode_other, option=JSON_OPTIONS)


def format_time(value: datetime) -> str:
    """Return a time as every answer writes it: RFC 3339 in UTC, with Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _encode_other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)


def encode_cursor(*key: str | int) -> str:
    """Return the last key of a page as an opaque cursor."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def cut_page(
    rows: Sequence[T], limit: int, key: Callable[[T], tuple[str | int, ...]]
) -> tuple[Sequence[T], str | None]:
    """Return the first `limit` rows, and the cursor of the next page. It is None if no row follows.

    The caller reads one row more than `limit`. So no page is empty.
    """
    return rows[:limit], encode_cursor(*key(rows[limit - 1])) if len(rows) > limit else None


def decode_cursor(text: str | None, *kinds: type) -> list[Any] | None:
    """Return the key in a cursor, or None without a cursor. `kinds` are the types of its parts; without them, the
    caller checks.

    Raises RequestInvalid for anything that `encode_cursor` did not make.
    """
    if text is None:
        return None
    try:
        key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise invalid_cursor() from None
    if not isinstance(key, list) or (kinds and tuple(map(type, key)) != kinds):
        raise invalid_cursor()
    return key


def invalid_cursor() -> errors.RequestInvalid:
    """Return the error for a cursor that no answer contained."""
    return errors.RequestInvalid("`cursor` must be the `next` of an earlier answer")


def payload_json(payload: bytes) -> Any:
    """Return a payload as JSON, unchanged, or as text if it is not JSON. Numbers may have any size."""
    try:
        read_document(payload)
    except Unreadable:
        return payload.decode("utf-8", "replace")
    return orjson.Fragment(without_byte_order_mark(payload))
