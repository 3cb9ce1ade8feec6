"""Tables of the accounts projection, and the rows built from an account."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from projections.accounts.account import Adjustment, ExpiryReminder, Lot, PendingPromise
from projections.tables import Identifier, Position, Table, sort_key_of


class AccountRow(NamedTuple):
    """Accounts with the sums of their points: by customer and programme, by holder, or by loyalty card."""

    account_id: Identifier
    holder: Annotated[Identifier, "present holder of the points: after a merge, the survivor"]
    customer: Identifier
    programme: str
    unit: str
    unit_name: Annotated[str | None, "the vendor's name of an alternate currency"]
    card_code: Annotated[Identifier | None, "the code of the loyalty card that holds the points"]
    available: Annotated[Decimal, "after the last fact; lots may have lapsed since then, see `lots`"]
    promised: Decimal
    debt: Decimal
    opening: Decimal
    unseen: Decimal
    lifetime: Decimal
    issued: Annotated[Decimal, "points earned, without promised ones"]
    converted: Annotated[Decimal, "promised points that became spendable"]
    redeemed: Decimal
    expired: Decimal
    lapsed: Decimal
    reversed: Decimal
    sent: Decimal
    received: Decimal
    in_transit: Decimal
    held: Decimal
    merged: Annotated[Decimal, "above zero: came by merges"]
    adjusted: Annotated[Decimal, "points that operators added, net of those taken away"]
    claimed: Decimal | None
    claimed_at: datetime | None
    drift: Decimal
    missing: Annotated[Decimal, "drift plus unseen points since claims began: the points of events that never arrived"]
    drift_since: Annotated[datetime | None, "the event that first shows it"]
    agreed_at: Annotated[datetime | None, "the last claim without drift or unseen points"]
    lifetime_claimed: Decimal | None
    expired_early: Annotated[Decimal, "reported as expired before the lot's day"]
    expired_early_at: datetime | None
    expiry_claimed: Decimal | None
    expiry_claimed_on: date | None
    incomplete: Annotated[bool, "earlier history was never reported"]
    contested: bool
    last_at: datetime | None
    last_position: Position
    drift_position: Position | None
    agreed_position: Position | None
    expired_early_position: Position


ACCOUNTS = Table(
    "accounts",
    AccountRow,
    {
        "programme": "(ledger_id, programme, account_id)",
        "unit": "(ledger_id, unit, account_id)",
        "described": "(ledger_id, programme, last_position)",
        "card_code": "(ledger_id, card_code, account_id) WHERE card_code IS NOT NULL",
        "available": "(ledger_id, sort_available, account_id)",
        "changed": "(ledger_id, last_position, account_id)",
        "debt": "(ledger_id, account_id) WHERE debt > 0",
        "drift": "(ledger_id, account_id) WHERE drift <> 0 OR missing <> 0",
        "flagged": "(ledger_id, account_id) WHERE incomplete OR contested",
        "expired_early": "(ledger_id, account_id) WHERE expired_early > 0",
    },
    sort_keys={"sort_available": sort_key_of("available")},
    key=("account_id",),
    unique_key=True,
)


class LotRow(Lot, kw_only=True):
    """Points that were earned together and lapse together."""

    account_id: Identifier
    programme: Annotated[Identifier, "the programme: source:org:programme"]
    unit: Identifier


LOTS = Table(
    "lots",
    LotRow,
    {
        "lapses": "(ledger_id, programme, expires_on, unit) INCLUDE (account_id, remaining) "
        "WHERE remaining > 0 AND expires_on IS NOT NULL",
        "due": "(ledger_id, lapses_at, account_id, lot_id) WHERE remaining > 0 AND lapses_at IS NOT NULL",
        "dated": "(ledger_id, account_id, lapses_at) WHERE remaining > 0 AND lapses_at IS NOT NULL",
        "promotion": "(ledger_id, promotion, account_id, lot_id) WHERE promotion IS NOT NULL",
        "bill": "(ledger_id, bill, account_id, lot_id) WHERE bill IS NOT NULL",
        "bill_number": "(ledger_id, bill_number, account_id, lot_id) WHERE bill_number IS NOT NULL",
    },
    key=("account_id", "lot_id"),
    unique_key=True,
)


class PromiseRow(PendingPromise, kw_only=True):
    """Promised points before they are due, converted or cancelled: the amount, the day or the trigger, the bill."""

    account_id: Identifier


PROMISES = Table(
    "promises",
    PromiseRow,
    {
        "open": "(ledger_id, converts_on, account_id, promise_id) WHERE remaining > 0",
        "bill": "(ledger_id, bill, account_id, promise_id) WHERE bill IS NOT NULL",
        "bill_number": "(ledger_id, bill_number, account_id, promise_id) WHERE bill_number IS NOT NULL",
    },
    key=("account_id", "promise_id"),
    unique_key=True,
)


class AdjustmentRow(Adjustment, kw_only=True):
    """Adjustments by operators, and their reversals."""

    account_id: Annotated[Identifier, "present account of the points"]


ADJUSTMENTS = Table("adjustments", AdjustmentRow, key=("account_id", "adjustment"), unique_key=True)


class ReminderRow(ExpiryReminder, kw_only=True):
    """Points that the vendor announced to lapse, compared with the lots."""

    account_id: Identifier


REMINDERS = Table(
    "reminders",
    ReminderRow,
    {"differ": "(ledger_id, account_id, expires_on) WHERE claimed <> held"},
    key=("account_id", "expires_on"),
    unique_key=True,
)


class RedemptionRow(NamedTuple):
    """Points spent, one row for each account that paid: the value, the ratio, and points given back by a reversal."""

    account_id: Annotated[Identifier, "present account of the points"]
    redemption: Identifier
    customer: Identifier
    programme: str
    unit: str
    points: Annotated[Decimal | None, "paid by this account; null if only a reversal was recorded"]
    reversed: Annotated[Decimal, "points given back"]
    reversal: Annotated[str, "none, partly, fully; unknown if only a reversal was recorded"]
    lapsed_again: Annotated[Decimal, "points given back to lots whose day was over"]
    value: Annotated[Decimal | None, "money that the points paid, in the programme's currency"]
    value_of_all: Annotated[Decimal | None, "of all programmes together, if the vendor states only that"]
    ratio: Annotated[Decimal | None, "worth of one point at that time"]
    bill_number: Identifier | None
    request: str | None
    by_group: Annotated[bool, "a group of customers redeemed the points together"]
    has_notes: Annotated[bool, "the event holds notes, encrypted"]
    redeemed_at: datetime | None
    reversed_at: Annotated[datetime | None, "the time of the last reversal"]
    position: Annotated[Position | None, "the position of the redemption"]


REDEMPTIONS = Table(
    "redemptions",
    RedemptionRow,
    {
        "redemption": "(ledger_id, redemption, account_id)",
        "bill": "(ledger_id, bill_number, account_id, redemption) WHERE bill_number IS NOT NULL",
        "reversed": "(ledger_id, account_id, redemption) WHERE reversed > 0",
    },
    key=("account_id", "redemption"),
    unique_key=True,
)
