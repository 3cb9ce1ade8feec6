"""The share of all ledgers that one process works for, so that several processes or machines divide the work."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ledger.errors import SetupWrong
from ledger.store.registry import Ledger

SHARE = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")


class LedgerShare(NamedTuple):
    """Share `number` of `total`, counted from 1. The ids of ledgers go round: 1 to share 1, 2 to share 2 and so on."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> "LedgerShare":
        """Parse a share such as "2/3". Raises SetupWrong."""
        found = SHARE.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise SetupWrong(f"a share is a number and a count, such as 2/3: {text!r}")
        return cls(int(found[1]), int(found[2]))

    def select(self, ledgers: Sequence[Ledger]) -> list[Ledger]:
        """Return the ledgers of this share."""
        return [ledger for ledger in ledgers if (ledger.ledger_id - 1) % self.total == self.number - 1]

    def __str__(self) -> str:
        """Return the share as it is parsed."""
        return f"{self.number}/{self.total}"


ALL_LEDGERS = LedgerShare()
