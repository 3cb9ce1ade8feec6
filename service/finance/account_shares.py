"""The accounts behind a figure of finance: each account's share of a roll-forward, or of a class of the trial balance.

The shares of all accounts sum to the figure, because each is computed by the same rules over one account.
"""

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.background import give_way
from ledger.database import Connection
from projections.accounts import ACCOUNTS
from projections.accounts.account import ZERO
from projections.engine.programme_terms import load_terms
from projections.queries.account_history import histories, snapshot
from projections.queries.holder_history import HolderHistory
from projections.queries.roll_forward import MOVEMENT_NAMES, RollForward, RollForwardQuery
from projections.queries.trial_balance import TrialBalance

SHARES_MAX = 1_000  # the accounts with the largest shares are kept
FIGURES = ("opening", *MOVEMENT_NAMES, "closing")


class AccountShare(NamedTuple):
    """One account's share of a figure. Of a roll-forward it has the other figures too, by name."""

    account: str
    points: Decimal
    figures: dict[str, Decimal]


class Shares(NamedTuple):
    """The largest shares of a figure, the number of accounts with a share, and the sum of all shares."""

    largest: list[AccountShare]
    accounts: int
    total: Decimal


async def shares_of_roll_forward(
    connection: Connection, ledger_id: int, wanted: RollForwardQuery, figure: str, position: int | None
) -> Shares:
    """Return the accounts behind one figure of a roll-forward over the days of `wanted`."""
    async with snapshot(connection):
        terms = await load_terms(connection, ledger_id, ACCOUNTS, position)

        async def share(history: HolderHistory, account_id: str) -> AccountShare | None:
            account = history.accounts[account_id]
            if wanted.programme not in (None, account.programme_ref) or wanted.unit not in (None, account.unit):
                return None
            rolled = RollForward(wanted, terms)
            for _ in rolled.adding(history):
                await give_way()
            figures = rolled.totals()
            return AccountShare(account_id, figures[figure], figures)

        return await _collect(histories(connection, ledger_id, position), share)


async def shares_of_class(
    connection: Connection, ledger_id: int, programme: str, unit: str, name: str, at: datetime, position: int | None
) -> Shares:
    """Return the accounts behind the sum of one class in the trial balance."""

    async def share(history: HolderHistory, account_id: str) -> AccountShare | None:
        account = history.accounts[account_id]
        if (account.programme_ref, account.unit) != (programme, unit):
            return None
        balance = TrialBalance(at)
        for _ in balance.adding(history):
            await give_way()
        points = sum((sums.classes.get(name, ZERO) for sums in balance.sums()), ZERO)
        return AccountShare(account_id, points, {})

    async with snapshot(connection):
        return await _collect(histories(connection, ledger_id, position), share)


async def _collect(
    read: AsyncIterator[HolderHistory], share: Callable[[HolderHistory, str], Awaitable[AccountShare | None]]
) -> Shares:
    """Keep the SHARES_MAX largest shares that are not 0, and sum all.

    Other tasks run between some holders, as `histories` decides, and within a long history.
    """
    kept: list[tuple[Decimal, str, AccountShare]] = []
    count, total = 0, ZERO
    async for history in read:
        for of_account, account_id in _single_accounts(history):
            found = await share(of_account, account_id)
            if found is None or not found.points:
                continue
            count, total = count + 1, total + found.points
            item = (abs(found.points), account_id, found)
            if len(kept) < SHARES_MAX:
                heapq.heappush(kept, item)
            else:
                heapq.heappushpop(kept, item)
    return Shares([one for _, _, one in sorted(kept, reverse=True)], count, total)


def _single_accounts(history: HolderHistory) -> Iterator[tuple[HolderHistory, str]]:
    """Yield the history of each account of a holder alone."""
    if len(history.accounts) == 1:
        yield history, next(iter(history.accounts))
        return
    for account_id, account in history.accounts.items():
        lots = {name: lot for name, lot in history.lots.items() if lot.account_id == account_id}
        lines = [line for line in history.lines if line.account_id == account_id]
        yield HolderHistory({account_id: account}, lots, lines), account_id
