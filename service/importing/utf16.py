"""Read files in UTF-16 as UTF-8. Spreadsheets and Windows tools export such files."""

import codecs
import io
from typing import Any, BinaryIO, cast

UTF8_MARK = codecs.BOM_UTF8
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
READ_BYTES = 64 * 1024


def as_utf8(file: BinaryIO) -> BinaryIO:
    """Return the file with UTF-8 text. A file with a UTF-16 byte order mark is decoded."""
    peeked = file if hasattr(file, "peek") else io.BufferedReader(cast(io.RawIOBase, file))
    start: bytes = peeked.peek(2)[:2]
    if start not in UTF16:
        return peeked
    return cast(BinaryIO, io.BufferedReader(_FromUtf16(peeked)))


class _FromUtf16(io.RawIOBase):
    """A file in UTF-16, read as UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
        self._text = UTF8_MARK

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        is_end = False
        while not self._text and not is_end:
            chunk = self._file.read(READ_BYTES)
            is_end = not chunk
            self._text = self._decoder.decode(chunk, is_end).encode()
        size = min(len(buffer), len(self._text))
        buffer[:size], self._text = self._text[:size], self._text[size:]
        return size
