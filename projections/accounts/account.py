"""State of one account: lots, debits, promises, adjustments, claims, and the points in each class."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from msgspec import Struct, field

from projections.programme_terms import ProgrammeTerms
from projections.tables import Identifier, Position, SqlType, StateOnly

ZERO = Decimal(0)
NO_DAY = date.max.toordinal()
LotSortKey = tuple[int, datetime, str]  # sort key of a lot in the order of use
DEBT = ""  # lot id of the part of a debit that no lot paid


class RowKeeper(Struct, dict=True):
    """A part of an account that keeps its row until one of its fields is set (rows.py)."""

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field, and forget the row that was built before."""
        super().__setattr__(name, value)
        self.__dict__.pop("row", None)


class Lot(RowKeeper):
    """Points earned together that lapse together."""

    lot_id: Identifier
    # regular, promotional, unallocated, converted, transfer, reversal, adjustment; asserted lots: opening, unseen
    origin: str
    points: Decimal
    earned_at: datetime
    position: Position
    remaining: Annotated[Decimal, SqlType("numeric CHECK (remaining >= 0)")]
    expires_on: date | None = None
    lapses_at: datetime | None = None
    promotion: str | None = None
    bill: str | None = None
    bill_number: str | None = None
    redeemed: Decimal = ZERO
    sent: Decimal = ZERO
    removed: Decimal = ZERO
    expired: Decimal = ZERO
    returned: Decimal = ZERO
    asserted: bool = False
    holder: StateOnly[str | None] = None  # holder before a merge; None: the account's own holder
    rule: Annotated[
        str | None, "version of the terms that gave the day; null if the vendor gave it, or nothing did"
    ] = None

    def sort_key(self) -> LotSortKey:
        """Return the sort key of the lot in the order of use."""
        return (self.expires_on.toordinal() if self.expires_on else NO_DAY, self.earned_at, self.lot_id)


class LotUse(NamedTuple):
    """Points that one debit took from one lot, or left unpaid (DEBT)."""

    lot_id: str
    points: Decimal


class RedemptionDetails(Struct, frozen=True):
    """The details of a redemption as its first report states them, and its reversals."""

    redeemed_at: datetime
    position: int
    value: Decimal | None = None
    value_of_all: Decimal | None = None
    ratio: Decimal | None = None
    bill_number: str | None = None
    request: str | None = None
    by_group: bool = False
    has_notes: bool = False
    reversed_at: datetime | None = None
    lapsed_again: Decimal = ZERO  # given back to lots whose day was over


class Debit(RowKeeper):
    """One redemption, transfer or other debit, and the lots that pay it."""

    points: Decimal = ZERO
    reversed: Decimal = ZERO
    uses: list[LotUse] = []
    to: str = "redeemed"  # target class of the points
    details: RedemptionDetails | None = None  # of a redemption
    holder: str | None = None  # as in Lot


class ReturnedRange(Struct, array_like=True):
    """A range of the points ever taken back for one bill. `whole`: only the total was reported."""

    start: Decimal
    end: Decimal
    position: int
    whole: bool = False


class Orphan(Struct):
    """Points given back for a redemption that is not known yet, and the lots that hold them."""

    points: Decimal = ZERO
    lots: list[str] = []


NO_ORPHAN = Orphan()


class Posting(NamedTuple):
    """One line of double entry: points moved from one class of the account to another."""

    source: str
    target: str
    points: Decimal
    lot_id: str | None = None


class PendingPromise(Struct):
    """Promised points: still to come, converted into lots, or cancelled."""

    promise_id: Identifier
    points: Decimal
    remaining: Annotated[Decimal, "points still to come"]
    promised_at: datetime
    position: Position
    converted: Decimal = ZERO
    cancelled: Decimal = ZERO
    returned: Annotated[Decimal, "converted points that were taken back later"] = ZERO
    over: StateOnly[bool] = False  # kept or cancelled; only for promises with a vendor's name
    converts_on: date | None = None
    external: Annotated[bool, "converted on the vendor's trigger, not on a day"] = False
    promotion: Annotated[str | None, "the promotion that promised the points"] = None
    bill: str | None = None
    bill_number: str | None = None
    holder: StateOnly[str | None] = None  # as in Lot


