"""Read Capillary's words, which copying broke in places: "DELIV ERED", " SUSPENDED" (domain §1.2)."""

from collections.abc import Set
from typing import Any

from pydantic import BeforeValidator

from ledger.vendors.fields import as_text, squeeze

# A structure that may be missing or null, read as one that says nothing.
EmptyIfNull = BeforeValidator(lambda value: {} if value is None else value)


def enum_value(value: Any, known: Set[str]) -> str | None:
    """Give the known word, in capitals, that stands there whatever its case and blanks; None for nothing.

    A word that is not known is somebody's label: it is only trimmed, for its inner blanks may be meant.
    """
    text = as_text(value)
    if text is None:
        return None
    sound = squeeze(text).upper()
    return sound if sound in known else text
