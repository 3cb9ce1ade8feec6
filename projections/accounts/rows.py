"""Rows of the accounts projection, built from the state of an account."""

from collections.abc import Iterator
from datetime import datetime

from projections.accounts import drift
from projections.accounts.account import ZERO, Account, Debit, Lot, RedemptionDetails
from projections.accounts.classes import class_columns
from projections.accounts.tables import AccountRow, AdjustmentRow, LotRow, PromiseRow, RedemptionRow, ReminderRow
from projections.programme_terms import programme_ref
from projections.tables import Row, row_from


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


def lot_rows(account: Account) -> list[Row]:
    """Build the rows of all lots of an account.

    A lot keeps its row until a field changes. So the costs of a fact do not grow with the number of the holder's lots.
    """
    programme = programme_ref(account.account_id, account.programme)
    rows = []
    for lot in account.lots.values():
        row = lot.__dict__.get("row")
        if row is None or row.account_id != account.account_id:
            row = lot.__dict__["row"] = lot_row(account, lot, programme)
        rows.append(row)
    return rows


def lot_row(account: Account, lot: Lot, programme: str) -> Row:
    """Build the row of a lot. `programme` has the form source:org:programme."""
    return row_from(lot, LotRow, account_id=account.account_id, programme=programme, unit=account.unit)


def adjustment_rows(account: Account) -> list[Row]:
    made = account.adjustments.values()
    return [row_from(one, AdjustmentRow, account_id=account.account_id) for one in made]


def promise_rows(account: Account) -> list[Row]:
    return [row_from(promise, PromiseRow, account_id=account.account_id) for promise in account.pending.values()]


def reminder_rows(account: Account) -> list[Row]:
    reminders = account.reminders.values()
    return [row_from(one, ReminderRow, account_id=account.account_id) for one in reminders]


def redemption_rows(account: Account) -> Iterator[RedemptionRow]:
    """Yield the rows of all redemptions of an account. A debit keeps its row as a lot does."""
    for name, debit in account.debits.items():
        if debit.details is None:
            continue
        row = debit.__dict__.get("row")
        if row is None or (row.account_id, row.customer) != (account.account_id, account.customer):
            row = debit.__dict__["row"] = _redemption_row(account, name, debit, debit.details)
        yield row
    for name, orphan in account.orphans.items():
        if name in account.debits:
            continue
        yield _redemption_row(account, name, Debit(reversed=orphan.points), None)


def _redemption_row(account: Account, name: str, debit: Debit, details: RedemptionDetails | None) -> RedemptionRow:
    known = details or RedemptionDetails(redeemed_at=datetime.min, position=0)
    return RedemptionRow(
        account_id=account.account_id,
        redemption=name,
        customer=account.customer,
        programme=account.programme,
        unit=account.unit,
        points=debit.points if details else None,
        reversed=debit.reversed,
        reversal=_reversal(debit) if details else "unknown",
        lapsed_again=known.lapsed_again,
        value=known.value,
        value_of_all=known.value_of_all,
        ratio=known.ratio,
        bill_number=known.bill_number,
        request=known.request,
        by_group=known.by_group,
        has_notes=known.has_notes,
        redeemed_at=details.redeemed_at if details else None,
        reversed_at=known.reversed_at,
        position=details.position if details else None,
    )


def _reversal(debit: Debit) -> str:
    if debit.reversed == ZERO:
        return "none"
    return "fully" if debit.reversed >= debit.points else "partly"
