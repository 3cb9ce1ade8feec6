"""Personal values are cut out of the text, and the pieces put back give the delivered bytes exactly."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.personal import MARKED, Cut, cut, cut_unreadable, restore
from ledger.reading import read
from ledger.searching import FORMS_REMEMBERED_MAX, memory_of
from ledger.vendors.personal import GENERAL, UNKNOWN, Personal, nobody

PERSONAL = Personal(
    {**GENERAL, "value": frozenset({"customFields"}), "na me": frozenset()},
    lambda _key, structure: str(structure["customerId"]) if "customerId" in structure else None,
    told_by=frozenset({"customerId"}),
)
KEYS = st.sampled_from(
    ["email", "mobile", "address", "value", "customFields", "other", "customerId", "a b", "", 'q"q', "ü"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.text(max_size=8).filter(lambda text: "\x00" not in text),
    st.sampled_from(["[email protected]", "<personal>", '"email":"x"', "\\", " "]),
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)


def cut_of(body: bytes) -> Cut:
    return cut(body, read(body), PERSONAL)


def pieces_of(of: Cut) -> list[Any]:
    return [piece for pieces in of.pieces.values() for piece in pieces]


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Write an arbitrary document in an arbitrary way: any white space, any escapes."""
    spacing = st.sampled_from(["", "", " ", "\n\t"])

    def write(value: Any) -> str:
        gap = draw(spacing)
        match value:
            case dict():
                pairs = [
                    f"{gap}{write_text(key)}{draw(spacing)}:{draw(spacing)}{write(child)}"
                    for key, child in value.items()
                ]
                return "{" + ",".join(pairs) + gap + "}"
            case list():
                return "[" + gap + ",".join(write(child) for child in value) + "]"
            case str():
                return write_text(value)
            case _:
                return json.dumps(value)

    def write_text(text: str) -> str:
        escaped = draw(st.integers(0, 3)) == 0
        return '"' + "".join(write_letter(letter, escaped=escaped) for letter in text) + '"'

    def write_letter(letter: str, *, escaped: bool) -> str:
        if escaped and ord(letter) < 0x10000:
            return f"\\u{ord(letter):04x}"
        return json.dumps(letter, ensure_ascii=False)[1:-1]

    return (draw(spacing) + write(draw(DOCUMENTS)) + draw(spacing)).encode("utf-8", "surrogatepass")


def readable(body: bytes) -> bool:
    try:
        read(body)
    except Exception:
        return False
    return True


@given(body=texts().filter(readable))
def test_the_pieces_put_back_give_the_delivered_bytes(body: bytes) -> None:
    of = cut_of(body)

    assert restore(of.payload, pieces_of(of)) == body


@given(body=texts().filter(readable))
def test_what_is_left_is_the_document_with_markers(body: bytes) -> None:
    document = read(body)
    of = cut(body, document, PERSONAL)

    if isinstance(document.value, dict | list):
        assert read(of.payload).value == document.value
    assert all(json.loads(piece.value) == found.value for piece, found in in_order(of))


def in_order(of: Cut) -> list[tuple[Any, Any]]:
    pieces = sorted(pieces_of(of))
    return list(zip(pieces, of.found, strict=bool(of.found)))


@given(body=texts().filter(readable))
def test_what_is_remembered_of_other_documents_changes_nothing(body: bytes) -> None:
    unlearned = replace(PERSONAL)

    assert cut(body, read(body), unlearned) == cut_of(body)


def test_what_is_remembered_of_documents_with_ever_other_keys_is_bounded() -> None:
    memory = memory_of(PERSONAL)
    for start in range(0, 5 * FORMS_REMEMBERED_MAX, 1_000):
        cut_of(json.dumps([{f"k{start + n}": {}} for n in range(1_000)]).encode())

        assert memory.size <= FORMS_REMEMBERED_MAX + 3 * 1_000


def test_each_value_belongs_to_the_person_it_stands_with() -> None:
    body = (
        b'{"sender": {"customerId": "1", "email": "a@x"}, "receiver": {"customerId": "2", "email": "b@x"}, "dob": "3"}'
    )

    of = cut_of(body)

    values = {owner: [piece.value for piece in pieces] for owner, pieces in of.pieces.items()}
    assert values == {"1": [b'"a@x"'], "2": [b'"b@x"'], None: [b'"3"']}


def test_redacted_and_empty_values_are_no_values() -> None:
    body = b'{"email": "[email protected]", "mobile": "", "phone": null, "address": {}, "dob": " [email protected]"}'

    assert cut_of(body).payload == body


