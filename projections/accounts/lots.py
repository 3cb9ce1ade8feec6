"""Lots and the postings between the classes of an account: the arithmetic under every points rule.

Invariants, after every fact: the classes of an account sum to zero (each posting takes from one what it gives to
another); class "available" = what remains in open lots; class "lapsed" = what remains in lots past their day that the
vendor has not reported; class "debt" = minus the debt; remaining >= 0 in every lot, and
points = remaining + redeemed + sent + removed + expired + returned.

Lots are used in the order (expires on, without a day last; then earned; then id). A total order, that no arrival moves.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from projections.programme_terms import ProgrammeTerms, end_of

ZERO = Decimal(0)
NO_DAY = date.max.toordinal()
Place = tuple[int, datetime, str]  # of a lot in the order of use
DEBT = ""  # stands in a debit's uses where no lot paid


class Lot(Struct):
    """Points earned together that lapse together."""

    lot_id: str
    # regular, promotional, unallocated, converted, transfer, reversal, adjustment; opening, unseen (asserted)
    origin: str
    points: Decimal
    earned_at: datetime
    position: int
    remaining: Decimal
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
    holder: str | None = None  # whose they were before a merge; None: the account's own
    rule: str | None = None  # the version of the programme's terms that gave the day, where the vendor names none

    def place(self) -> Place:
        """Give the lot's place in the order of use."""
        return (self.expires_on.toordinal() if self.expires_on else NO_DAY, self.earned_at, self.lot_id)


class Use(NamedTuple):
    """Points that one lot, or DEBT, gave to a debit."""

    lot_id: str
    points: Decimal


class Debit(Struct):
    """One redemption or transfer, and the lots that pay it."""

    points: Decimal = ZERO
    reversed: Decimal = ZERO
    uses: list[Use] = []
    to: str = "redeemed"  # the class it went to
    holder: str | None = None  # as of a lot


class Returned(Struct, array_like=True):
    """A stretch of all that was ever taken back for a bill; `whole` where only the total was reported."""

    start: Decimal
    end: Decimal
    position: int
    whole: bool = False


class Orphan(Struct):
    """What was given back of a redemption that was not told yet, and the lots that hold it."""

    points: Decimal = ZERO
    lots: list[str] = []


NO_ORPHAN = Orphan()


class Posting(NamedTuple):
    """One line of double entry: points from one class of the account to another."""

    source: str
    target: str
    points: Decimal
    lot_id: str | None = None


class Pending(Struct):
    """Promised points: still to come, converted into lots, or cancelled."""

    promise_id: str
    points: Decimal
    remaining: Decimal
    promised_at: datetime
    position: int
    converted: Decimal = ZERO
    cancelled: Decimal = ZERO
    returned: Decimal = ZERO  # of the converted ones, taken back since
    over: bool = False  # kept or cancelled, where the vendor names the promise
    converts_on: date | None = None
    external: bool = False
    bill: str | None = None
    bill_number: str | None = None
    holder: str | None = None  # as of a lot


class Adjustment(Struct):
    """An adjustment of ours: either half may be told first."""

    adjustment: str
    points: Decimal = ZERO
    adopted: bool = False
    accepted: Decimal = ZERO  # history not seen that was accepted with the claim
    lot_id: str | None = None  # of points added
    debit: str = ""  # the name of the debit, of points taken away
    made_at: datetime | None = None
    position: int = 0
    by: str | None = None
    reversed_at: datetime | None = None
    reversal_position: int = 0
    reversed_by: str | None = None


class Reminder(Struct):
    """What the vendor announced to lapse on a day, and what the lots of that day held then."""

    expires_on: date
    claimed: Decimal
    held: Decimal
    at: datetime
    position: int


