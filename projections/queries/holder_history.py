"""History of one holder: accounts, lots and statement lines, and the lapses after its last fact."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.decimals import format_decimal
from projections.accounts.lapses import lapsed_between
from projections.programme_terms import programme_ref


class HistoryLine(NamedTuple):
    """Columns of one statement line that histories need."""

    account_id: str
    line: int
    occurred_at: datetime
    kind: str
    points: Decimal
    balance: Decimal
    postings: str
    position: int | None
    reference: str | None


class LotHistory(NamedTuple):
    """Columns of one lot that histories need."""

    account_id: str
    lot_id: str
    earned_at: datetime
    lapses_at: datetime | None
    remaining: Decimal


class AccountHistory(NamedTuple):
    """Columns of one account that histories need, as of its last fact."""

    account_id: str
    programme: str
    unit: str
    available: Decimal
    promised: Decimal
    debt: Decimal
    opening: Decimal
    unseen: Decimal
    issued: Decimal
    converted: Decimal
    redeemed: Decimal
    expired: Decimal
    lapsed: Decimal
    reversed: Decimal
    sent: Decimal
    received: Decimal
    in_transit: Decimal
    held: Decimal
    merged: Decimal
    adjusted: Decimal
    last_at: datetime
    last_position: int

    @property
    def programme_ref(self) -> str:
        """Return the programme as source:org:programme."""
        return programme_ref(self.account_id, self.programme)


class HolderHistory(NamedTuple):
    """Accounts, lots and lines of one holder and of the holders merged with it. Lines of an account are in order."""

    accounts: Mapping[str, AccountHistory]
    lots: Mapping[str, LotHistory]
    lines: Sequence[HistoryLine]


def lapses_until(history: HolderHistory, until: datetime) -> list[HistoryLine]:
    """Build a line for each lot that lapsed by `until` after its account's last fact. No event reports these lapses."""
    lots: dict[str, list[LotHistory]] = {}
    for lot in history.lots.values():
        lots.setdefault(lot.account_id, []).append(lot)
    lines: list[HistoryLine] = []
    for account_id, lots_of_account in lots.items():
        account = history.accounts[account_id]
        lines += lapse_lines(account_id, account.available, account.last_at, lots_of_account, until)
    return lines


def lapse_lines(
    account_id: str, balance: Decimal, after: datetime, lots: Iterable[LotHistory], until: datetime
) -> list[HistoryLine]:
    """Build a line for each lot of an account that lapsed between two times. `balance` is the balance before them."""
    lines = []
    for lapsed_at, lot in lapsed_between(lots, after, until):
        balance -= lot.remaining
        postings = f'[["available","lapsed","{format_decimal(lot.remaining)}","{lot.lot_id}"]]'
        lines.append(HistoryLine(account_id, 0, lapsed_at, "Lapsed", -lot.remaining, balance, postings, None, None))
    return lines
