"""Parse query parameters: times, days, flags, whole numbers."""

from datetime import UTC, date, datetime

from ledger import errors

DAY_CHARACTERS = len("2026-03-31")


def parse_time(text: str | None, name: str) -> datetime | None:
    """Parse a time. It must have a zone. Raises RequestInvalid."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise errors.RequestInvalid(f"`{name}` must be an RFC 3339 time, such as 2026-03-31T23:59:59Z") from None
    if time.tzinfo is None:
        raise errors.RequestInvalid(f"`{name}` must have a time zone, such as Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise errors.RequestInvalid(f"`{name}` is out of range") from None


def parse_day(text: str | None, name: str) -> date | None:
    """Parse a day. Raises RequestInvalid."""
    if text is None:
        return None
    try:
        if len(text) != DAY_CHARACTERS:
            raise ValueError
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise errors.RequestInvalid(f"`{name}` must be a day, such as 2026-03-31") from None


def parse_flag(text: str | None, name: str) -> bool:
    """Parse true or false; the default is false. Raises RequestInvalid."""
    if text not in (None, "true", "false"):
        raise errors.RequestInvalid(f"`{name}` must be true or false")
    return text == "true"


def parse_int(text: str | None, name: str, *, least: int, most: int) -> int | None:
    """Parse a whole number. Raises RequestInvalid."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise errors.RequestInvalid(f"`{name}` must be a whole number from {least} to {most}")
    return int(text)
