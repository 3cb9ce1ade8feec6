"""What reads hostile bytes takes time in proportion to their length: measured by making them eight times as long."""

import re
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from ledger.decimals import parse_decimal
from ledger.errors import Unreadable
from ledger.events import Origin
from ledger.intake.identify import identify
from ledger.parsing import canonical_body, parse_json
from ledger.vendors.capillary import CAPILLARY
from ledger.vendors.capillary.envelope import as_id_or_none
from ledger.vendors.ends import as_end
from ledger.vendors.fields import POINTS_MAX, as_day, as_far_time, as_id, as_points, as_text, as_time
from ledger.vendors.repair_report import list_repairs
from service.importing.json_repair import repair_json
from service.statements.columns import parse_number

SHORT, LONG = 16_000, 128_000
TIMES_AT_MOST = 32  # linear is 8, quadratic 64
ALWAYS_FREE_SECONDS = (
    0.06  # a body nested too deep costs 0.03 at any size: the parser gives up after some thousand levels
)

UNITS = {
    "quotes": b'"',
    "escaped quotes": b'\\"',
    "backslashes": b"\\",
    "blanks": b" ",
    "line ends": b"\n",
    "brackets": b"[",
    "braces": b"{",
    "commas and blanks": b" , ",
    "digits": b"9",
    "points": b".",
    "exponents": b"1e",
    "signs": b"-",
    "no-break spaces": b"\xc2\xa0",
    "blanks before quotes": b' "',
    "pairs": b'"a":',
    "escapes of a colon": b"\\u003a",
    "comments": b"//",
}
FRAMES: dict[str, tuple[bytes, bytes]] = {
    "alone": (b"", b""),
    "as a text": (b'{"a": "', b'"}'),
    "as a text that does not end": (b'{"a": "', b""),
    "as a key": (b'{"', b'": 1}'),
    "in a list": (b"[", b"]"),
    "in an event": (b'{"eventName": "pointsIssued", "data": {"customerIdentifiers": {"customerId": "', b'"}}}'),
}


def seconds(function: Callable[[], object]) -> float:
    """Give the least of several measurements of the processor's time."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        function()
        taken.append(time.process_time() - begun)
    return min(taken)


def assert_linear(
    function: Callable[[bytes], object], body: Callable[[int], bytes], sizes: tuple[int, int] = (SHORT, LONG)
) -> None:
    short, long = map(body, sizes)
    taken = seconds(lambda: function(long))
    if taken > ALWAYS_FREE_SECONDS:
        assert taken < TIMES_AT_MOST * max(seconds(lambda: function(short)), ALWAYS_FREE_SECONDS / TIMES_AT_MOST)


def read_or_not(body: bytes) -> None:
    with suppress(Unreadable):
        parse_json(body)


def named(body: bytes) -> None:
    identify(Origin("ledger", "connection", "capillary", None, b"mask"), body)


def test_the_measure_sees_a_pattern_that_is_not_linear() -> None:
    with pytest.raises(AssertionError):
        assert_linear(re.compile(rb"[0-9]+x").search, lambda size: b"9" * size, (4_000, 32_000))


READERS: dict[str, Callable[[bytes], object]] = {
    "reading": read_or_not,
    "naming": named,
    "known by its bytes": canonical_body,
    "repairs": lambda body: list_repairs(CAPILLARY, "pointsIssued", body),
    "mending": repair_json,
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS.keys())
def test_a_body_is_read_in_linear_time(unit: bytes) -> None:
    for head, tail in FRAMES.values():
        for function in READERS.values():
            assert_linear(function, lambda size: head + unit * (size // len(unit)) + tail)  # noqa: B023


def refused(function: Callable[[str], object]) -> Callable[[bytes], object]:
    def read_it(body: bytes) -> None:
        with suppress(ValueError):
            function(body.decode("utf-8", "replace"))

    return read_it


VALUES: dict[str, Callable[[str], object]] = {
    "points": as_points,
    "id": as_id,
    "id or none": as_id_or_none,
    "time": as_time,
    "far time": as_far_time,
    "day": as_day,
    "end": as_end,
    "text": as_text,
    "number of a statement": parse_number,
    "decimal": lambda text: parse_decimal(text, largest=POINTS_MAX, places=6),
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS.keys())
def test_a_value_is_read_in_linear_time(unit: bytes) -> None:
    for function in VALUES.values():
        assert_linear(refused(function), lambda size: unit * (size // len(unit)) + b"x")
