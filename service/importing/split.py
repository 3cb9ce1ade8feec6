"""Splits an import file into deliveries, in any of the usual forms. `--repair` is not needed for that.

A file may hold one delivery a line, documents over several lines, an array, or a mixture. Byte order marks and blank
lines are skipped. Positions follow the file.

Theory of operation.
- A line that is JSON is a delivery.
- If brackets stay open at the end of a line, lines are added until they are closed.
- `Nesting` stops where a document cannot continue, for example at a new object in place of a key. Then only the first
  line is damaged, and reading continues after it.
- So a damaged line or document costs nothing but itself.
- The elements of an array are deliveries. An array is never held in memory as a whole.
- Memory is bounded: a text longer than a delivery may be is skipped.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from ledger.parsing import BODY_BYTES_MAX, DEPTH_MAX
from service.importing.json_repair import is_json, repair_json
from service.importing.utf16 import UTF8_MARK, as_utf8

ARRAYS_NESTED_MAX = 2
PIECE_BYTES_MAX = BODY_BYTES_MAX + len(UTF8_MARK) + len(b"\r\n")
BLANKS = b" \t\r\n"

_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
# Matches up to the next bracket, over whole strings. It stops at a string without an end. The string is one atomic
# group: before Python 3.11.5 a possessive repeat keeps the match of a failed alternative.
_TO_BRACKET = re.compile(rb'(?:[^"\[{\]}]++|(?>"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"))*+')
_END_OF_STRING = re.compile(rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"')
_END_OF_VALUE = re.compile(rb"[,\]\n]")
_OPENERS = {b"}"[0]: b"{"[0], b"]"[0]: b"["[0]}


class DeliveryLine(NamedTuple):
    """One delivery, and the number of its first line. `body` is None if it is too long."""

    number: int  # from 1
    body: bytes | None


class LineChunk(NamedTuple):
    """A line with its end, or the next PIECE_BYTES_MAX bytes of a longer line."""

    number: int
    text: bytes


class Nesting:
    """The open brackets of a growing text. A bracket before the text may be assumed open."""

    def __init__(self, start: int = 0, opened: bytes = b"") -> None:
        self.index = start
        self.is_broken = False  # the text at `at` cannot continue as JSON
        self._stack = bytearray(opened)
        self._begun = bool(opened)
        self._in_string = False

    @property
    def depth(self) -> int:
        return len(self._stack)

    @property
    def is_closed(self) -> bool:
        """True if the first bracket was closed; `at` is the place after it."""
        return self._begun and not self._stack

    def scan(self, text: bytes | bytearray) -> None:
        """Read from `at` to the end of the text, or to the place where the brackets are closed or broken."""
        while not self.is_broken and not self.is_closed and self.index < len(text):
            if self._in_string:
                self._pass_string(text)
                if self._in_string:
                    return
            passed = _TO_BRACKET.match(text, self.index)
            assert passed is not None  # it can match the empty text
            self.index = passed.end()
            if self.index == len(text):
                return
            byte = text[self.index]
            if byte == b'"'[0]:
                self._in_string = True
            elif byte in _OPENERS:
                self.is_broken = self._stack[-1:] != bytes([_OPENERS[byte]])
                del self._stack[-1:]
            else:
                self.is_broken = self._begun and not self._may_open(text)
                self._stack.append(byte)
                self._begun = True
            self.index += not self.is_broken

    def _pass_string(self, text: bytes | bytearray) -> None:
        """Move to the end of a string. A string never continues on the next line."""
        end = _END_OF_STRING.match(text, self.index)
        if end is not None:
            self.index, self._in_string = end.end(), False
            return
        line_end = text.find(b"\n", self.index)
        if line_end >= 0:
            self.index, self.is_broken = line_end, True
            return
        whole = bytes(text[self.index :]).rstrip(b"\\")
        self.index = len(text) - (len(text) - self.index - len(whole)) % 2  # an escape may be split between chunks

    def _may_open(self, text: bytes | bytearray) -> bool:
        """Return True if a value may begin here: after a colon in an object, after a comma or first in an array."""
        before = self.index - 1
        while before >= 0 and text[before] in b" \t\r\n\\":  # markdown puts a backslash before a bracket
            before -= 1
        last = text[before : before + 1] if before >= 0 else self._stack[-1:]
        return last in ((b":",) if self._stack[-1] == b"{"[0] else (b",", b"["))


class DeliveryReader:
    """Iterates over the deliveries of a file in order, once."""

    def __init__(self, file: BinaryIO) -> None:
        self.marks = 0  # byte order marks skipped
        self._file = file
        self._pieces = self._read_pieces()
        self._pushed_back: list[LineChunk] = []

    def __iter__(self) -> Iterator[DeliveryLine]:
        while (piece := self._take()) is not None:
            number, text = piece
            line = text.strip(BLANKS)
            if not line:
                continue
            if line[:1] == b"{" and len(text) <= BODY_BYTES_MAX and is_json(line):  # the common case
                yield DeliveryLine(number, text.rstrip(b"\r\n"))
            elif line[:1] == b"[" and not (_ends(text) and is_json(line)) and self._opens_array(piece):
                yield from self._elements(piece)
            elif not _ends(text) or len(text.rstrip(b"\r\n")) > BODY_BYTES_MAX:
                self._skip_line(text)
                yield DeliveryLine(number, None)
            elif is_json(line):
                yield from unpack_arrays(DeliveryLine(number, text.rstrip(b"\r\n")))
            elif line[:1] in (b"{", b"[", b'"'):
                yield from self._document(piece)
            else:
                yield self._garbage(piece)

    def _document(self, first: LineChunk) -> Iterator[DeliveryLine]:
        """Add lines until the brackets of the first line are closed. If that gives no document, only the first line is
        damaged.
        """
        taken = [first]
        text = bytearray(first.text)
        nesting = Nesting(opened=b"" if first.text.lstrip(BLANKS)[:1] in (b"{", b"[") else b"{")
        nesting.scan(text)
        while not (nesting.is_closed or nesting.is_broken or nesting.depth > DEPTH_MAX or len(text) > BODY_BYTES_MAX):
            piece = self._take()
            if piece is None:
                break
            taken.append(piece)
            text += piece.text
            nesting.scan(text)
        if not nesting.is_closed:
            self._pushed_back += reversed(taken[1:])
            yield self._damaged(first)
            return
        body, rest = bytes(text[: nesting.index]).strip(BLANKS), bytes(text[nesting.index :]).lstrip(BLANKS)
        following = rest.removeprefix(UTF8_MARK)
        if following[:1] in (b"{", b"[") and is_json(body):  # another document begins on the same line
            self.marks += following != rest
            self._pushed_back.append(LineChunk(taken[-1].number, following))
            yield DeliveryLine(first.number, body)
            return
        body = bytes(text).strip(BLANKS)
        one = (
            len(taken) == 1 or is_json(body) or repair_json(body) is not None or not any(map(_stands_alone, taken[1:]))
        )
        if one and len(body) <= BODY_BYTES_MAX:
            yield from unpack_arrays(
                DeliveryLine(first.number, first.text.rstrip(b"\r\n") if len(taken) == 1 else body)
            )
            return
        self._pushed_back += reversed(taken[1:])
        yield self._damaged(first)

    def _damaged(self, first: LineChunk) -> DeliveryLine:
        """Return a damaged line, together with the text up to the place where the next delivery may begin."""
        text = first.text
        indent = _indent(text)
        while (piece := self._take()) is not None:
            begins = piece.text.lstrip(BLANKS)[:1] in (b"{", b"[") and _indent(piece.text) <= indent
            if begins or _stands_alone(piece) or len(text) + len(piece.text) > BODY_BYTES_MAX:
                self._pushed_back.append(piece)
                break
            text += piece.text
        return DeliveryLine(first.number, text.rstrip(BLANKS))

    def _garbage(self, first: LineChunk) -> DeliveryLine:
        """Return consecutive lines that begin no document as one delivery. One quarantined delivery is better than one
        for each line.
        """
        text = first.text
        while (piece := self._take()) is not None:
            line = piece.text.strip(BLANKS)
            if line[:1] in (b"{", b"[", b'"') or is_json(line) or len(text) + len(piece.text) > BODY_BYTES_MAX:
                self._pushed_back.append(piece)
                break
            text += piece.text
        return DeliveryLine(first.number, text.rstrip(BLANKS))

    def _opens_array(self, first: LineChunk) -> bool:
        """Return True if an object or an array follows the opening bracket."""
        seen: list[LineChunk] = []
        inside = first.text.lstrip(BLANKS)[1:].lstrip(BLANKS)
        while not inside and (piece := self._take()) is not None:
            seen.append(piece)
            inside = piece.text.strip(BLANKS)
        self._pushed_back += reversed(seen)
        return inside[:1] in (b"{", b"[")

    def _elements(self, first: LineChunk) -> Iterator[DeliveryLine]:
        """Yield the elements of an array; each is a delivery. A damaged element ends where the next begins."""
        number, text, at = first.number, first.text, first.text.index(b"[") + 1
        while True:
            while at < len(text) and text[at] in BLANKS + b",":
                at += 1
            if at == len(text):
                piece = self._take()
                if piece is None:
                    return
                number, text, at = piece.number, piece.text, 0
            elif text[at] == b"]"[0]:
                self._pushed_back.append(LineChunk(number, text[at + 1 :]))
                return
            elif text[at] in b"{[":
                line, number, text, at = self._element(number, text, at)
                yield from unpack_arrays(line)
            else:
                end = _END_OF_VALUE.search(text, at + 1)
                until = len(text) if end is None else end.start()
                body = text[at:until].strip(BLANKS)
                yield DeliveryLine(number, body if len(body) <= BODY_BYTES_MAX else None)
                at = until

    def _element(self, number: int, text: bytes, at: int) -> tuple[DeliveryLine, int, bytes, int]:
        """Read one element. Return it with the place to continue: line number, text, and index in the text."""
        begun, is_long = number, False
        nesting = Nesting(at)
        nesting.scan(text)
        held = bytearray()
        while not nesting.is_closed and not nesting.is_broken:
            if not held:
                held += text[at:]
                nesting.index -= at
                at = 0
            piece = self._take()
            if piece is None:
                nesting.index = len(held)
                break
            if nesting.index > BODY_BYTES_MAX:  # too long to keep, but its end must be found
                is_long = True
                held[: nesting.index] = bytes(held[: nesting.index]).rstrip(BLANKS)[-1:]
                nesting.index = 1
            number = piece.number
            held += piece.text
            nesting.scan(held)
        text = bytes(held) or text
        end = nesting.index
        if nesting.is_broken and text[end] not in b"{[":  # a string without an end, or a bracket too many
            stop = text.find(b"\n", end)
            end = len(text) if stop < 0 else stop
        body = text[at:end].strip(BLANKS).rstrip(b"," + BLANKS)
        return DeliveryLine(begun, None if is_long or len(body) > BODY_BYTES_MAX else body), number, text, end

    def _take(self) -> LineChunk | None:
        return self._pushed_back.pop() if self._pushed_back else next(self._pieces, None)

    def _skip_line(self, text: bytes) -> None:
        while not _ends(text) and (piece := self._take()) is not None:
            text = piece.text

    def _read_pieces(self) -> Iterator[LineChunk]:
        """Yield the file in chunks, without byte order marks. A last line without an end gets one."""
        file, number, is_new = as_utf8(self._file), 1, True
        while text := file.readline(PIECE_BYTES_MAX):
            is_last = not _ends(text) and len(text) < PIECE_BYTES_MAX
            if is_new and text.startswith(UTF8_MARK):
                self.marks += 1
                text = text.removeprefix(UTF8_MARK)
            yield LineChunk(number, text + b"\n" if is_last else text)
            is_new = _ends(text)
            number += is_new


def unpack_arrays(line: DeliveryLine, levels: int = ARRAYS_NESTED_MAX) -> Iterator[DeliveryLine]:
    """Yield the elements of an array of objects as deliveries, and any other line as it is."""
    if line.body is None or line.body.lstrip(BLANKS)[:1] != b"[" or not levels:
        yield line
        return
    try:
        elements = [bytes(one) for one in _ELEMENTS.decode(line.body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        elements = [line.body]
    if all(one[:1] in (b"{", b"[") for one in elements) and elements != [line.body]:
        for one in elements:
            yield from unpack_arrays(DeliveryLine(line.number, one), levels - 1)
    else:
        yield line


def _ends(text: bytes) -> bool:
    return text.endswith(b"\n")


def _indent(text: bytes) -> int:
    return len(text) - len(text.lstrip(b" \t"))


def _stands_alone(piece: LineChunk) -> bool:
    """Return True if a line is a document of its own, possibly after a repair."""
    line = piece.text.strip(BLANKS)
    if line[:1] == b"{":
        return is_json(line) or repair_json(line) is not None
    return line[:1] == b'"' and line[-1:] == b"}" and repair_json(line) is not None
