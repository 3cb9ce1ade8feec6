"""Mend lines of an import that are not JSON, by named rules (domain §1.2); what comes in by the door is never mended.

History is often kept as somebody copied it: out of documents, logs and chats. The rules undo what that does to a text
outside its strings, and no more: the words of the vendor stay as they are. A text that they do not make JSON is left
alone, to be stored and quarantined as it is; so is one with comments, which is somebody's explanation, not a payload.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

TRAILING_COMMA = "trailing comma"  # {"a": 1,}
MARKDOWN_ESCAPE = "markdown escape"  # "events": \[ \]
MISSING_BRACE = "missing opening brace"  # "a": 1}

# A string, which is passed over, even if it does not end, or a place to mend.
_PLACE = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|(?P<comma>,)(?=[ \t\r\n]*+\\?[}\]])|\\(?P<bracket>[\[\]])', re.DOTALL
)


class RepairedJson(NamedTuple):
    """A text that is JSON now, and how many places each rule mended."""

    text: bytes
    places: Mapping[str, int]


def repair_json(text: bytes) -> RepairedJson | None:
    """Make a text JSON; None where it is JSON as it stands, and where these rules do not make it so."""
    if is_json(text):
        return None
    places: Counter[str] = Counter()

    def mend_place(match: re.Match[bytes]) -> bytes:
        if match["comma"]:
            places[TRAILING_COMMA] += 1
            return b""
        if match["bracket"]:
            places[MARKDOWN_ESCAPE] += 1
            return match["bracket"]
        return match[0]

    mended = _PLACE.sub(mend_place, text)
    if mended.rstrip().endswith(b"},"):  # an element that was taken out of an array
        places[TRAILING_COMMA] += 1
        mended = mended.rstrip()[:-1]
    if mended.lstrip().startswith(b'"') and is_json(b"{" + mended):
        places[MISSING_BRACE] += 1
        return RepairedJson(b"{" + mended, places)
    return RepairedJson(mended, places) if is_json(mended) else None


def is_json(text: bytes) -> bool:
    """Say whether a text is JSON at all, readable or not."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