def test_a_key_is_personal_only_where_the_vendor_means_it() -> None:
    of = cut_of(b'{"customFields": [{"name": "n", "value": "secret"}], "value": "harmless"}')

    assert of.payload == b'{"customFields": [{"name": "n", "value": "<personal>"}], "value": "harmless"}'


def test_a_structure_under_a_personal_key_goes_whole() -> None:
    of = cut_of(b'{"address": {"city": "Apt 1A", "email": "x@y"}, "email": 7}')

    assert of.payload == b'{"address": "<personal>", "email": "<personal>"}'
    assert [found.value for found in of.found] == [{"city": "Apt 1A", "email": "x@y"}, 7]


def test_a_spoilt_key_hides_nothing() -> None:
    of = cut_of(b'{"mobi le": "918395082082", "em ail ": "x@y"}')

    assert of.payload == b'{"mobi le": "<personal>", "em ail ": "<personal>"}'


def test_a_key_in_escapes_hides_nothing() -> None:
    of = cut_of(rb'{"e\u006dail": "x@y", "mobile\u0020": "z", "mobile": null}')

    assert of.payload == rb'{"e\u006dail": "<personal>", "mobile\u0020": "<personal>", "mobile": null}'


def test_a_marker_in_the_delivered_text_stays_where_it_was() -> None:
    body = b'{"other": "<personal>", "email": "x@y"}'
    of = cut_of(body)

    assert of.payload == b'{"other": "<personal>", "email": "<personal>"}'
    assert restore(of.payload, pieces_of(of)) == body
    assert restore(of.payload, []) == of.payload


def test_an_unreadable_body_is_cut_out_whole() -> None:
    of = cut_unreadable(b"\xff not json", "not JSON")

    assert json.loads(of.payload) == {"unreadable": "not JSON", "body": MARKED}
    assert restore(of.payload, pieces_of(of)) == b"\xff not json"


def test_in_a_structure_that_others_fill_in_only_its_own_labels_are_kept() -> None:
    personal = Personal({}, nobody, told_by=frozenset(), free=frozenset({"customFields"}))
    body = b'{"customFields": [{"name": "nick", "value": {"name": "Ada", "type": "x"}}, {"name": "age", "value": [7]}]}'

    of = cut(body, read(body), personal)

    assert json.loads(of.payload) == {
        "customFields": [
            {"name": "nick", "value": {"name": MARKED, "type": MARKED}},
            {"name": "age", "value": MARKED},
        ]
    }


def test_a_spoilt_name_of_a_structure_hides_nothing() -> None:
    personal = Personal({"id": frozenset({"instore"})}, nobody, told_by=frozenset(), free=frozenset({"customFields"}))
    body = b'{"custom Fields": {"colour": "red"}, " instore": {"id": "7"}}'

    assert cut(body, read(body), personal).payload == (
        b'{"custom Fields": {"colour": "<personal>"}, " instore": {"id": "<personal>"}}'
    )


@pytest.mark.parametrize(
    "key",
    [
        *("mobileNo", "mobile_no", "mobile-no", "MOBILE_NO", "Mobile", "customerEmail", "customer_email", "eMail"),
        *("fullname", "FullName", "dateOfBirth", "DateOfBirth", "addressLine1", "postal_code", "contactNumber"),
    ],
)
def test_a_person_is_found_however_the_name_of_the_key_is_spelt(key: str) -> None:
    body = json.dumps({"data": {key: "secret", "points": 5}}).encode()

    assert json.loads(cut(body, read(body), UNKNOWN).payload) == {"data": {key: MARKED, "points": 5}}


def test_a_name_is_a_persons_where_it_stands_in_one() -> None:
    order = {"customer": {"name": "Ann"}, "items": [{"name": "Mug"}]}
    body = json.dumps({"order": order, "enteredBy": {"name": "Jo"}, "tier": {"name": "Gold"}}).encode()

    assert json.loads(cut(body, read(body), UNKNOWN).payload) == {
        "order": {"customer": {"name": MARKED}, "items": [{"name": "Mug"}]},
        "enteredBy": {"name": MARKED},
        "tier": {"name": "Gold"},
    }


def test_a_labelled_identifier_is_cut_where_its_label_names_a_person() -> None:
    body = b'{"identifiers":[{"key":"mobile","value":"555"},{"key":"billId","value":"B1"},{"value":"what"}]}'

    assert json.loads(cut(body, read(body), UNKNOWN).payload)["identifiers"] == [
        {"key": "mobile", "value": MARKED},
        {"key": "billId", "value": "B1"},
        {"value": MARKED},
    ]
