"""Compare the index of personal identifiers with the encrypted parts: every look-up must come from a value in a part.

Each pair of a keyed hash and a person is kept as 8 bytes of a hash. So a ledger of millions fits in memory.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import sha256

from ledger.database import Connection

COMPACT_AT_LEAST = 100_000
ROWS_PER_READ = 10_000

INDEX = """
    SELECT blind, subject FROM ledger.personal_index
     WHERE ledger_id = $1 AND (blind, subject) > ($2, $3) ORDER BY blind, subject LIMIT $4
"""


class LookupChecker:
    """Collects the look-ups that follow from the encrypted parts of one ledger, and compares them with the index."""

    def __init__(self) -> None:
        self._derived = array("Q")
        self._compact_at = COMPACT_AT_LEAST

    def derive(self, pairs: Iterable[tuple[bytes, str]]) -> None:
        """Add pairs of lookup hash and person."""
        self._derived.extend(_short(*pair) for pair in pairs)
        if len(self._derived) > self._compact_at:
            self._compact()
            self._compact_at = max(COMPACT_AT_LEAST, 2 * len(self._derived))

    async def compare(self, connection: Connection, ledger_id: int, *, judge_more: bool) -> list[str]:
        """Return sentences about missing and additional index rows. Additional rows are only judged with
        `judge_more`."""
        self._compact()
        found = more = 0
        blind, subject = b"", ""
        while rows := await connection.fetch(INDEX, ledger_id, blind, subject, ROWS_PER_READ):
            for blind, subject in rows:
                short = _short(blind, subject)
                at = bisect_left(self._derived, short)
                known = at < len(self._derived) and self._derived[at] == short
                found, more = found + known, more + (not known)
        missing = len(self._derived) - found
        wrong = [f"{missing:,} look-ups of persons are missing"] if missing else []
        if more and judge_more:
            wrong.append(f"{more:,} look-ups name a person without that value")
        return wrong

    def _compact(self) -> None:
        self._derived = array("Q", sorted(set(self._derived)))


def _short(blind: bytes, subject: str) -> int:
    return int.from_bytes(sha256(blind + subject.encode()).digest()[:8], "big")