class Account(Struct, dict=True):
    """One holder's points of one unit in one programme. The programme's terms are no part of its state."""

    account_id: str
    programme: str
    unit: str
    customer: str
    lots: dict[str, Lot] = {}
    open: list[Place] = []  # places of lots with something remaining that have not lapsed
    lapsed: list[Place] = []  # and of those that have, unreported
    classes: dict[str, Decimal] = {}
    debits: dict[str, Debit] = {}
    orphans: dict[str, Orphan] = {}  # reversals told before their redemption, by redemption
    pending: dict[str, Pending] = {}  # by promise
    awaited: Decimal = ZERO  # converted before the promise was told
    bills_reversed: dict[str, Decimal] = {}
    returned: dict[str, list[Returned]] = {}  # by bill
    lifetime: Decimal = ZERO  # net of returns, without the opening
    lifetime_of: dict[str, Decimal] = {}  # of it, by whom it was before a merge
    lifetime_opening: Decimal | None = None
    lifetime_claimed: Decimal | None = None
    opening_lot: str | None = None
    claimed: Decimal | None = None
    claimed_at: datetime | None = None
    drift: Decimal = ZERO  # what was adopted since the last claim is off it; see drift.py
    drift_since: datetime | None = None
    drift_position: int | None = None
    agreed_at: datetime | None = None  # the last claim with which everything agreed
    agreed_position: int | None = None
    unseen_since: Decimal = ZERO  # asserted since claims began
    adopted: Decimal = ZERO  # by adjustments, since the last claim
    accepted: Decimal = ZERO  # and of what was asserted
    adopted_at: datetime | None = None
    adopted_position: int = 0
    adjustments: dict[str, Adjustment] = {}
    expired_early: Decimal = ZERO  # reported as expired a day or more before it was due
    expired_early_at: datetime | None = None
    expired_early_position: int = 0
    expiry_claimed: Decimal | None = None
    expiry_claimed_on: date | None = None
    reminders: dict[str, Reminder] = {}  # the last one for each day
    contested: bool = False
    lines: int = 0
    last_at: datetime | None = None
    last_position: int = 0
    postings: list[Posting] = field(default_factory=list)  # of the fact being folded
    untied: Decimal | None = None  # by how much what that fact says in all exceeds what we know of
    counted_position: int | None = None  # of an earlier report of that fact

    @property
    def terms(self) -> ProgrammeTerms | None:
        terms: ProgrammeTerms | None = self.__dict__.get("terms")
        return terms

    @terms.setter
    def terms(self, terms: ProgrammeTerms | None) -> None:
        self.__dict__["terms"] = terms

    @property
    def available(self) -> Decimal:
        """What may be spent, minus the debt: negative when more was taken back than was there."""
        classes = self.classes
        return classes.get("available", ZERO) + classes.get("debt", ZERO)

    @property
    def debt(self) -> Decimal:
        return -self.classes.get("debt", ZERO)


# Promised points are not outstanding: what makes or ends a promise stands apart from what makes or ends points. So
# "issued", "reversed", "unseen" and "merged" mean the same in an account, a roll-forward and a vendor's total.
OF_PROMISES = {
    "issued": "promises_made",
    "unseen": "promises_unseen",
    "reversed": "promises_cancelled",
    "merged": "promises_merged",
}


def post(account: Account, source: str, target: str, points: Decimal, lot_id: str | None = None) -> None:
    """Move points between two classes; whatever else happens to them, nothing is made or lost."""
    if source == "promised":
        target = OF_PROMISES.get(target, target)
    elif target == "promised":
        source = OF_PROMISES.get(source, source)
    classes = account.classes
    classes[source] = classes.get(source, ZERO) - points
    classes[target] = classes.get(target, ZERO) + points
    account.postings.append(Posting(source, target, points, lot_id))


def lapse_instant(account: Account, day: date, earned_at: datetime) -> datetime | None:
    """Give the instant a day is over in the programme's time zone, from which its lots count no more; None where the
    day is so far off that it means never."""
    return end_of(day) if account.terms is None else account.terms.lapses_at(day, earned_at)


def lot_id_of(occurrence: Occurrence, index: int, what: str = "") -> str:
    """Name a lot by the event and fact that made it."""
    return f"{occurrence.event_tag.hex()}.{occurrence.ordinal:02d}.{index:03d}{what}"


def credit(
    account: Account,
    occurrence: Occurrence,
    points: Decimal,
    *,
    source: str,
    origin: str,
    index: int = 0,
    expires_on: date | None = None,
    promotion: str | None = None,
    bill: str | None = None,
    bill_number: str | None = None,
    asserted: bool = False,
    ruled: bool = True,
) -> Lot:
    """Make a lot of points that come from a class; a debt is settled from it first. Where the vendor names no day the
    programme's terms give one, unless it is not to be `ruled` by them."""
    now = occurrence.occurred_at
    rule: str | None = None
    if expires_on is None and ruled and account.terms is not None:
        day = account.terms.day_of(now, now, known_since=not asserted)
        if day is not None:
            expires_on, rule = day
    lapses_at = lapse_instant(account, expires_on, now) if expires_on else None
    lot = Lot(
        lot_id=lot_id_of(occurrence, index, f".{origin}" if asserted else ""),
        origin=origin,
        points=points,
        earned_at=now,
        position=occurrence.position,
        remaining=points,
        expires_on=expires_on,
        lapses_at=lapses_at,
        promotion=promotion,
        bill=bill,
        bill_number=bill_number,
        asserted=asserted,
        rule=rule,
    )
    account.lots[lot.lot_id] = lot
    if source == "unseen" and account.claimed is not None:
        account.unseen_since += points
        if account.drift_since is None:
            account.drift_since, account.drift_position = occurrence.occurred_at, occurrence.position
    if lapses_at is not None and lapses_at <= now:  # issued past its own day
        post(account, source, "lapsed", points, lot.lot_id)
        insort(account.lapsed, lot.place())
        return lot
    post(account, source, "available", points, lot.lot_id)
    insort(account.open, lot.place())
    settle(account, lot)
    return lot


