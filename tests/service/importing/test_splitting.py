"""Splitting an import file into deliveries: lines, documents over several lines, arrays, and damage in any of them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.parsing import BODY_BYTES_MAX
from service.cli.demo_steps import sample_files
from service.importing import split
from service.importing.split import DeliveryLine, DeliveryReader
from tests.support.payloads import sample

LONGEST = b'"' + b"x" * (BODY_BYTES_MAX - 2) + b'"'
MARK = b"\xef\xbb\xbf"


def lines(text: bytes) -> list[DeliveryLine]:
    return list(DeliveryReader(io.BytesIO(text)))


def bodies(text: bytes) -> list[bytes | None]:
    return [line.body for line in lines(text)]


def test_every_line_is_a_delivery_without_its_line_end() -> None:
    assert lines(b'{"a": 1}\r\n{"b": 2}\n{"c": 3}') == [(1, b'{"a": 1}'), (2, b'{"b": 2}'), (3, b'{"c": 3}')]


def test_empty_lines_are_counted_and_skipped() -> None:
    assert lines(b'\n{"a": 1}\n \t\n\n{"b": 2}\n') == [(2, b'{"a": 1}'), (5, b'{"b": 2}')]


def test_nothing_is_read_of_an_empty_file() -> None:
    assert lines(b"") == lines(b"\n\n") == lines(MARK) == lines(b"[]") == lines(b"[\n]\n")


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_a_line_as_long_as_a_delivery_may_be_is_kept(end: bytes, mark: bytes) -> None:
    assert lines(b"1\n" + mark + LONGEST + end) == [(1, b"1"), (2, LONGEST)]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("more", [1, 2, 3, 2 * BODY_BYTES_MAX])
def test_a_longer_line_is_skipped_over_to_its_end(more: int, end: bytes) -> None:
    after = lines(b"1\n" + LONGEST + b"x" * more + end + (b"2\n" if end else b""))

    assert after == [(1, b"1"), (2, None), *([(3, b"2")] if end else [])]


def test_a_long_file_is_read_across_its_beginning() -> None:
    text = b'{"n": 1234567}\n' * 80_000

    assert len(text) > BODY_BYTES_MAX
    assert lines(text) == [DeliveryLine(number, b'{"n": 1234567}') for number in range(1, 80_001)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{\n  "a": 1\n}\n', [b'{\n  "a": 1\n}']),
        (b'{\n"a": [\n1,\n2\n]\n}', [b'{\n"a": [\n1,\n2\n]\n}']),
        (
            b'{\n  "a": 1\n}\n{\n  "b": {\n    "c": "}"\n  }\n}\n',
            [b'{\n  "a": 1\n}', b'{\n  "b": {\n    "c": "}"\n  }\n}'],
        ),
        (b'{\n"a": [\n{"b": 1}\n]\n}\n{"c": 2}\n', [b'{\n"a": [\n{"b": 1}\n]\n}', b'{"c": 2}']),
        (b'{"a":1}{"b":2} {"c":3}\n', [b'{"a":1}', b'{"b":2}', b'{"c":3}']),
        (b'{\n"a": 1\n}' + MARK + b'{"b": 2}', [b'{\n"a": 1\n}', b'{"b": 2}']),
        (b'{\n"a": 1\n}{\n"b": 2\n}\n', [b'{\n"a": 1\n}', b'{\n"b": 2\n}']),
        (b'"a": 1,\n"b": {"c": 1,}}\n', [b'"a": 1,\n"b": {"c": 1,}}']),
    ],
)
def test_documents_over_several_lines_are_deliveries(text: bytes, expected: Sequence[bytes]) -> None:
    assert bodies(text) == expected
    assert bodies(text.replace(b"\n", b"\r\n")) == [one.replace(b"\n", b"\r\n") for one in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'[{"a": 1}, {"b": 2}]', [b'{"a": 1}', b'{"b": 2}']),
        (b'[\n{"a": 1},\n{"b": 2}\n]\n', [b'{"a": 1}', b'{"b": 2}']),
        (b'[{"a": 1},\n {"b": [{"c": 2}]}]\n', [b'{"a": 1}', b'{"b": [{"c": 2}]}']),
        (
            b'[\n  {\n    "a": 1\n  },\n\n  {\n    "b": [2, 3]\n  }\n]',
            [b'{\n    "a": 1\n  }', b'{\n    "b": [2, 3]\n  }'],
        ),
        (b'[{"a": 1}]\n[{"b": 2}]\n', [b'{"a": 1}', b'{"b": 2}']),
        (b'[[{"a": 1}], [{"b": 2}]]', [b'{"a": 1}', b'{"b": 2}']),
        (b'[\n[{"a": 1}],\n[{"b": 2}]]', [b'{"a": 1}', b'{"b": 2}']),
        (b"[1, 2]", [b"[1, 2]"]),
        (b'[\n{"a": 1},\n{"b": 2', [b'{"a": 1}', b'{"b": 2']),
        (b'[\n{"a": 1,},\n{"b": 2},\n]\n{"c": 3}', [b'{"a": 1,}', b'{"b": 2}', b'{"c": 3}']),
        (b'[\n{"a": 1,\n{"b": 2}\n]', [b'{"a": 1', b'{"b": 2}']),
        (b'[\n{"a": "x},\n{"b": 2}\n]', [b'{"a": "x}', b'{"b": 2}']),
    ],
)
def test_the_elements_of_an_array_are_deliveries(text: bytes, expected: Sequence[bytes]) -> None:
    assert bodies(text) == expected
    assert bodies(MARK + text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a": 1,}\n{"b": 2,}\n{"c": 3,}\n', [b'{"a": 1,}', b'{"b": 2,}', b'{"c": 3,}']),
        (b'"a": 1}\n"b": 2}\n', [b'"a": 1}', b'"b": 2}']),
        (b'{"a": 1},\n{"b": 2},\n', [b'{"a": 1},', b'{"b": 2},']),
        (b'{"a": 1\n{"b": 2}\n', [b'{"a": 1', b'{"b": 2}']),
        (b'{"a": 1\n{"b": 2\n{"c": 3\n', [b'{"a": 1', b'{"b": 2', b'{"c": 3']),
        (b'{"a": 1,\n{"b": 2,\n{"c": 3}\n', [b'{"a": 1,', b'{"b": 2,', b'{"c": 3}']),
        (b'{"a": "x\n{"b": 2}\n', [b'{"a": "x', b'{"b": 2}']),
        (b'{"a": {"b": 1}\n"c": 2}\n', [b'{"a": {"b": 1}', b'"c": 2}']),
        (b'{"a": [{"b": 1}\n{"c": 2}\n', [b'{"a": [{"b": 1}', b'{"c": 2}']),
        (b'{\n"a": 1,,\n}', [b'{\n"a": 1,,\n}']),
        (b'{\n  "a": "x\ny",\n  "b": 1\n}\n{"c": 3}\n', [b'{\n  "a": "x\ny",\n  "b": 1\n}', b'{"c": 3}']),
        (b"id;points\n1;2\n3;4\n", [b"id;points\n1;2\n3;4"]),
        (b'oops\n{"a": 1}\noops\n', [b"oops", b'{"a": 1}', b"oops"]),
        (b'{"a": 1} // said by hand\n{"b": 2}\n', [b'{"a": 1} // said by hand', b'{"b": 2}']),
    ],
)
def test_damage_costs_only_the_delivery_that_it_is_in(text: bytes, expected: Sequence[bytes]) -> None:
    assert bodies(text) == expected


def test_a_byte_order_mark_is_no_part_of_a_delivery() -> None:
    read = DeliveryReader(io.BytesIO(MARK + b'{"a": 1}\r\n\r\n' + MARK + b'{\r\n"b": 2\r\n}'))

    assert list(read) == [(1, b'{"a": 1}'), (3, b'{\r\n"b": 2\r\n}')]
    assert read.marks == 2


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_read_as_utf_8(encoding: str) -> None:
    text = '\ufeff{"a": "Žofie \N{GRINNING FACE}"}\r\n{"ਊ": 2}\r\n'

    assert bodies(text.encode(encoding)) == ['{"a": "Žofie \N{GRINNING FACE}"}'.encode(), '{"ਊ": 2}'.encode()]


@pytest.mark.parametrize("separator", [b",", b",\n", b"\n,\n  "])
@pytest.mark.parametrize("read_bytes", [64, 1000])
def test_an_array_longer_than_a_delivery_is_never_held_whole(
    monkeypatch: pytest.MonkeyPatch, separator: bytes, read_bytes: int
) -> None:
    monkeypatch.setattr(split, "PIECE_BYTES_MAX", read_bytes)
    told = [json.dumps({"n": n, "said": '\\"]}{[,' * (n % 7)}).encode() for n in range(300)]

    assert bodies(b"[" + separator.join(told) + b"]") == told


def test_an_element_longer_than_a_delivery_costs_itself() -> None:
    long = b'{"a": "' + b"x" * (3 * BODY_BYTES_MAX) + b'", "b": [' + b"1," * BODY_BYTES_MAX + b'1, {"c": 1}]}'

    assert bodies(b'[{"a": 1}, ' + long + b', {"b": 2}]\n{"c": 3}') == [b'{"a": 1}', None, b'{"b": 2}', b'{"c": 3}']


@pytest.mark.parametrize("path", sample_files(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_published_payload_is_one_delivery_however_it_is_printed(path: Path) -> None:
    body = path.read_bytes()
    try:
        value = json.loads(body)
    except ValueError:
        value = None

    assert bodies(body) == [body.strip()]
    if value is not None:
        compact, spread = json.dumps(value).encode(), json.dumps(value, indent=2).encode()
        assert bodies(spread + b"\n" + compact + b"\n" + spread) == [spread, compact, spread]
        assert bodies(json.dumps([value, value], indent=1).encode()) == bodies(
            b"[" + json.dumps([value], indent=1).encode()[1:-1].strip() + b",\n"
            + json.dumps([value], indent=1).encode()[1:-1].strip() + b"]"
        )  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), min_size=1, max_size=5)


@settings(max_examples=60)
@given(OBJECTS, st.sampled_from([None, 1, 2]), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_what_is_written_is_read_whatever_form_it_has(
    told: list[dict[str, object]], indent: int | None, ascii_only: bool, end: str
) -> None:
    rows = end.join(json.dumps(one, indent=indent, ensure_ascii=ascii_only) for one in told)
    array = json.dumps(told, indent=indent, ensure_ascii=ascii_only)

    for text in (rows, array):
        read = [json.loads(body) for body in bodies(text.encode("utf-8", "surrogatepass")) if body is not None]
        assert read == told


@settings(max_examples=60)
@given(st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b":", b",", b"\n", b" ", b"1", b'"a":', MARK])))
def test_no_byte_of_any_file_is_lost(parts: list[bytes]) -> None:
    text = b"".join(parts)

    kept = b"".join(body or b"" for body in bodies(text)).replace(MARK, b"")

    left = bytes(byte for byte in text.replace(MARK, b"") if byte not in b" \n,[]")
    assert sorted(byte for byte in kept if byte not in b" \n,[]") == sorted(left)


def test_samples_are_there() -> None:
    assert bodies(sample("capillary", "pointsIssued")) == [sample("capillary", "pointsIssued").strip()]


@pytest.mark.parametrize(
    "unit", [b'{"a":\n', b'{"a":[\n', b"{\n", b"[\n", b'[{"a":\n', b'"a":1,\n', b'{"a":1,\n', b"}\n"]
)
def test_a_hostile_file_takes_no_long_time(unit: bytes) -> None:
    assert bodies(unit * 5_000)
