"""Tables of the accounts projection, and the rows built from an account."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from projections.tables import Identifier, Position, SqlType, Table


class AccountRow(NamedTuple):
    account_id: Identifier
    holder: Annotated[Identifier, "present holder of the points: after a merge, the survivor"]
    customer: Identifier
    programme: str
    unit: str
    available: Annotated[Decimal, "after the last fact; lots may have lapsed since then, see `lots`"]
    promised: Decimal
    debt: Decimal
    opening: Decimal
    unseen: Decimal
    lifetime: Decimal
    issued: Annotated[Decimal, "without promised points"]
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
    adjusted: Annotated[Decimal, "above zero: added"]
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
        "available": "(ledger_id, available, account_id)",
        "changed": "(ledger_id, last_position, account_id)",
        "debt": "(ledger_id, account_id) WHERE debt > 0",
        "drift": "(ledger_id, account_id) WHERE drift <> 0 OR missing <> 0",
        "flagged": "(ledger_id, account_id) WHERE incomplete OR contested",
        "expired_early": "(ledger_id, account_id) WHERE expired_early > 0",
    },
    key=("account_id",),
    unique_key=True,
)


class LotRow(NamedTuple):
    account_id: Identifier
    programme: Annotated[Identifier, "source:org:programme"]
    unit: Identifier
    lot_id: Identifier
    origin: str
    points: Decimal
    remaining: Annotated[Decimal, SqlType("numeric CHECK (remaining >= 0)")]
    redeemed: Decimal
    sent: Decimal
    removed: Decimal
    expired: Decimal
    returned: Decimal
    expires_on: date | None
    lapses_at: datetime | None
    earned_at: datetime
    promotion: str | None
    bill: str | None
    bill_number: str | None
    asserted: bool
    rule: Annotated[str | None, "version of the terms that gave the day; null if the vendor gave it, or nothing did"]
    position: Position


LOTS = Table(
    "lots",
    LotRow,
    {
        "lapses": "(ledger_id, programme, expires_on, unit) INCLUDE (account_id, remaining) "
        "WHERE remaining > 0 AND expires_on IS NOT NULL",
        "due": "(ledger_id, lapses_at, account_id, lot_id) WHERE remaining > 0 AND lapses_at IS NOT NULL",
    },
    key=("account_id", "lot_id"),
    unique_key=True,
)


class PromiseRow(NamedTuple):
    account_id: Identifier
    promise_id: Identifier
    points: Decimal
    remaining: Annotated[Decimal, "still to come"]
    converted: Decimal
    cancelled: Decimal
    returned: Annotated[Decimal, "converted points that were taken back later"]
    converts_on: date | None
    external: Annotated[bool, "converted on the vendor's trigger, not on a day"]
    bill: str | None
    bill_number: str | None
    promised_at: datetime
    position: Position


PROMISES = Table(
    "promises",
    PromiseRow,
    {"open": "(ledger_id, converts_on, account_id, promise_id) WHERE remaining > 0"},
    key=("account_id", "promise_id"),
    unique_key=True,
)


class AdjustmentRow(NamedTuple):
    account_id: Annotated[Identifier, "present account of the points"]
    adjustment: Identifier
    points: Annotated[Decimal, "above zero: added"]
    adopted: Annotated[bool, "it accepted the vendor's claim"]
    made_at: Annotated[datetime | None, "null if only the reversal was recorded"]
    made_by: Annotated[str | None, "an API key"]
    reversed_at: datetime | None
    reversed_by: str | None
    position: Position
    reversal_position: Position


ADJUSTMENTS = Table("adjustments", AdjustmentRow, key=("account_id", "adjustment"), unique_key=True)


class ReminderRow(NamedTuple):
    account_id: Identifier
    expires_on: date
    claimed: Annotated[Decimal, "points last announced to lapse on that day"]
    held: Annotated[Decimal, "points that the lots of that day held then"]
    claimed_at: datetime
    position: Position


REMINDERS = Table(
    "reminders",
    ReminderRow,
    {"differ": "(ledger_id, account_id, expires_on) WHERE claimed <> held"},
    key=("account_id", "expires_on"),
    unique_key=True,
)
