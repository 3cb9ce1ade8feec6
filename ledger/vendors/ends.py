"""The end of a coupon or reward, as vendors state it: a time, or a day without a time."""

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.vendors.fields import as_day, as_far_time, squeeze

DAY_CHARACTERS = 10  # "2026-01-31"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def as_end(value: Any) -> datetime | date | None:
    """Parse a time, or a day if the value has no time. None if it is missing, unreadable or out of range."""
    if type(value) is str and len(value) <= 2 * DAY_CHARACTERS:
        text = squeeze(value)
        if _DAY.fullmatch(text):
            return as_day(text)
    return as_far_time(value)


End = Annotated[datetime | date | None, BeforeValidator(as_end)]


def end_fields(end: datetime | date | None) -> dict[str, Any]:
    """Return the end as fields of a fact: `valid_until` for a time, `valid_through` for a day."""
    if end is None:
        return {}
    return {"valid_until": end} if isinstance(end, datetime) else {"valid_through": end}
