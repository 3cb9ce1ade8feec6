"""Rows of the accounts projection, built from the state of an account."""

from projections.accounts import drift
from projections.accounts.account import ZERO, Account, Adjustment, ExpiryReminder, Lot, PendingPromise
from projections.accounts.tables import PROMISE_CLASSES, AccountRow, AdjustmentRow, LotRow, PromiseRow, ReminderRow
from projections.programme_terms import programme_ref


def account_row(account: Account, holder: str) -> AccountRow:
    """Build the row of an account. Signs are those of the roll-forward.

    issued, converted, opening, unseen, received, merged and adjusted are above zero if they added points. All others
    are above zero if they took points.
    """
    classes = account.classes
    drift_since, drift_position = drift.first_sign(account)
    return AccountRow(
        account_id=account.account_id,
        holder=holder,
        customer=account.customer,
        programme=account.programme,
        unit=account.unit,
        available=account.available,
        promised=classes.get("promised", ZERO),
        debt=account.debt,
        opening=-classes.get("opening", ZERO),
        unseen=-classes.get("unseen", ZERO),
        lifetime=account.lifetime + (account.lifetime_opening or ZERO),
        issued=-classes.get("issued", ZERO),
        converted=-sum((classes.get(name, ZERO) for name in PROMISE_CLASSES), ZERO),
        redeemed=classes.get("redeemed", ZERO),
        expired=classes.get("expired", ZERO),
        lapsed=classes.get("lapsed", ZERO),
        reversed=classes.get("reversed", ZERO),
        sent=classes.get("sent", ZERO),
        received=-classes.get("received", ZERO),
        in_transit=classes.get("in_transit", ZERO),
        held=classes.get("held", ZERO),
        merged=-classes.get("merged", ZERO),
        adjusted=-classes.get("adjusted", ZERO),
        claimed=account.claimed,
        claimed_at=account.claimed_at,
        drift=account.drift,
        missing=drift.missing_points(account),
        drift_since=drift_since,
        agreed_at=account.agreed_at,
        lifetime_claimed=account.lifetime_claimed,
        expired_early=account.expired_early,
        expired_early_at=account.expired_early_at,
        expiry_claimed=account.expiry_claimed,
        expiry_claimed_on=account.expiry_claimed_on,
        incomplete=any(classes.get(name, ZERO) for name in ("unseen", "promises_unseen")) or bool(account.orphans),
        contested=account.contested,
        last_at=account.last_at,
        last_position=account.last_position,
        drift_position=drift_position,
        agreed_position=account.agreed_position,
        expired_early_position=account.expired_early_position,
    )


def lot_rows(account: Account) -> list[LotRow]:
    """Build the rows of all lots of an account."""
    programme = account.__dict__.get("programme_ref")  # the same text each time: rows are first compared by identity
    if programme is None:
        programme = account.__dict__["programme_ref"] = programme_ref(account.account_id, account.programme)
    return [lot_row(account, lot, programme) for lot in account.lots.values()]


def lot_row(account: Account, lot: Lot, programme: str) -> LotRow:
    """Build the row of a lot. `programme` has the form source:org:programme."""
    return LotRow(
        account.account_id,
        programme,
        account.unit,
        lot.lot_id,
        lot.origin,
        lot.points,
        lot.remaining,
        lot.redeemed,
        lot.sent,
        lot.removed,
        lot.expired,
        lot.returned,
        lot.expires_on,
        lot.lapses_at,
        lot.earned_at,
        lot.promotion,
        lot.bill,
        lot.bill_number,
        lot.asserted,
        lot.rule,
        lot.position,
    )


def adjustment_row(account: Account, adjustment: Adjustment) -> AdjustmentRow:
    return AdjustmentRow(
        account.account_id,
        adjustment.adjustment,
        adjustment.points,
        adjustment.adopted,
        adjustment.made_at,
        adjustment.by,
        adjustment.reversed_at,
        adjustment.reversed_by,
        adjustment.position,
        adjustment.reversal_position,
    )


def promise_row(account: Account, pending: PendingPromise) -> PromiseRow:
    return PromiseRow(
        account.account_id,
        pending.promise_id,
        pending.points,
        pending.remaining,
        pending.converted,
        pending.cancelled,
        pending.returned,
        pending.converts_on,
        pending.external,
        pending.bill,
        pending.bill_number,
        pending.promised_at,
        pending.position,
    )


def reminder_row(account: Account, reminder: ExpiryReminder) -> ReminderRow:
    return ReminderRow(
        account.account_id, reminder.expires_on, reminder.claimed, reminder.held, reminder.at, reminder.position
    )
