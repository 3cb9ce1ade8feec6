"""Tables of the accounts projection, and the rows built from an account."""

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from projections.accounts.lots import PROMISE_CLASS_OF
from projections.definition import Table


class AccountRow(NamedTuple):
    account_id: str
    holder: str  # present holder of the points: after a merge, the survivor
    customer: str
    programme: str
    unit: str
    available: Decimal  # after the last fact; lots may have lapsed since then, see `lots`
    promised: Decimal
    debt: Decimal
    opening: Decimal
    unseen: Decimal
    lifetime: Decimal
    issued: Decimal  # without promised points
    converted: Decimal  # promised points that became spendable
    redeemed: Decimal
    expired: Decimal
    lapsed: Decimal
    reversed: Decimal
    sent: Decimal
    received: Decimal
    in_transit: Decimal
    held: Decimal
    merged: Decimal  # above zero: came by merges
    adjusted: Decimal  # above zero: added
    claimed: Decimal | None
    claimed_at: datetime | None
    drift: Decimal
    missing: Decimal  # drift plus unseen points since claims began: the points of events that never arrived
    drift_since: datetime | None  # the event that first shows it
    agreed_at: datetime | None  # the last claim without drift or unseen points
    lifetime_claimed: Decimal | None
    expired_early: Decimal  # reported as expired before the lot's day
    expired_early_at: datetime | None
    expiry_claimed: Decimal | None
    expiry_claimed_on: date | None
    incomplete: bool  # earlier history was never reported
    contested: bool
    last_at: datetime | None
    last_position: int
    drift_position: int | None
    agreed_position: int | None
    expired_early_position: int


PROMISE_CLASSES = ("promised", *PROMISE_CLASS_OF.values())

ACCOUNTS = Table(
    name="accounts",
    create="""
        CREATE TABLE accounts (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            account_id text COLLATE "C" NOT NULL, holder text COLLATE "C" NOT NULL,
            customer text COLLATE "C" NOT NULL, programme text NOT NULL, unit text NOT NULL,
            available numeric NOT NULL, promised numeric NOT NULL, debt numeric NOT NULL, opening numeric NOT NULL,
            unseen numeric NOT NULL, lifetime numeric NOT NULL, issued numeric NOT NULL, converted numeric NOT NULL,
            redeemed numeric NOT NULL, expired numeric NOT NULL, lapsed numeric NOT NULL,
            reversed numeric NOT NULL, sent numeric NOT NULL,
            received numeric NOT NULL, in_transit numeric NOT NULL, held numeric NOT NULL, merged numeric NOT NULL,
            adjusted numeric NOT NULL,
            claimed numeric, claimed_at timestamptz, drift numeric NOT NULL, missing numeric NOT NULL,
            drift_since timestamptz, agreed_at timestamptz,
            lifetime_claimed numeric, expired_early numeric NOT NULL, expired_early_at timestamptz,
            expiry_claimed numeric, expiry_claimed_on date,
            incomplete boolean NOT NULL, contested boolean NOT NULL,
            last_at timestamptz, last_position bigint NOT NULL, drift_position bigint,
            agreed_position bigint, expired_early_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE accounts ADD PRIMARY KEY (ledger_id, account_id)",
        "CREATE INDEX accounts_subject ON accounts (ledger_id, subject)",
        "CREATE INDEX accounts_customer ON accounts (ledger_id, customer)",
        "CREATE INDEX accounts_programme ON accounts (ledger_id, programme, account_id)",
        "CREATE INDEX accounts_drift ON accounts (ledger_id, account_id) WHERE drift <> 0 OR missing <> 0",
        "CREATE INDEX accounts_flagged ON accounts (ledger_id, account_id) WHERE incomplete OR contested",
        "CREATE INDEX accounts_expired_early ON accounts (ledger_id, account_id) WHERE expired_early > 0",
    ),
    columns=AccountRow._fields,
    key=("account_id",),
)


class LotRow(NamedTuple):
    account_id: str
    programme: str  # source:org:programme
    unit: str
    lot_id: str
    origin: str
    points: Decimal
    remaining: Decimal
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
    rule: str | None  # version of the terms that gave the day; None if the vendor gave it, or nothing did
    position: int


LOTS = Table(
    name="lots",
    create="""
        CREATE TABLE lots (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            account_id text COLLATE "C" NOT NULL, programme text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL,
            lot_id text COLLATE "C" NOT NULL, origin text NOT NULL, points numeric NOT NULL,
            remaining numeric NOT NULL CHECK (remaining >= 0), redeemed numeric NOT NULL,
            sent numeric NOT NULL, removed numeric NOT NULL, expired numeric NOT NULL, returned numeric NOT NULL,
            expires_on date, lapses_at timestamptz, earned_at timestamptz NOT NULL,
            promotion text, bill text, bill_number text, asserted boolean NOT NULL, rule text,
            position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE lots ADD PRIMARY KEY (ledger_id, account_id, lot_id)",
        "CREATE INDEX lots_lapses ON lots (ledger_id, programme, expires_on, unit) "
        "INCLUDE (account_id, remaining) WHERE remaining > 0 AND expires_on IS NOT NULL",
        "CREATE INDEX lots_subject ON lots (ledger_id, subject)",
        "CREATE INDEX lots_due ON lots (ledger_id, lapses_at, account_id, lot_id) "
        "WHERE remaining > 0 AND lapses_at IS NOT NULL",
    ),
    columns=LotRow._fields,
    key=("account_id", "lot_id"),
)


