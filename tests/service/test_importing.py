"""Reading a file for import: lines, lines that are too long, and one document over several lines."""

import io

import pytest

from ledger.reading import BODY_BYTES_MAX
from service.importing import Line, is_one_document, read_lines

LONGEST = b'"' + b"x" * (BODY_BYTES_MAX - 2) + b'"'


def lines(text: bytes) -> list[Line]:
    return list(read_lines(io.BytesIO(text)))


def test_every_line_is_a_delivery_without_its_line_end() -> None:
    assert lines(b'{"a": 1}\r\n{"b": 2}\n{"c": 3}') == [(1, b'{"a": 1}'), (2, b'{"b": 2}'), (3, b'{"c": 3}')]


def test_empty_lines_are_counted_and_skipped() -> None:
    assert lines(b'\n{"a": 1}\n \t\n\n{"b": 2}\n') == [(2, b'{"a": 1}'), (5, b'{"b": 2}')]


def test_nothing_is_read_of_an_empty_file() -> None:
    assert lines(b"") == lines(b"\n\n") == []


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_line_as_long_as_a_delivery_may_be_is_kept(end: bytes) -> None:
    assert lines(b"1\n" + LONGEST + end) == [(1, b"1"), (2, LONGEST)]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("more", [1, 2, 3, 2 * BODY_BYTES_MAX])
def test_a_longer_line_is_skipped_over_to_its_end(more: int, end: bytes) -> None:
    after = lines(b"1\n" + LONGEST + b"x" * more + end + (b"2\n" if end else b""))

    assert after == [(1, b"1"), (2, None), *([(3, b"2")] if end else [])]


def test_a_long_file_is_read_across_its_beginning() -> None:
    text = b'{"n": 1234567}\n' * 200_000

    assert len(text) > BODY_BYTES_MAX
    assert lines(text) == [Line(number, b'{"n": 1234567}') for number in range(1, 200_001)]


def test_a_document_over_several_lines_is_read_whole() -> None:
    assert lines(b'{\n  "a": 1\n}\n') == [(1, b'{\n  "a": 1\n}')]


@pytest.mark.parametrize(
    ("text", "one"),
    [
        (b'{\n"a": [\n1,\n2\n]\n}', True),
        (b'{\n"a": 1,,\n}', True),  # broken, but still one
        (b"id;points\n1;2\n3;4\n", True),  # no document at all: better one in quarantine than one a line
        (b'{"a": 1}\n{"b": 2}\n', False),
        (b'{"a": 1\n{"b": 2}\n', False),  # the first line is broken, the second is a document of its own
        (b'{"a": 1}', False),
        (b"", False),
    ],
)
def test_one_document_over_lines_is_told_from_a_document_a_line(text: bytes, one: bool) -> None:
    assert is_one_document(text) is one
