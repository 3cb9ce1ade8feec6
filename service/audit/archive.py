"""An uncompressed ustar archive, written member by member. Only the hash of each member is kept in memory.

Times, owners and modes are fixed, so equal content gives equal bytes. Long content is split into members of a few
megabytes. So reading needs as little memory as writing.
"""

import hashlib
import tarfile
from typing import BinaryIO

CHUNK_BYTES = 1 << 20


class Archive:
    """Writes members to a file, and at the end SHA256SUMS, which `sha256sum -c` reads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sums: list[str] = []

    def add(self, name: str, content: bytes) -> None:
        """Write one member."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o644
        self._file.write(member.tobuf(format=tarfile.USTAR_FORMAT))
        self._file.write(content)
        self._file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
        self._sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")

    def finish(self) -> None:
        """Write SHA256SUMS and the end of the archive."""
        self.add("SHA256SUMS", "".join(self._sums).encode())
        self._file.write(bytes(2 * tarfile.BLOCKSIZE))


class ChunkedMembers:
    """Members `<prefix>/000000`, `<prefix>/000001` … of whole records, each of about CHUNK_BYTES, or of one longer
    record.
    """

    def __init__(self, archive: Archive, prefix: str) -> None:
        self._archive = archive
        self._prefix = prefix
        self._number = 0
        self._pending: list[bytes] = []
        self._bytes = 0

    def add(self, record: bytes) -> None:
        self._pending.append(record)
        self._bytes += len(record)
        if self._bytes >= CHUNK_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write the pending records. Call it at the end."""
        if self._pending:
            self._archive.add(f"{self._prefix}/{self._number:06}", b"".join(self._pending))
            self._number += 1
            self._pending.clear()
            self._bytes = 0
