"""The tables of the accounts projection, and how an account becomes their rows."""

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from projections.accounts import drift
from projections.accounts.lots import OF_PROMISES, ZERO, Account, Adjustment, Lot, Pending, Reminder
from projections.definition import Table
from projections.programme_terms import programme_of


class AccountRow(NamedTuple):
    account_id: str
    holder: str  # who holds its points now: the survivor, where the account's own holder was merged away
    customer: str
    programme: str
    unit: str
    available: Decimal  # after the last fact; lots may have lapsed since: see `lots`
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
    adjusted: Decimal  # above zero: were added
    claimed: Decimal | None
    claimed_at: datetime | None
    drift: Decimal
    missing: Decimal  # the drift, and the history asserted since claims began: what events that never came held
    drift_since: datetime | None  # the event that first shows it
    agreed_at: datetime | None  # the last claim before it with which everything agreed
    lifetime_claimed: Decimal | None
    expired_early: Decimal  # reported as expired before it was due
    expired_early_at: datetime | None
    expiry_claimed: Decimal | None
    expiry_claimed_on: date | None
    incomplete: bool  # history that we have not seen
    contested: bool
    last_at: datetime | None
    last_position: int
    drift_position: int | None
    agreed_position: int | None
    expired_early_position: int


PROMISES_CLASSES = ("promised", *OF_PROMISES.values())

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
    rule: str | None  # the version of the terms that gave the day; None where the vendor did, or nothing does
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
    returned: Decimal  # of the converted ones, taken back since
    converts_on: date | None
    external: bool  # converted on a trigger of the vendor's, on no day
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
    account_id: str  # who holds the points now
    adjustment: str
    points: Decimal  # above zero: added
    adopted: bool  # it took the vendor's claim for true
    made_at: datetime | None  # None where only the reversal was told
    made_by: str | None  # a key
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
    claimed: Decimal  # what the vendor last announced to lapse on that day
    held: Decimal  # what the lots of that day held then
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


def account_row(account: Account, holder: str) -> AccountRow:
    """Write an account down. What gave points is shown above zero where it gave, what took them where it took, by the
    names and signs of the roll-forward: issued, converted, opening, unseen, received, merged and adjusted gave."""
    classes = account.classes
    drift_since, drift_position = drift.since(account)
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
        converted=-sum((classes.get(name, ZERO) for name in PROMISES_CLASSES), ZERO),
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
        missing=drift.missing(account),
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
    """Write the lots of an account down."""
    programme = account.__dict__.get("programme_ref")  # the same text each time: rows are first compared by identity
    if programme is None:
        programme = account.__dict__["programme_ref"] = programme_of(account.account_id, account.programme)
    return [lot_row(account, lot, programme) for lot in account.lots.values()]


def lot_row(account: Account, lot: Lot, programme: str) -> LotRow:
    """Write a lot down; `programme` is its account's, as source:org:programme."""
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


def adjustment_row(account: Account, one: Adjustment) -> AdjustmentRow:
    return AdjustmentRow(
        account.account_id,
        one.adjustment,
        one.points,
        one.adopted,
        one.made_at,
        one.by,
        one.reversed_at,
        one.reversed_by,
        one.position,
        one.reversal_position,
    )


def promise_row(account: Account, pending: Pending) -> PromiseRow:
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


def reminder_row(account: Account, one: Reminder) -> ReminderRow:
    return ReminderRow(account.account_id, one.expires_on, one.claimed, one.held, one.at, one.position)