class PromiseRow(NamedTuple):
    account_id: str
    promise_id: str
    points: Decimal
    remaining: Decimal  # still to come
    converted: Decimal
    cancelled: Decimal
    returned: Decimal  # converted points that were taken back later
    converts_on: date | None
    external: bool  # converted on the vendor's trigger, not on a day
    bill: str | None
    bill_number: str | None
    promised_at: datetime
    position: int


PROMISES = Table(
    name="promises",
    create="""
        CREATE TABLE promises (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            account_id text COLLATE "C" NOT NULL, promise_id text COLLATE "C" NOT NULL,
            points numeric NOT NULL, remaining numeric NOT NULL, converted numeric NOT NULL,
            cancelled numeric NOT NULL, returned numeric NOT NULL, converts_on date, external boolean NOT NULL,
            bill text, bill_number text, promised_at timestamptz NOT NULL, position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE promises ADD PRIMARY KEY (ledger_id, account_id, promise_id)",
        "CREATE INDEX promises_subject ON promises (ledger_id, subject)",
        "CREATE INDEX promises_open ON promises (ledger_id, converts_on, account_id, promise_id) WHERE remaining > 0",
    ),
    columns=PromiseRow._fields,
    key=("account_id", "promise_id"),
)


class AdjustmentRow(NamedTuple):
    account_id: str  # present account of the points
    adjustment: str
    points: Decimal  # above zero: added
    adopted: bool  # it accepted the vendor's claim
    made_at: datetime | None  # None if only the reversal was recorded
    made_by: str | None  # an API key
    reversed_at: datetime | None
    reversed_by: str | None
    position: int
    reversal_position: int


ADJUSTMENTS = Table(
    name="adjustments",
    create="""
        CREATE TABLE adjustments (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            account_id text COLLATE "C" NOT NULL, adjustment text COLLATE "C" NOT NULL,
            points numeric NOT NULL, adopted boolean NOT NULL, made_at timestamptz, made_by text,
            reversed_at timestamptz, reversed_by text, position bigint NOT NULL, reversal_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE adjustments ADD PRIMARY KEY (ledger_id, account_id, adjustment)",
        "CREATE INDEX adjustments_subject ON adjustments (ledger_id, subject)",
    ),
    columns=AdjustmentRow._fields,
    key=("account_id", "adjustment"),
)


class ReminderRow(NamedTuple):
    account_id: str
    expires_on: date
    claimed: Decimal  # points last announced to lapse on that day
    held: Decimal  # points that the lots of that day held then
    claimed_at: datetime
    position: int


REMINDERS = Table(
    name="reminders",
    create="""
        CREATE TABLE reminders (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            account_id text COLLATE "C" NOT NULL, expires_on date NOT NULL, claimed numeric NOT NULL,
            held numeric NOT NULL, claimed_at timestamptz NOT NULL, position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE reminders ADD PRIMARY KEY (ledger_id, account_id, expires_on)",
        "CREATE INDEX reminders_subject ON reminders (ledger_id, subject)",
        "CREATE INDEX reminders_differ ON reminders (ledger_id, account_id, expires_on) WHERE claimed <> held",
    ),
    columns=ReminderRow._fields,
    key=("account_id", "expires_on"),
)
