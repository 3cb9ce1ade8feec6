"""Personal values are cut out of the text, and the pieces put back give the delivered bytes exactly."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.intake.identify import pseudonym
from ledger.parsing import parse_json
from ledger.privacy.detection import CACHE_BYTES_MAX, form_cache_of
from ledger.privacy.redaction import RedactedBody, redact, redact_unreadable, restore_body
from ledger.vendors.personal_fields import COMMON_KEYS, UNKNOWN_VENDOR, PersonalFields, no_person
from ledger.vendors.personal_values import MARKER_TEXT, is_personal_value, may_hold_personal_value
from tests.support.payloads import SAMPLES

PERSONAL = PersonalFields(
    {**COMMON_KEYS, "value": frozenset({"customFields"}), "na me": frozenset()},
    lambda _key, structure: str(structure["customerId"]) if "customerId" in structure else None,
    person_keys=frozenset({"customerId"}),
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


def pseudonymise(kind: str, value: str) -> str:
    return pseudonym(b"mask", kind, value)


def cut_of(body: bytes) -> RedactedBody:
    return redact(body, parse_json(body), PERSONAL, pseudonymise)


def pieces_of(of: RedactedBody) -> list[Any]:
    return [piece for pieces in of.spans.values() for piece in pieces]


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
        parse_json(body)
    except Exception:
        return False
    return True


@given(body=texts().filter(readable))
def test_the_pieces_put_back_give_the_delivered_bytes(body: bytes) -> None:
    of = cut_of(body)

    assert restore_body(of.payload, pieces_of(of)) == body


@given(body=texts().filter(readable))
def test_what_is_left_is_the_document_with_markers(body: bytes) -> None:
    document = parse_json(body)
    of = redact(body, document, PERSONAL, pseudonymise)

    if isinstance(document.value, dict | list):
        assert parse_json(of.payload).value == document.value
    assert all(json.loads(piece.value) == found.value for piece, found in in_order(of))


def in_order(of: RedactedBody) -> list[tuple[Any, Any]]:
    pieces = sorted(pieces_of(of))
    return list(zip(pieces, of.found, strict=bool(of.found)))


@given(body=texts().filter(readable))
def test_what_is_remembered_of_other_documents_changes_nothing(body: bytes) -> None:
    unlearned = replace(PERSONAL)

    assert redact(body, parse_json(body), unlearned, pseudonymise) == cut_of(body)


def test_what_is_remembered_of_documents_with_ever_other_keys_is_bounded() -> None:
    memory = form_cache_of(PERSONAL)
    for start in range(0, 40_000, 1_000):
        cut_of(json.dumps([{f"{'k' * 500}{start + n}": {}} for n in range(1_000)]).encode())

        assert memory.size <= CACHE_BYTES_MAX + 3 * 1_000 * 1_000


def test_each_value_belongs_to_the_person_it_stands_with() -> None:
    body = (
        b'{"sender": {"customerId": "1", "email": "a@x"}, "receiver": {"customerId": "2", "email": "b@x"}, "dob": "3"}'
    )

    of = cut_of(body)

    values = {owner: [piece.value for piece in pieces] for owner, pieces in of.spans.items()}
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


def test_a_key_in_escapes_is_not_mistaken_for_the_end_of_another_key() -> None:
    of = cut_of(rb'{"e\u006dail": "x@y", "z\"email": 1, "mobile": "7", "a\"mobile": 2}')

    assert of.payload == rb'{"e\u006dail": "<personal>", "z\"email": 1, "mobile": "<personal>", "a\"mobile": 2}'


def test_a_key_whose_value_is_kept_elsewhere_is_cut_only_where_it_is_personal() -> None:
    of = cut_of(b'{"x": {"value": 1}, "customFields": {"value": "a", "y": {"value": null}}, "value": [{"value": 2}]}')

    assert of.payload == (
        b'{"x": {"value": 1}, "customFields": {"value": "<personal>", "y": {"value": null}}, "value": [{"value": 2}]}'
    )


def test_a_marker_in_the_delivered_text_stays_where_it_was() -> None:
    body = b'{"other": "<personal>", "email": "x@y"}'
    of = cut_of(body)

    assert of.payload == b'{"other": "<personal>", "email": "<personal>"}'
    assert restore_body(of.payload, pieces_of(of)) == body
    assert restore_body(of.payload, []) == of.payload


def test_an_unreadable_body_is_cut_out_whole() -> None:
    of = redact_unreadable(b"\xff not json", "not JSON")

    assert json.loads(of.payload) == {"unreadable": "not JSON", "body": MARKER_TEXT}
    assert restore_body(of.payload, pieces_of(of)) == b"\xff not json"


def test_in_a_structure_that_others_fill_in_only_its_own_labels_are_kept() -> None:
    personal = PersonalFields({}, no_person, person_keys=frozenset(), free_structures=frozenset({"customFields"}))
    body = b'{"customFields": [{"name": "nick", "value": {"name": "Ada", "type": "x"}}, {"name": "age", "value": [7]}]}'

    of = redact(body, parse_json(body), personal, pseudonymise)

    assert json.loads(of.payload) == {
        "customFields": [
            {"name": "nick", "value": {"name": MARKER_TEXT, "type": MARKER_TEXT}},
            {"name": "age", "value": MARKER_TEXT},
        ]
    }


def test_a_spoilt_name_of_a_structure_hides_nothing() -> None:
    personal = PersonalFields(
        {"id": frozenset({"instore"})}, no_person, person_keys=frozenset(), free_structures=frozenset({"customFields"})
    )
    body = b'{"custom Fields": {"colour": "red"}, " instore": {"id": "7"}}'

    assert redact(body, parse_json(body), personal, pseudonymise).payload == (
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

    assert json.loads(redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise).payload) == {
        "data": {key: MARKER_TEXT, "points": 5}
    }


def test_a_name_is_a_persons_where_it_stands_in_one() -> None:
    order = {"customer": {"name": "Ann"}, "items": [{"name": "Mug"}]}
    body = json.dumps({"order": order, "enteredBy": {"name": "Jo"}, "tier": {"name": "Gold"}}).encode()

    assert json.loads(redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise).payload) == {
        "order": {"customer": {"name": MARKER_TEXT}, "items": [{"name": "Mug"}]},
        "enteredBy": {"name": MARKER_TEXT},
        "tier": {"name": "Gold"},
    }


def test_a_labelled_identifier_is_cut_where_its_label_names_a_person() -> None:
    body = b'{"identifiers":[{"key":"mobile","value":"555"},{"key":"billId","value":"B1"},{"value":"what"}]}'

    assert json.loads(redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise).payload)["identifiers"] == [
        {"key": "mobile", "value": MARKER_TEXT},
        {"key": "billId", "value": "B1"},
        {"value": MARKER_TEXT},
    ]


@pytest.mark.parametrize(
    "key",
    [
        *(
            "mail",
            "emails",
            "primaryEmail",
            "email1",
            "E-MAIL",
            "customer.email",
            "e\tmail",
            "e\u00a0mail",
            "em\u200bail",
        ),
        *("\ufeffemail", "phones", "homePhone", "mobile1", "work_mobile_no", "fname", "first\u00a0Name", "userName"),
        *("receiverName", "shipTo", "billTo", "city", "houseNumber", "ip", "accountNumber", "vpa", "\uff45mail"),
        *("newEmail", "previousMobile", "registeredMobileNumber", "billingAddress2", "addresses"),
    ],
)
def test_a_personal_value_is_known_by_its_name_however_it_is_spelt(key: str) -> None:
    document = {"data": {key: "Ann", "points": 5}}
    for body in (json.dumps(document).encode(), json.dumps(document, ensure_ascii=False).encode()):
        of = redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise)

        assert json.loads(of.payload) == {"data": {key: MARKER_TEXT, "points": 5}}
        assert restore_body(of.payload, pieces_of(of)) == body


@pytest.mark.parametrize(
    "key",
    ["emailStatus", "mobileAppVersion", "programName", "storeName", "tier", "nameOfTier", "shipToStoreId", "zipped"],
)
def test_a_name_that_only_begins_like_a_personal_one_is_none(key: str) -> None:
    body = json.dumps({"data": {key: "Gold"}}).encode()

    assert redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise).payload == body


@pytest.mark.parametrize("label", ["email", "Primary E-Mail", "mobile_no", "firstName"])
@pytest.mark.parametrize("names", [("key", "value"), ("name", "value"), ("fieldName", "fieldValue")])
def test_a_value_is_known_by_the_label_beside_it(label: str, names: tuple[str, str]) -> None:
    document = {"anywhere": [{names[0]: label, names[1]: "Ann"}, {names[0]: "tier", names[1]: "Gold"}]}
    body = json.dumps(document).encode()

    of = redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise)

    assert [pair[names[1]] for pair in json.loads(of.payload)["anywhere"]] == [MARKER_TEXT, "Gold"]
    assert restore_body(of.payload, pieces_of(of)) == body


@pytest.mark.parametrize(
    "text",
    [
        *("ann@example.com", "Ann <ann.b+c@mail.example.co.uk>, please", "https://x.example/?m=ann%40example.com&y=1"),
        *(
            "+91 8395-082082",
            "call +4915112345678 after six",
            "DE89 3704 0044 0532 0130 00",
            "IBAN GB82WEST12345698765432",
        ),
        *("4111 1111 1111 1111", "paid with 4111-1111-1111-1111 today", "5500000000000004"),
    ],
)
def test_a_value_is_known_by_what_it_looks_like_wherever_it_stands(text: str) -> None:
    document = {"eventName": text, "deep": [{"note": [text, "x"]}], "points": 5}
    body = json.dumps(document).encode()

    of = redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise)

    assert json.loads(of.payload) == {"eventName": MARKER_TEXT, "deep": [{"note": MARKER_TEXT}], "points": 5}
    assert restore_body(of.payload, pieces_of(of)) == body
    assert may_hold_personal_value(json.dumps([{"note": text}], ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "text",
    ["ann%40example.com", "+91 8395-082082", "%2b918395082082", "DE89 3704 0044 0532 0130 00", "4111-1111 1111 1111"],
)
def test_no_escape_hides_a_value(text: str) -> None:
    around = ["\\n", "\\t", '\\"', "\\/", "\\u00e9 ", "\\u2011", ""]
    escaped = [f"{text[:at]}\\u{ord(text[at]):04x}{text[at + 1 :]}" for at in range(len(text))]
    escaped += [f"{text[:at]}\\u{ord(text[at]):04X}{text[at + 1 :]}" for at in range(len(text))]
    bodies = [f'{{"note": "{before}{written}{before}"}}' for before in around for written in [text, *escaped]]

    personal = [body for body in bodies if is_personal_value(json.loads(body)["note"])]
    missed = [body for body in personal if not may_hold_personal_value(body.encode())]

    assert len(personal) > len(bodies) / 2
    assert missed == []


def test_a_body_without_such_values_raises_no_suspicion() -> None:
    texts = ["2024-05-13T10:24:01+05:30", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "100% AB1234", "B-7000000501"]

    assert not may_hold_personal_value(json.dumps({"at": 1704071547829, "texts": texts}).encode())


@pytest.mark.parametrize(
    "text",
    [
        *("2024-05-13T10:24:01+05:30", "+5", "+1234567", "-1234567890123", "user@", "@example.com", "a@b", "1@2.3"),
        *("6018840184080212", "4111111111111112", "DE00370400440532013000", "GB82WEST123456987654321", "100%40"),
        *("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "ORD-2024-000123456789", "+00:00", "v1.2.3+20240513101500123"),
    ],
)
def test_ids_codes_times_and_figures_are_left_as_they_are(text: str) -> None:
    body = json.dumps({"anything": text}).encode()

    assert redact(body, parse_json(body), UNKNOWN_VENDOR, pseudonymise).payload == body


def test_an_address_that_serves_as_an_id_is_replaced_by_one_pseudonym_in_all_its_spellings() -> None:
    bodies = [
        json.dumps({"customerId": written, "points": 5, "email": "ann@example.com"}).encode()
        for written in ("ann@example.com", "Ann@Example.COM ", "bob@example.com")
    ]

    cuts = [cut_of(body) for body in bodies]
    ids = [json.loads(of.payload)["customerId"] for of in cuts]

    assert ids[0] == ids[1] == pseudonymise("email", "ann@example.com") != ids[2]
    assert [set(of.spans) for of in cuts] == [{one} for one in ids]
    assert [restore_body(of.payload, pieces_of(of)) for of in cuts] == bodies
    assert all(b"example" not in of.payload.lower() for of in cuts)


def test_of_all_texts_in_the_samples_only_personal_ones_look_personal() -> None:
    """The rate of false positives that docs/security.md states."""
    texts: list[tuple[str, str]] = []

    def collect(value: Any, key: str = "") -> None:
        if isinstance(value, dict):
            for name, child in value.items():
                collect(child, name)
        elif isinstance(value, list):
            for child in value:
                collect(child, key)
        elif isinstance(value, str):
            texts.append((key, value))

    for path in SAMPLES.rglob("*.json"):
        if ".facts." not in path.name:
            collect(json.loads(path.read_bytes()))

    looking = {(key, text) for key, text in texts if is_personal_value(text)}
    assert len(texts) > 4_000
    assert {key for key, _ in looking} <= {"email", "phone_number"}


@pytest.mark.parametrize("unit", ["@", "a@a.", "+1", "+1 ", "DE89 ", "4 ", "1-", "%40", "a.", "a@" + "b" * 60 + "."])
def test_to_look_at_a_value_takes_time_in_proportion_to_its_length(unit: str) -> None:
    def spent(length: int) -> float:
        text = (unit * length)[:length]
        begun = time.process_time()
        for _ in range(3):
            is_personal_value(text)
        return time.process_time() - begun

    spent(1_000)
    assert spent(200_000) < 20 * max(spent(20_000), 0.002)