class Adjustment(Struct):
    """An operator's adjustment. Its reversal may be folded first."""

    adjustment: Identifier
    points: Annotated[Decimal, "points that were added; below zero: taken away"] = ZERO
    adopted: Annotated[bool, "it accepted the vendor's claim"] = False
    accepted: StateOnly[Decimal] = ZERO  # unseen points that were accepted together with the claim
    lot_id: StateOnly[str | None] = None  # lot of the added points
    debit: StateOnly[str] = ""  # name of the debit that took points away
    made_at: Annotated[datetime | None, "null if only the reversal was recorded"] = None
    made_by: Annotated[str | None, "the API key that made it"] = None
    position: Position = 0
    reversed_at: datetime | None = None
    reversed_by: str | None = None
    reversal_position: Position = 0


class ExpiryReminder(Struct):
    """Points that the vendor announced to lapse on one day, and the points then in our lots of that day."""

    expires_on: date
    claimed: Annotated[Decimal, "points last announced to lapse on that day"]
    held: Annotated[Decimal, "points that the lots of that day held then"]
    claimed_at: datetime
    position: Position


class Account(Struct, dict=True):
    """Points of one holder in one programme and unit. Programme terms are attached, but are not part of the stored
    state.
    """

    account_id: str
    programme: str
    unit: str
    customer: str
    unit_name: str | None = None
    card_code: str | None = None
    lots: dict[str, Lot] = {}
    open: list[LotSortKey] = []  # lots with remaining points that have not lapsed, in the order of use
    lapsed: list[LotSortKey] = []  # lots with remaining points that lapsed and were not reported as expired
    classes: dict[str, Decimal] = {}
    debits: dict[str, Debit] = {}
    orphans: dict[str, Orphan] = {}  # by redemption; see Orphan
    pending: dict[str, PendingPromise] = {}  # by promise id
    awaited: Decimal = ZERO  # points converted before their promise was folded
    bills_reversed: dict[str, Decimal] = {}
    returned: dict[str, list[ReturnedRange]] = {}  # by bill
    lifetime: Decimal = ZERO  # net of returns, without the opening
    lifetime_of: dict[str, Decimal] = {}  # part of `lifetime` by the holder before a merge
    lifetime_opening: Decimal | None = None
    lifetime_claimed: Decimal | None = None
    opening_lot: str | None = None
    claimed: Decimal | None = None
    claimed_at: datetime | None = None
    drift: Decimal = ZERO  # less the points adopted since the last claim; see drift.py
    drift_since: datetime | None = None
    drift_position: int | None = None
    agreed_at: datetime | None = None  # the last claim without drift or unseen points
    agreed_position: int | None = None
    unseen_since: Decimal = ZERO  # unseen points asserted since claims began
    adopted: Decimal = ZERO  # by adjustments since the last claim
    accepted: Decimal = ZERO  # unseen points accepted since the last claim
    adopted_at: datetime | None = None
    adopted_position: int = 0
    adjustments: dict[str, Adjustment] = {}
    expired_early: Decimal = ZERO  # reported as expired a day or more before the lot's day
    expired_early_at: datetime | None = None
    expired_early_position: int = 0
    expiry_claimed: Decimal | None = None
    expiry_claimed_on: date | None = None
    reminders: dict[str, ExpiryReminder] = {}  # by day; the last reminder of each day
    contested: bool = False
    lines: int = 0
    last_at: datetime | None = None
    last_position: int = 0
    postings: list[Posting] = field(default_factory=list)  # of the fact in progress
    untied: Decimal | None = None  # excess of a total stated by that fact over its known parts
    counted_position: int | None = None  # position of the counted report, if that fact repeats one

    @property
    def terms(self) -> ProgrammeTerms | None:
        terms: ProgrammeTerms | None = self.__dict__.get("terms")
        return terms

    @terms.setter
    def terms(self, terms: ProgrammeTerms | None) -> None:
        self.__dict__["terms"] = terms

    @property
    def available(self) -> Decimal:
        """Spendable points minus the debt. Negative if more points were taken back than the lots held."""
        classes = self.classes
        return classes.get("available", ZERO) + classes.get("debt", ZERO)

    @property
    def debt(self) -> Decimal:
        return -self.classes.get("debt", ZERO)
