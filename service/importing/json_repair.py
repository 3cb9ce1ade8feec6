"""Repairs text of an import that is not JSON, by named rules (domain §1.2). Webhooks are never repaired.

History is often kept as copies from documents, logs and chats. The rules undo such damage outside strings, and nothing
else, so the vendor's values stay unchanged. A text that the rules do not turn into JSON is left alone, to be
quarantined as it is. So is a text with comments, which is an explanation and not a payload.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

TRAILING_COMMA = "trailing comma"  # {"a": 1,}
MARKDOWN_ESCAPE = "markdown escape"  # "events": \[ \]
MISSING_BRACE = "missing opening brace"  # "a": 1}

# Matches a string, even without an end, which is skipped, or a place to repair.
_PLACE = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|(?P<comma>,)(?=[ \t\r\n]*+\\?[}\]])|\\(?P<bracket>[\[\]])', re.DOTALL
)


class RepairedJson(NamedTuple):
    """A repaired text, and the number of repairs by rule."""

    text: bytes
    places: Mapping[str, int]


def repair_json(text: bytes) -> RepairedJson | None:
    """Repair a text. None if it is JSON already, or if the rules cannot make it JSON."""
    if is_json(text):
        return None
    places: Counter[str] = Counter()

    def repair_place(match: re.Match[bytes]) -> bytes:
        if match["comma"]:
            places[TRAILING_COMMA] += 1
            return b""
        if match["bracket"]:
            places[MARKDOWN_ESCAPE] += 1
            return match["bracket"]
        return match[0]

    repaired = _PLACE.sub(repair_place, text)
    if repaired.rstrip().endswith(b"},"):  # an element copied out of an array
        places[TRAILING_COMMA] += 1
        repaired = repaired.rstrip()[:-1]
    if repaired.lstrip().startswith(b'"') and is_json(b"{" + repaired):
        places[MISSING_BRACE] += 1
        return RepairedJson(b"{" + repaired, places)
    return RepairedJson(repaired, places) if is_json(repaired) else None


def is_json(text: bytes) -> bool:
    """Return True if a text is JSON. It may still be unreadable as a delivery."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
