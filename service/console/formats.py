"""Write points, times and other values for people."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
SHORT_CHARACTERS_MAX = 36
# How a state looks: good, bad, or in need of attention. Other states are neutral.
GOOD = ("completed", "fulfilled", "redeemed", "captured", "posted", "linked", "achieved", "active", "delivered")
BAD = ("failed", "due", "received-only", "rejected", "failing", "disabled")
TO_WATCH = ("cancelled", "expired", "initiated", "pending", "rolled_back", "partly_redeemed")
STATE_LOOKS = {**dict.fromkeys(GOOD, "good"), **dict.fromkeys(BAD, "bad"), **dict.fromkeys(TO_WATCH, "warn")}
TIME_AS_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
CAPITAL_INSIDE = re.compile(r"(?<!^)[A-Z]")


def format_points(points: Decimal | int | None) -> str:
    """Write points with a comma for thousands."""
    if points is None:
        return NOTHING
    text = format_decimal(abs(Decimal(points)))
    whole, dot, fraction = text.partition(".")
    return f"{MINUS if points < 0 else ''}{int(whole):,}{dot}{fraction}"


def format_signed(points: Decimal | None) -> str:
    """Write a change of points with its sign."""
    return f"+{format_points(points)}" if points is not None and points > 0 else format_points(points)


def format_time(time: datetime | None) -> str:
    """Write a time in UTC, to the second."""
    return NOTHING if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def format_day(day: date | None) -> str:
    """Write a day, such as 31 May 2024."""
    return NOTHING if day is None else f"{day.day} {day:%b %Y}"


def format_fact(kind: str) -> str:
    """Write the kind of a fact as words, such as "Transfer sent" for TransferSent."""
    return CAPITAL_INSIDE.sub(lambda letter: f" {letter[0].lower()}", kind)


def format_fact_value(value: Any) -> str:
    """Write a value of a fact. Facts hold times as text."""
    if isinstance(value, str) and TIME_AS_TEXT.fullmatch(value):
        return format_time(datetime.fromisoformat(value))
    return format_text(value)


def state_look(state: Any) -> str:
    """Return the class of a state's badge."""
    return STATE_LOOKS.get(str(state).lower(), "")


def shorten(text: str) -> str:
    """Return the beginning and the end of a long id."""
    return text if len(text) <= SHORT_CHARACTERS_MAX else f"{text[:14]}…{text[-12:]}"


def format_text(value: Any) -> str:
    """Write any value of a row as text."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return format_points(value)
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, date):
        return format_day(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {format_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(format_text(part) for part in value) or NOTHING
    return str(value)
