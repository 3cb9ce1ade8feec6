"""An account for a page: its figures, the course of its balance, and its statement from the newest line back.

An account may hold ten thousand open lots. Pages show their sums by day, so the lots themselves stay in the database.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from projections.accounts.lapses import has_lapsed
from service.queries.accounts import (
    AccountView,
    account_json,
    lapses_since,
    load_account,
    lot_json,
    statement_line_json,
)
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext

BALANCES_MAX = 20_000  # lines of a chart; the newest are kept
LOTS_MAX = 500

BALANCES = """
    SELECT occurred_at, balance FROM statement
     WHERE ledger_id = $1 AND account_id = $2 AND occurred_at <= $3 ORDER BY line DESC LIMIT $4
"""
STATEMENT_BACKWARDS = """
    SELECT * FROM statement WHERE ledger_id = $1 AND account_id = $2 AND line < $3 AND occurred_at <= $5
     ORDER BY line DESC LIMIT $4
"""
FALLS_BACKWARDS = """
    SELECT * FROM statement WHERE ledger_id = $1 AND account_id = $2 AND line < $3 AND occurred_at <= $5 AND points < 0
     ORDER BY line DESC LIMIT $4
"""
LAST_LINE = """
    SELECT line FROM statement WHERE ledger_id = $1 AND account_id = $2 AND occurred_at <= $3
     ORDER BY line DESC LIMIT 1
"""
# Of a stored account: the lots that lapsed since its last fact. No event reports them, so its row still counts them.
LAPSED_LOTS = """
    SELECT * FROM lots WHERE ledger_id = $1 AND account_id = $2 AND remaining > 0 AND lapses_at > $3 AND lapses_at <= $4
     ORDER BY expires_on, earned_at, lot_id
"""
DAYS = """
    SELECT expires_on, sum(remaining) AS points, count(*) AS lots, bool_or(lapses_at IS NOT NULL) AS lapses
      FROM lots WHERE ledger_id = $1 AND account_id = $2 AND remaining > 0 AND (lapses_at IS NULL OR lapses_at > $3)
     GROUP BY expires_on ORDER BY expires_on NULLS LAST
"""
LOTS_BY_DAY = """
    SELECT * FROM lots WHERE ledger_id = $1 AND account_id = $2
     ORDER BY remaining > 0 DESC, expires_on NULLS LAST, earned_at, lot_id LIMIT $3
"""
LOTS_BY_ID = "SELECT * FROM lots WHERE ledger_id = $1 AND account_id = $2 AND lot_id = ANY ($3)"
PARKED = """
    SELECT parked_position FROM subjects
     WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = $2 AND parked IS NOT NULL