def settle(account: Account, lot: Lot) -> None:
    """Pay the debt, oldest debit first, from a lot that is open."""
    owed = min(account.debt, lot.remaining)
    if owed <= 0:
        return
    post(account, "available", "debt", owed, lot.lot_id)
    take(account, lot, owed)
    unpaid = owed
    for debit in account.debits.values():
        if not unpaid:
            break
        for index, use in enumerate(debit.uses):
            if use.lot_id != DEBT or not unpaid:
                continue
            paid = min(use.points, unpaid)
            unpaid -= paid
            count_spent(lot, paid, debit.to)
            rest = [Use(DEBT, use.points - paid)] if use.points > paid else []
            debit.uses[index : index + 1] = [Use(lot.lot_id, paid), *rest]
    lot.returned += unpaid  # a debt that no debit explains: returned points that were never seen


def take(account: Account, lot: Lot, points: Decimal) -> None:
    """Lessen what remains in an open or lapsed lot, and close it when nothing does."""
    lot.remaining -= points
    if not lot.remaining:
        place = lot.place()
        for places in (account.open, account.lapsed):
            if is_among(places, place):
                del places[bisect_left(places, place)]


def is_among(places: Sequence[Place], place: Place) -> bool:
    """Say whether a place is among some that are in order."""
    index = bisect_left(places, place)
    return index < len(places) and places[index] == place


def give_back(account: Account, lot: Lot, points: Decimal) -> None:
    """Raise what remains in a lot that has not lapsed, and open it again if it was used up."""
    if not lot.remaining:
        insort(account.open, lot.place())
    lot.remaining += points


def spend(account: Account, points: Decimal, target: str, first: Sequence[str] = ()) -> tuple[list[Use], Decimal]:
    """Take points from open lots, in the order of use, into the class `target`; `first` names lots to use before.

    Returns the uses, and what no lot could pay.
    """
    uses: list[Use] = []
    needed = points
    for lot_id in first:
        if needed and is_among(account.open, account.lots[lot_id].place()):
            needed = _spend_from(account, account.lots[lot_id], needed, target, uses)
    while needed and account.open:
        needed = _spend_from(account, account.lots[account.open[0][2]], needed, target, uses)
    return uses, needed


def _spend_from(account: Account, lot: Lot, needed: Decimal, target: str, uses: list[Use]) -> Decimal:
    points = min(lot.remaining, needed)
    count_spent(lot, points, target)
    post(account, "available", target, points, lot.lot_id)
    take(account, lot, points)
    uses.append(Use(lot.lot_id, points))
    return needed - points


def count_spent(lot: Lot, points: Decimal, target: str) -> None:
    """Count points that went from a lot to a class, or came back when `points` is negative."""
    if target in ("in_transit", "sent"):
        lot.sent += points
    elif target == "adjusted":
        lot.removed += points
    else:
        lot.redeemed += points


def debit(
    account: Account, occurrence: Occurrence, points: Decimal, name: str, target: str, first: Sequence[str] = ()
) -> None:
    """Spend points; `first` names lots to use before others.

    What the lots cannot pay proves history that we have not seen: a vendor lets nobody spend what they do not have,
    least of all in debt. So a lot of that size, and of the debt's, is asserted and flagged, and used at once.
    """
    orphan = account.orphans.pop(name, NO_ORPHAN)
    uses, missing = spend(account, points, target, [*orphan.lots, *first])
    if missing > 0:
        unseen = missing + account.debt
        credit(account, occurrence, unseen, source="unseen", origin="unseen", index=999, asserted=True)
        more, _ = spend(account, missing, target)
        uses += more
    entry = account.debits.setdefault(name, Debit(to=target))
    entry.points += points
    entry.reversed += min(points, orphan.points)
    entry.uses += [use for use in uses if use.lot_id not in orphan.lots]  # what was given back is not given again
    if orphan.points > points:
        account.contested = True


def pass_time(account: Account, now: datetime) -> Iterable[Lot]:
    """Lapse the lots whose day is over by `now`, in order; yields each after its posting."""
    places = account.open
    while places:
        lot = account.lots[places[0][2]]
        if lot.lapses_at is None or lot.lapses_at > now:
            return
        del places[0]
        post(account, "available", "lapsed", lot.remaining, lot.lot_id)
        insort(account.lapsed, lot.place())
        yield lot
