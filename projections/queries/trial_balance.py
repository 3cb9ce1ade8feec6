"""Trial balance: the sum of each class over all accounts, by programme and unit. All classes sum to zero. Pure.

The sums come from postings. For each account they are compared with its row.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

from projections.accounts.account import ZERO
from projections.accounts.classes import OUTSTANDING, AccountClass, class_columns
from projections.accounts.statement import decode_postings
from projections.queries.holder_history import AccountHistory, HolderHistory, lapses_until
from projections.queries.roll_forward import LINES_PER_STEP


class ClassSums(NamedTuple):
    """Sums of all classes of one programme and unit."""

    programme: str
    unit: str
    classes: dict[str, Decimal]

    @property
    def sum(self) -> Decimal:
        return sum(self.classes.values(), ZERO)


class TrialBalance:
    """Sums histories as of a time, lapses included."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._sums: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        self.accounts = 0
        self.differing: list[str] = []  # accounts with postings that differ from their rows

    def add(self, history: HolderHistory) -> None:
        """Add one holder's history."""
        for _ in self.adding(history):
            pass

    def adding(self, history: HolderHistory) -> Iterator[None]:
        """Add one holder's history; yield after every LINES_PER_STEP lines."""
        posted: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        later = {line.account_id for line in history.lines if line.occurred_at > self._at}
        lapses = lapses_until(history, self._at)
        lapsed: dict[str, Decimal] = defaultdict(Decimal)
        for line in lapses:
            lapsed[line.account_id] -= line.points
        for n, line in enumerate(chain(history.lines, lapses), 1):
            if n % LINES_PER_STEP == 0:
                yield
            if line.occurred_at <= self._at:
                classes = posted[line.account_id]
                for source, target, points, _ in decode_postings(line.postings):
                    classes[source] -= points
                    classes[target] += points
        for account_id, classes in posted.items():
            account = history.accounts[account_id]
            sums = self._sums[account.programme_ref, account.unit]
            for name, points in classes.items():
                sums[name] += points
            if account_id not in later and not _matches_row(account, classes, lapsed.get(account_id, ZERO)):
                self.differing.append(account_id)
        self.accounts += len(posted)

    def sums(self) -> list[ClassSums]:
        """Return the sums of each programme and unit."""
        return [ClassSums(*of, dict(sorted(classes.items()))) for of, classes in sorted(self._sums.items())]


def _matches_row(account: AccountHistory, posted: Mapping[str, Decimal], lapsed: Decimal) -> bool:
    """Return True if the posted sums equal the account's row plus the lapses since its last fact."""
    columns = class_columns(posted)
    columns["lapsed"] -= lapsed
    columns["available"] = sum((posted.get(name, ZERO) for name in OUTSTANDING), ZERO) + lapsed
    return posted.keys() <= set(AccountClass) and all(getattr(account, name) == columns[name] for name in columns)