"""
LINE_AFTER_ALL = 2**31 - 1

Lapses = Sequence[Mapping[str, Any]]  # statement lines of lapses that no event reports


class BalanceAt(NamedTuple):
    """The balance from a time on."""

    at: datetime
    balance: Decimal


class StatementPage(NamedTuple):
    """Statement lines, newest first. `older` is the number for the next page; None if there is none."""

    lines: Sequence[Mapping[str, Any]]
    older: int | None


class LastDay(NamedTuple):
    """The open lots of one last day. The day is None for lots that never lapse."""

    expires_on: date | None
    points: Decimal
    lots: int
    lapses: bool


async def load_account_to_show(query: QueryContext, name: str, times: AsOfQuery) -> AccountView:
    """Return an account as of a time and a position. Raises SubjectUnknown.

    The lots of a stored account are those that lapsed since its last fact. A folded account has all its lots.
    """
    view = await load_account(query, name, times)
    if view.lines is not None:
        return view
    row, ledger_id = view.row, query.ledger.ledger_id
    lots = await query.connection.fetch(LAPSED_LOTS, ledger_id, row["account_id"], row["last_at"], view.at)
    parked = await query.connection.fetchval(PARKED, ledger_id, row["subject"])
    return view._replace(lots=lots, parked=None if parked is None else {"parked_position": parked})


async def read_last_days(query: QueryContext, view: AccountView) -> list[LastDay]:
    """Return the open lots of an account by their last day, earliest first. Lots without one are last."""
    if view.lines is None:
        rows = await query.connection.fetch(DAYS, query.ledger.ledger_id, view.row["account_id"], view.at)
        return [LastDay(*row) for row in rows]
    lots = [lot for lot in view.lots if lot["remaining"] and not has_lapsed(lot["lapses_at"], view.at)]
    days = []
    for day, of_day in groupby(lots, key=lambda lot: lot["expires_on"]):
        some = list(of_day)
        points = sum((lot["remaining"] for lot in some), Decimal(0))
        days.append(LastDay(day, points, len(some), any(lot["lapses_at"] is not None for lot in some)))
    return days


def figures_of(view: AccountView, lapses: Lapses, days: Sequence[LastDay]) -> dict[str, Any]:
    """Return the figures of an account as JSON, with its next lapse and without its lots."""
    figures = account_json(view, lapses)
    del figures["lots"]
    coming = next((day for day in days if day.lapses), None)
    figures["next_lapse"] = coming and {"expires_on": coming.expires_on, "points": coming.points}
    return figures


async def read_balances(query: QueryContext, view: AccountView, lapses: Lapses) -> list[BalanceAt]:
    """Return the course of the balance, oldest first, lapses included: at most BALANCES_MAX lines."""
    if view.lines is not None:
        course = [BalanceAt(line.occurred_at, line.balance) for line in view.lines][-BALANCES_MAX:]
    else:
        name = view.row["account_id"]
        rows = await query.connection.fetch(BALANCES, query.ledger.ledger_id, name, view.at, BALANCES_MAX)
        course = [BalanceAt(*row) for row in reversed(rows)]
    return [*course, *(BalanceAt(line["occurred_at"], line["balance"]) for line in lapses)]


def lapses_of(view: AccountView) -> Lapses:
    """Return the statement lines for the lapses after the last fact, oldest first. No event reports them."""
    return lapses_since(view.row, view.lots, view.at)


async def read_statement(
    query: QueryContext, view: AccountView, lapses: Lapses, before: int | None, limit: int, *, falls: bool = False
) -> StatementPage:
    """Return the statement lines before a number, newest first. With `falls`, only lines that took points.

    The lapses after the last fact are numbered on from the last line.
    """
    first = LINE_AFTER_ALL if before is None else before
    last = await _last_line(query, view)
    numbered = [(number, lapse) for number, lapse in enumerate(lapses, last + 1) if number < first]
    shown = numbered[::-1][:limit]
    lines = [lapse for _, lapse in shown]
    if len(lines) == limit:
        return StatementPage(lines, shown[-1][0])
    rows = await _stored_lines(query, view, min(first, last + 1), limit - len(lines), falls=falls)
    older = rows[-1]["line"] if len(rows) == limit - len(lines) else None
    return StatementPage([*lines, *(statement_line_json(row) for row in rows)], older)


async def _last_line(query: QueryContext, view: AccountView) -> int:
    """Return the number of the last line up to the time of the view."""
    if view.lines is not None:
        return view.lines[-1].line if view.lines else 0
    account_id = view.row["account_id"]
    return await query.connection.fetchval(LAST_LINE, query.ledger.ledger_id, account_id, view.at) or 0


async def _stored_lines(
    query: QueryContext, view: AccountView, before: int, limit: int, *, falls: bool
) -> Sequence[Mapping[str, Any]]:
    """Return at most `limit` lines before a number, newest first."""
    if view.lines is not None:
        chosen = (line for line in reversed(view.lines) if line.line < before and (not falls or line.points < 0))
        return [line._asdict() for line, _ in zip(chosen, range(limit), strict=False)]
    statement = FALLS_BACKWARDS if falls else STATEMENT_BACKWARDS
    rows: Sequence[Mapping[str, Any]] = await query.connection.fetch(
        statement, query.ledger.ledger_id, view.row["account_id"], before, limit, view.at
    )
    return rows


async def read_lots(query: QueryContext, name: str, times: AsOfQuery) -> tuple[AccountView, list[dict[str, Any]]]:
    """Return an account and its lots, used ones too: open lots first, then by the last day. At most LOTS_MAX + 1."""
    view = await load_account(query, name, times)
    lots = view.lots
    if view.lines is None:
        account = view.row["account_id"]
        lots = await query.connection.fetch(LOTS_BY_DAY, query.ledger.ledger_id, account, LOTS_MAX + 1)
    return view, [lot_json(lot, times.at) for lot in lots]


async def lots_by_id(query: QueryContext, view: AccountView, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return some lots of an account by their ids."""
    lots: Sequence[Mapping[str, Any]] = view.lots
    if view.lines is None:
        lots = await query.connection.fetch(LOTS_BY_ID, query.ledger.ledger_id, view.row["account_id"], list(ids))
    return {lot["lot_id"]: lot_json(lot, view.at) for lot in lots if lot["lot_id"] in ids}
