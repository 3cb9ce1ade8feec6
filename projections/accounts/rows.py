"""Rows of the accounts projection, built from the state of an account."""

from projections.accounts import drift
from projections.accounts.account import ZERO, Account, Lot
from projections.accounts.classes import class_columns
from projections.accounts.tables import AccountRow, AdjustmentRow, LotRow, PromiseRow, ReminderRow
from projections.programme_terms import programme_ref
from projections.tables import row_from


def account_row(account: Account, holder: str) -> AccountRow:
    """Build the row of an account. Signs are those of the roll-forward.

    issued, converted, opening, unseen, received, merged and adjusted are above zero if they added points. All others
    are above zero if they took points.
    """
    drift_since, drift_position = drift.first_sign(account)
    return row_from(
        account,
        AccountRow,
        **class_columns(account.classes),
        holder=holder,
        lifetime=account.lifetime + (account.lifetime_opening or ZERO),
        missing=drift.missing_points(account),
        drift_since=drift_since,
        drift_position=drift_position,
        incomplete=any(account.classes.get(name) for name in ("unseen", "promises_unseen")) or bool(account.orphans),
    )


def lot_rows(account: Account) -> list[LotRow]:
    """Build the rows of all lots of an account."""
    programme = account.__dict__.get("programme_ref")  # the same text each time: rows are first compared by identity
    if programme is None:
        programme = account.__dict__["programme_ref"] = programme_ref(account.account_id, account.programme)
    return [lot_row(account, lot, programme) for lot in account.lots.values()]


def lot_row(account: Account, lot: Lot, programme: str) -> LotRow:
    """Build the row of a lot. `programme` has the form source:org:programme."""
    return row_from(lot, LotRow, account_id=account.account_id, programme=programme, unit=account.unit)


def adjustment_rows(account: Account) -> list[AdjustmentRow]:
    made = account.adjustments.values()
    return [row_from(one, AdjustmentRow, account_id=account.account_id, made_by=one.by) for one in made]


def promise_rows(account: Account) -> list[PromiseRow]:
    return [row_from(promise, PromiseRow, account_id=account.account_id) for promise in account.pending.values()]


def reminder_rows(account: Account) -> list[ReminderRow]:
    reminders = account.reminders.values()
    return [row_from(one, ReminderRow, account_id=account.account_id, claimed_at=one.at) for one in reminders]
