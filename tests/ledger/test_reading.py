"""A body is read exactly, or it is said why not: every limit from both sides, every bomb we could think of."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.errors import Unreadable
from ledger.intake.identify import UNREADABLE
from ledger.parsing import (
    BODY_BYTES_MAX,
    DEPTH_MAX,
    NUMBER_CHARACTERS_MAX,
    STORED_BYTES_MAX,
    VALUES_MAX,
    parse_json,
    reparse_json,
)
from ledger.vendors import VENDORS
from tests.support.interpretation import deliver
from tests.support.payloads import delivery, samples
from tests.support.poison import TOO_MANY, filled, lists, poison, structures

POISON = list(poison())


def reason(body: bytes) -> str:
    with pytest.raises(Unreadable) as refused:
        parse_json(body)
    return str(refused.value.args[0])


@pytest.mark.parametrize(("body", "why"), [(body, why) for _, body, why in POISON], ids=[name for name, _, _ in POISON])
def test_what_cannot_be_read_is_told_by_its_reason(body: bytes, why: str) -> None:
    assert reason(body) == why


@pytest.mark.parametrize(("body", "why"), [(body, why) for _, body, why in POISON], ids=[name for name, _, _ in POISON])
def test_what_cannot_be_read_is_one_event_in_quarantine(body: bytes, why: str) -> None:
    (delivered,) = deliver("capillary", body)

    assert delivered.draft.kind == UNREADABLE
    assert (delivered.meaning.facts, delivered.meaning.status, delivered.meaning.reason) == ((), "quarantined", why)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("60", 60),
        ("60.0", 60),
        ("60.00", 60),
        ("1e5", 100_000),
        ("1E+5", 100_000),
        ("1.657437873E12", 1_657_437_873_000),
        ("379499720.0", 379_499_720),
        ("0.269", Decimal("0.269")),
        ("1023.002", Decimal("1023.002")),
        ("-0.10", Decimal("-0.10")),
        ("-0", 0),
        ("-0.0", 0),
        ("0E+1000000", 0),
        ("9007199254740993", 2**53 + 1),
        ("9223372036854775808", 2**63),
        ("-9223372036854775809", -(2**63) - 1),
        ("18446744073709551616", 2**64),
        ("1e18", 10**18),
        ("1e-18", Decimal("1e-18")),
        ("9" * NUMBER_CHARACTERS_MAX, 10**NUMBER_CHARACTERS_MAX - 1),
        ("0." + "9" * (NUMBER_CHARACTERS_MAX - 2), Decimal("0." + "9" * (NUMBER_CHARACTERS_MAX - 2))),
    ],
)
def test_a_number_is_read_exactly_and_a_whole_one_as_a_whole_one(text: str, number: int | Decimal) -> None:
    (value,) = parse_json(f"[{text}]".encode()).value

    assert (value, type(value)) == (number, type(number))


@pytest.mark.parametrize("levels", [1, DEPTH_MAX - 1, DEPTH_MAX])
def test_structures_may_stand_64_deep(levels: int) -> None:
    parse_json(lists(levels))
    parse_json(structures(levels))


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (rb'{"a": "x\":", "b": "\"b\":"}', {"a": 'x":', "b": '"b":'}),
        (rb'{"a": "\u003a", "b:": ":"}', {"a": ":", "b:": ":"}),
        (b'{"a": {"b": 1}, "c": {"b": 1}}', {"a": {"b": 1}, "c": {"b": 1}}),
        (b'{"a": 1, "A": 2, "a ": 3, "": 4}', {"a": 1, "A": 2, "a ": 3, "": 4}),
        (rb'"\\u0000"', r"\u0000"),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (b'"\x7f"', "\x7f"),
        (b"null", None),
        (b" [ ] ", []),
    ],
)
def test_what_only_looks_like_damage_is_read(body: bytes, document: Any) -> None:
    assert parse_json(body).value == document


def test_a_text_may_hold_any_number_of_commas_and_brackets() -> None:
    body = filled(b'["', rb"[\",{", b'"]')

    assert body.count(b",") > VALUES_MAX
    assert parse_json(body).value[0].startswith('[",{')


def test_as_many_values_are_read_as_the_limit_allows() -> None:
    assert len(parse_json(b"[" + b"1," * (VALUES_MAX - 1) + b"1]").value) == VALUES_MAX
    assert reason(b"[" + b"1," * VALUES_MAX + b"1]") == TOO_MANY


@pytest.mark.parametrize(
    ("key", "may_hold_blank"),
    [
        (b"points", False),
        (b"po ints", True),
        (b" ", True),
        (rb"po\u0020ints", True),
        (rb"po ints\u0009", True),
        ("po\N{NO-BREAK SPACE}ints".encode(), True),
    ],
)
@pytest.mark.parametrize("gap", [b"", b" ", b"\n\t"])
def test_a_blank_in_a_key_is_noticed_however_it_is_spelt(key: bytes, gap: bytes, may_hold_blank: bool) -> None:
    document = parse_json(b'{"a": "b c", "%b"%b: [1, 2]}' % (key, gap))

    assert document.may_have_blank_in_key is may_hold_blank


@pytest.mark.parametrize("source", VENDORS)
def test_what_is_stored_is_read_again_as_it_was_read_when_it_came(source: str) -> None:
    for body in samples(source):
        stored = delivery(body, source).payload

        assert reparse_json(stored).value == parse_json(stored).value
        assert reparse_json(stored).may_have_blank_in_key == parse_json(stored).may_have_blank_in_key


def test_an_event_is_read_although_markers_made_it_longer_than_a_delivery_may_be() -> None:
    head = b'{"eventName": "unheardOf", "data": {"customFields": {"a0": 1'
    fields = b"".join(b',"a%d":1' % n for n in range(1, 50_000))
    body = head + fields + b'},"x": "' + b"x" * (BODY_BYTES_MAX - len(head + fields) - 11) + b'"}}'

    (delivered,) = deliver("capillary", body)

    assert len(body) == BODY_BYTES_MAX < BODY_BYTES_MAX + 11 * 50_000 < STORED_BYTES_MAX
    assert (delivered.meaning.status, delivered.meaning.reason) == ("unrecognised", "a kind that we do not know")


def test_what_is_longer_than_anything_stored_is_not_read() -> None:
    assert reason(b" " * (STORED_BYTES_MAX + 1)) == "too large"


NINES = "9" * 50
LONG = ("1e19", "1e999", "1e-999", "1e131071", "1E+1000000", "1e99999999999999999999", "0e99999999999999999999")


@pytest.mark.parametrize("number", [*LONG, "9" * 41, "-" + "9" * 41, "1." + "9" * 40, "9" * 5_000, "9" * 1_000_000])
def test_a_number_too_large_for_anything_is_read_as_its_text(number: str) -> None:
    body = b'{"points": %b, "also": [-12, 0.5, "%b"]}' % (number.encode(), number.encode())

    assert parse_json(body).value == {"points": number, "also": [-12, Decimal("0.5"), number]}
    assert reparse_json(body).value == parse_json(body).value


@pytest.mark.parametrize(
    "number", ["0" * 50, "-0" + "1" * 50, "+" + "9" * 50, "." + "9" * 50, "--" + "9" * 50, "9" * 50 + "x"]
)
def test_what_is_no_number_stays_none_however_long(number: str) -> None:
    assert reason(b"[%b]" % number.encode()) == "not JSON"
