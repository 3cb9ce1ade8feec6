"""Computes the trial balance and the liability of a ledger from account histories, streamed from one database
snapshot."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.background import give_way
from ledger.database import Connection
from projections.accounts import ACCOUNTS
from projections.accounts.classes import CONTRA_CLASSES, PLAIN_CLASSES
from projections.engine.programme_terms import load_terms
from projections.queries.account_history import histories, snapshot
from projections.queries.roll_forward import (
    MOVEMENT_NAMES,
    STATE_CLASSES,
    RollForward,
    RollForwardQuery,
    RollForwardRow,
    TieOut,
)
from projections.queries.trial_balance import TrialBalance

# Accounts whose columns do not sum to zero. Any such account means a wrong rule. Promised points are not included, and
# `available` is the sum of the open lots and the debt.
UNBALANCED = f"""
    SELECT count(*) FROM accounts
     WHERE ledger_id = $1 AND available + {" + ".join(name for name in PLAIN_CLASSES if name != "promised")}
           <> converted + {" + ".join(name for name in CONTRA_CLASSES if name != "debt")}
"""  # noqa: S608 - names of our own classes


class Liability(NamedTuple):
    """A roll-forward: rows by vintage, totals without vintages, and the comparison with the accounts."""

    rows: list[RollForwardRow]
    totals: list[RollForwardRow]
    ties: list[TieOut]


async def read_trial_balance(
    connection: Connection, ledger_id: int, at: datetime, position: int | None
) -> TrialBalance:
    """Sum all accounts of a ledger as of a time, as known at a position (None: now)."""
    balance = TrialBalance(at)
    async with snapshot(connection):
        async for history in histories(connection, ledger_id, position):
            for _ in balance.adding(history):
                await give_way()
    return balance


async def count_unbalanced(connection: Connection, ledger_id: int) -> int:
    """Count the accounts whose current rows do not sum to zero."""
    count: int = await connection.fetchval(UNBALANCED, ledger_id)
    return count


async def roll_forward(
    connection: Connection, ledger_id: int, query: RollForwardQuery, position: int | None
) -> RollForward:
    """Roll the outstanding points forward over some days, as known at a position (None: now)."""
    async with snapshot(connection):
        terms = await load_terms(connection, ledger_id, ACCOUNTS, position)
        rolled = RollForward(query, terms)
        async for history in histories(connection, ledger_id, position):
            for _ in rolled.adding(history):
                await give_way()
    return rolled


def liability_row_json(row: RollForwardRow) -> dict[str, Any]:
    """Return a row as flat JSON: its key, the roll-forward, states with the prefix "state_", and the value. The value
    uses the ratio in effect on the last day.
    """
    worth = row.worth
    return {
        "programme": row.key.programme,
        "unit": row.key.unit,
        "from": row.key.period,
        "to": row.last_day,
        "vintage": month_of(row.key.vintage),
        "opening": row.opening,
        **{name: row.movements[name] for name in MOVEMENT_NAMES},
        "closing": row.closing,
        **{f"closing_{name}": row.states[name] for name in STATE_CLASSES},
        "value": None if worth is None else value_of(row.closing, worth.ratio),
        "currency": None if worth is None else worth.currency,
    }


def value_of(points: Decimal, ratio: Decimal) -> Decimal:
    """Return the exact value of points."""
    return points * ratio


def month_of(day: date | None) -> str | None:
    """Return the month of a day, such as "2026-03"."""
    return None if day is None else f"{day:%Y-%m}"
