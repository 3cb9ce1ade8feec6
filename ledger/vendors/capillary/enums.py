"""Parsing of Capillary's enumeration values, which copying damaged: "DELIV ERED", " SUSPENDED" (domain §1.2)."""

from collections.abc import Set
from typing import Any

from pydantic import BeforeValidator

from ledger.vendors.fields import as_text, squeeze

# For a structure that may be missing or null. It is then read as an empty structure.
EmptyIfNull = BeforeValidator(lambda value: {} if value is None else value)


def enum_value(value: Any, known: Set[str]) -> str | None:
    """Return the known value in capitals, without regard to case and blanks. None if there is no text.

    An unknown value is a brand's label. It is only trimmed, because its inner blanks may be intended.
    """
    text = as_text(value)
    if text is None:
        return None
    normalized = squeeze(text).upper()
    return normalized if normalized in known else text
