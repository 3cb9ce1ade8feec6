"""The trial balance: the sum of every class of all accounts, by programme and unit; zero together, at every position.

The sums come from the postings; those of each account are compared with what its fold remembers. Pure.
"""

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from projections.accounts.lots import ZERO
from projections.books import Book, lapse
from projections.movements import decode_postings
from projections.terms import programme_of


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
        self.differing: list[str] = []  # accounts whose postings do not come to what their fold remembers

    def add(self, book: Book) -> None:
        """Add one holder's book."""
        posted: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        later = {line.account_id for line in book.lines if line.occurred_at > self._at}
        for line in [*book.lines, *lapse(book, self._at)]:
            if line.occurred_at <= self._at:
                classes = posted[line.account_id]
                for source, target, points, _ in decode_postings(line.postings):
                    classes[source] -= points
                    classes[target] += points
        for account_id, classes in posted.items():
            account = book.wallet.accounts[account_id]
            sums = self._sums[programme_of(account_id, account.programme), account.unit]
            for name, points in classes.items():
                sums[name] += points
            remembered = {name: points for name, points in account.classes.items() if points}
            if account_id not in later and remembered != {name: points for name, points in classes.items() if points}:
                self.differing.append(account_id)
        self.accounts += len(posted)

    def sums(self) -> list[Sums]:
        """Give the sums of each programme and unit."""
        return [Sums(*of, dict(sorted(classes.items()))) for of, classes in sorted(self._sums.items())]
