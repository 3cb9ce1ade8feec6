"""The trial balance: the sum of every class of all accounts, by programme and unit; zero together, at every position.

The sums come from the postings; those of each account are compared with what its row shows. Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

from projections.accounts.lots import OF_PROMISES, ZERO
from projections.accounts.tables import PROMISES_CLASSES
from projections.queries.account_history import AccountHistory, HolderHistory, lapses_until
from projections.queries.roll_forward import LINES_PER_STEP, decode_postings

# Classes that give points stand below zero here, and above zero in an account's row: so all classes sum to zero.
GIVING = ("issued", "opening", "unseen", "received", "merged", "adjusted")
OTHERS = ("promised", "redeemed", "expired", "reversed", "sent", "in_transit", "held")


class Sums(NamedTuple):
    """The classes of all accounts of one programme and unit."""

    programme: str
    unit: str
    classes: dict[str, Decimal]

    @property
    def sum(self) -> Decimal:
        return sum(self.classes.values(), ZERO)


class TrialBalance:
    """Adds up books as of a time: what had happened by then, lapses included."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._sums: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        self.accounts = 0
        self.differing: list[str] = []  # accounts whose postings do not come to what their rows show

    def add(self, book: HolderHistory) -> None:
        """Add one holder's book."""
        for _ in self.adding(book):
            pass

    def adding(self, book: HolderHistory) -> Iterator[None]:
        """Add one holder's book in steps of a bounded number of lines."""
        posted: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        later = {line.account_id for line in book.lines if line.occurred_at > self._at}
        lapses = lapses_until(book, self._at)
        lapsed: dict[str, Decimal] = defaultdict(Decimal)
        for line in lapses:
            lapsed[line.account_id] -= line.points
        for n, line in enumerate(chain(book.lines, lapses), 1):
            if n % LINES_PER_STEP == 0:
                yield
            if line.occurred_at <= self._at:
                classes = posted[line.account_id]
                for source, target, points, _ in decode_postings(line.postings):
                    classes[source] -= points
                    classes[target] += points
        for account_id, classes in posted.items():
            account = book.accounts[account_id]
            sums = self._sums[account.programme_ref, account.unit]
            for name, points in classes.items():
                sums[name] += points
            if account_id not in later and not _agree(account, classes, lapsed.get(account_id, ZERO)):
                self.differing.append(account_id)
        self.accounts += len(posted)

    def sums(self) -> list[Sums]:
        """Give the sums of each programme and unit."""
        return [Sums(*of, dict(sorted(classes.items()))) for of, classes in sorted(self._sums.items())]


def _agree(account: AccountHistory, posted: Mapping[str, Decimal], lapsed: Decimal) -> bool:
    """Say whether postings come to what an account's row shows, and what has lapsed since its last fact."""
    shown = {name: getattr(account, name) for name in OTHERS} | {name: -getattr(account, name) for name in GIVING}
    shown["available"] = account.available + account.debt - lapsed
    shown["debt"] = -account.debt
    shown["lapsed"] = account.lapsed + lapsed
    converted = -sum((posted.get(name, ZERO) for name in PROMISES_CLASSES), ZERO)
    posted = {name: points for name, points in posted.items() if name not in OF_PROMISES.values()}
    return converted == account.converted and all(
        shown.get(name, ZERO) == posted.get(name, ZERO) for name in shown.keys() | posted.keys()
    )
