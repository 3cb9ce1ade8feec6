"""Taking back what was issued, and giving back what was spent (domain §4.2, traps 4 to 6)."""

from bisect import insort
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ledger.facts import Occurrence
from ledger.facts.accounts import IssueReversed, RedemptionReversed
from projections.accounts import returns
from projections.accounts.lots import (
    DEBT,
    ZERO,
    Account,
    Debit,
    Lot,
    Orphan,
    Pending,
    Place,
    Use,
    count_spent,
    credit,
    give_back,
    is_among,
    post,
    settle,
    spend,
    take,
)

NO_PLACE: Place = (0, datetime.min, "")


def take_back(account: Account, fact: IssueReversed, occurrence: Occurrence) -> None:
    """Take back the points of a returned bill: what is unspent, then what was spent, then what expired.

    Spent points move the spend to other lots, then to debt; expired ones change no balance. When the bill's lots are
    not known, any lot pays, then debt. Where the vendor says which promotions had given the points, lots of those
    promotions are taken first, for the rest lots of regular points.

    A vendor that states only totals means all that was ever taken back for the bill, so what was taken already is
    subtracted (trap 4). One that states both is held to its total: what that exceeds proves a return that we were never
    told, and a return that totals of the bill contain already is not taken again. What had lapsed or expired stays in
    the lifetime total, as the vendor's own books have it (EXPIRY_REVERTED).
    """
    bill = _bill_of(fact)
    before = account.bills_reversed.get(bill, ZERO)
    points = fact.points
    overlap = ZERO
    if points is None:
        points = max(ZERO, (fact.points_total or ZERO) - before)
    account.counted_position, overlap = returns.place(account, fact, bill, occurrence)
    if account.counted_position is not None and fact.points is not None:
        return
    account.bills_reversed[bill] = before + points
    shares = _shares_of(account, fact, bill, points)
    points += _take_back_promised(account, fact)
    account.untied = -overlap if overlap else _beyond_known(account, fact, bill)
    lots = [lot for lot in account.lots.values() if _same_bill(fact, lot.bill, lot.bill_number)] if points else []
    taken = lapsed = ZERO
    for share in shares:
        found = _take_from(account, [lot for lot in lots if _is_of(lot, share)], share.points, "reversed")
        taken, lapsed = taken + found[0], lapsed + found[1]
    lapsed += take_back_lots(account, lots, points - taken, "reversed")
    account.lifetime -= points - lapsed
    if account.postings:
        account.counted_position = None


class Share(NamedTuple):
    """Points of a reversal that lots of one promotion give back; of None lots that are of no promotion."""

    points: Decimal
    promotion: str | None
    promotional: bool


def _shares_of(account: Account, fact: IssueReversed, bill: str, points: Decimal) -> list[Share]:
    """Return which lots the vendor says that points are of, promotions first; empty where it does not say."""
    stated = fact.promotions if fact.points is not None else fact.promotions_total
    if stated is None:
        return []
    shares, left = list[Share](), points
    for one in stated:
        key = f"promotion~{one.promotion or ''}~{bill}"
        before = account.bills_reversed.get(key, ZERO)
        share = min(left, one.points if fact.points is not None else max(ZERO, one.points - before))
        account.bills_reversed[key] = before + share
        left -= share
        shares.append(Share(share, one.promotion, promotional=True))
    return [*shares, Share(left, None, promotional=False)]


def _is_of(lot: Lot, share: Share) -> bool:
    promotional = lot.promotion is not None or lot.origin == "promotional"
    return promotional is share.promotional and share.promotion in (None, lot.promotion)


def take_back_lots(account: Account, lots: Sequence[Lot], points: Decimal, to: str) -> Decimal:
    """Take points back into a class from these lots: what is unspent, then what was spent, then what lapsed. What they
    do not hold is taken from any lot, then as debt. Returns how many of them had lapsed."""
    taken, lapsed = _take_from(account, lots, points, to)
    if points > taken:
        _claw_back(account, points - taken, to)
    return lapsed


def _take_from(account: Account, lots: Sequence[Lot], points: Decimal, to: str) -> tuple[Decimal, Decimal]:
    """Take points back into a class from these lots alone. Returns how many that were, and how many had lapsed."""
    wanted, lapsed = points, ZERO
    for take_from in (_return_unspent, _return_spent, _return_lapsed):
        for lot in lots:
            returned = take_from(account, lot, points, to) if points else ZERO
            points -= returned
            if take_from is _return_lapsed:
                lapsed += returned
    return wanted - points, lapsed


def _same_bill(fact: IssueReversed, bill: str | None, bill_number: str | None) -> bool:
    if fact.bill and bill:
        return fact.bill == bill
    return fact.bill_number is not None and fact.bill_number == bill_number


def _bill_of(fact: IssueReversed) -> str:
    return fact.bill or fact.bill_number or ""


def _beyond_known(account: Account, fact: IssueReversed, bill: str) -> Decimal | None:
    """Say by how much the vendor's total for the bill exceeds all returns of it that were told, each missing return
    once; None where it does not. Of a bill that we did not see, the first total says what was before."""
    if not bill or fact.points is None or fact.points_total is None:
        return None
    noted = f"untied~{bill}"
    known = sum((account.bills_reversed.get(key, ZERO) for key in (bill, f"promised~{bill}", noted)), ZERO)
    beyond = fact.points_total + (fact.promised_total or ZERO) - known
    if beyond <= 0:
        return None
    account.bills_reversed[noted] = account.bills_reversed.get(noted, ZERO) + beyond
    earned: list[Lot | Pending] = [*account.lots.values(), *account.pending.values()]
    began_with_it = known == fact.points + (fact.promised or ZERO)
    seen = not began_with_it or any(_same_bill(fact, one.bill, one.bill_number) for one in earned)
    return beyond if seen else None


def _take_back_promised(account: Account, fact: IssueReversed) -> Decimal:
    """Cancel promised points of the bill, of any bill if it is not known; returns those that had been converted
    already, to be taken from lots."""
    owed = fact.promised or ZERO
    key = f"promised~{_bill_of(fact)}"
    before = account.bills_reversed.get(key, ZERO)
    if fact.points is None:
        owed = max(ZERO, (fact.promised_total or ZERO) - before)
    if owed:
        account.bills_reversed[key] = before + owed
    of_bill = [one for one in account.pending.values() if _same_bill(fact, one.bill, one.bill_number)]
    for pending in of_bill or account.pending.values():
        cancelled = min(pending.remaining, owed)
        if cancelled:
            pending.remaining -= cancelled
            pending.cancelled += cancelled
            post(account, "promised", "reversed", cancelled)
            owed -= cancelled
    converted = ZERO
    for pending in of_bill:
        returned = min(pending.converted - pending.returned, owed)
        pending.returned += returned
        converted += returned
        owed -= returned
    if owed:  # of promises that we have not seen
        post(account, "unseen", "reversed", owed)
    return converted


def _return_unspent(account: Account, lot: Lot, points: Decimal, to: str) -> Decimal:
    """Take from what can still be spent."""
    if not is_among(account.open, lot.place()):
        return ZERO
    returned = min(lot.remaining, points)
    post(account, "available", to, returned, lot.lot_id)
    lot.returned += returned
    take(account, lot, returned)
    return returned


def _return_spent(account: Account, lot: Lot, points: Decimal, to: str) -> Decimal:
    """Take from what was spent: the latest spends of the lot move to other lots, or become debt."""
    returned = ZERO
    for entry in reversed(account.debits.values()):
        if returned == points or lot.redeemed + lot.sent + lot.removed == 0:
            break  # nothing else is to be found, however many debits there are
        for index in range(len(entry.uses) - 1, -1, -1):
            use = entry.uses[index]
            if use.lot_id != lot.lot_id or returned == points:
                continue
            moved = min(use.points, points - returned)
            returned += moved
            count_spent(lot, -moved, entry.to)
            lot.returned += moved
            post(account, entry.to, to, moved, lot.lot_id)
            uses, missing = spend(account, moved, entry.to)
            if missing:
                post(account, "debt", entry.to, missing)
                uses.append(Use(DEBT, missing))
            kept = [Use(lot.lot_id, use.points - moved)] if use.points > moved else []
            entry.uses[index : index + 1] = [*kept, *uses]
    return returned


def _return_lapsed(account: Account, lot: Lot, points: Decimal, to: str) -> Decimal:
    """Take from what lapsed, whether or not the vendor has reported it yet: that changes no balance."""
    lapsed = min(lot.remaining, points)
    if lapsed:
        post(account, "lapsed", to, lapsed, lot.lot_id)
        take(account, lot, lapsed)
    expired = min(lot.expired, points - lapsed)
    if expired:
        lot.expired -= expired
        post(account, "expired", to, expired, lot.lot_id)
    lot.returned += lapsed + expired
    return lapsed + expired


def _claw_back(account: Account, points: Decimal, to: str) -> None:
    """Take points whose lots are not known from any lot, then as debt."""
    while points and account.open:
        lot = account.lots[account.open[0][2]]
        points -= _return_unspent(account, lot, points, to)
    if points:
        post(account, "debt", to, points)


def restore(account: Account, fact: RedemptionReversed, occurrence: Occurrence) -> None:
    """Give spent points back to the lots they came from. What went to lots that have lapsed is restored and lapses at
    once (trap 5), unless the programme's terms say otherwise; the vendor's split, when it gives one, stands.

    More than is left of the redemption is not given: the account is then contested. A reversal told before its
    redemption is kept as a lot of its own, which that redemption will use first.
    """
    entry = account.debits.get(fact.redemption)
    if entry is None:
        _restore_unseen(account, fact, occurrence)
        return
    left = entry.points - entry.reversed
    points = min(fact.points, left)
    if points < fact.points:
        account.contested = True
    entry.reversed += points
    expired = fact.expired
    if expired is None and fact.available is not None:
        expired = max(ZERO, fact.points - fact.available)
    expired = None if expired is None else min(expired, points)
    give_back_debit(account, occurrence, entry, points, expired)


def shares(accounts: Iterable[Account], fact: RedemptionReversed) -> list[RedemptionReversed] | None:
    """Share a reversal that names no programme out among those of a holder's accounts that paid for its redemption, one
    after the other; None where nobody told of that. Of several, each one's lots say which points had lapsed."""
    paid = [one for one in accounts if fact.redemption in one.debits]
    points, found = fact.points, list[RedemptionReversed]()
    for number, account in enumerate(paid, 1):
        entry = account.debits[fact.redemption]
        share = points if number == len(paid) else min(points, entry.points - entry.reversed)
        points -= share
        if share:
            found.append(replace(fact, programme=account.programme, points=share))
    if not paid:
        return None
    return found if len(found) == 1 else [replace(one, available=None, expired=None) for one in found]


def give_back_debit(
    account: Account, occurrence: Occurrence, entry: Debit, points: Decimal, expired: Decimal | None = None
) -> None:
    """Give points of a debit back to the lots they came from; `expired` of them lapse, those of lots that have lapsed
    where it is None."""
    restored = list(_unuse(account, entry, points))
    terms = account.terms.at(occurrence.occurred_at) if account.terms is not None else None
    policy = terms.reversal_after_expiry if terms is not None and expired is None else "lapse"
    if expired is None:
        lapsed = (use.points for use in restored if _has_lapsed(account, use, occurrence.occurred_at))
        expired = sum(lapsed, ZERO) if policy == "lapse" else ZERO
    grace_until = None
    if terms is not None and terms.reversal_after_expiry == "grace":
        today = occurrence.occurred_at.astimezone(ZoneInfo(terms.time_zone)).date()
        grace_until = today + timedelta(days=terms.reversal_grace_days)
    _give(account, occurrence, entry, restored, expired, to_own_day=policy == "original", grace_until=grace_until)


def _unuse(account: Account, entry: Debit, points: Decimal) -> Iterable[Use]:
    """Take points out of a debit's uses: debt first, then lots against the order of use. So what remains of the debit
    uses what a smaller one would have used."""

    def order(use: Use) -> tuple[bool, Place]:
        return (True, NO_PLACE) if use.lot_id == DEBT else (False, account.lots[use.lot_id].place())

    entry.uses.sort(key=order)
    while points:
        use = entry.uses.pop()
        part = min(use.points, points)
        if use.points > part:
            entry.uses.append(Use(use.lot_id, use.points - part))
        points -= part
        yield Use(use.lot_id, part)


def _has_lapsed(account: Account, use: Use, now: datetime) -> bool:
    if use.lot_id == DEBT:
        return False
    lapses_at = account.lots[use.lot_id].lapses_at
    return lapses_at is not None and lapses_at <= now


def _give(
    account: Account,
    occurrence: Occurrence,
    entry: Debit,
    restored: list[Use],
    expired: Decimal,
    *,
    to_own_day: bool,
    grace_until: date | None,
) -> None:
    """Give uses back: `expired` of them lapse, of lapsed lots first; the rest becomes available, but for what goes back
    to lapsed lots under their own day."""
    for use in restored:
        if use.lot_id == DEBT:
            post(account, entry.to, "debt", use.points)
    by_lot: dict[str, Decimal] = {}
    for use in restored:
        if use.lot_id != DEBT:
            by_lot[use.lot_id] = by_lot.get(use.lot_id, ZERO) + use.points
    of_lots = [Use(lot_id, points) for lot_id, points in by_lot.items()]
    of_lots.sort(key=lambda use: not _has_lapsed(account, use, occurrence.occurred_at))
    for index, use in enumerate(of_lots):
        lapsing = min(use.points, expired)
        expired -= lapsing
        staying = use.points - lapsing
        lot = account.lots[use.lot_id]
        count_spent(lot, -use.points, entry.to)
        if lapsing:
            lot.expired += lapsing
            post(account, entry.to, "available", lapsing, lot.lot_id)
            post(account, "available", "expired", lapsing, lot.lot_id)
        if staying and to_own_day and _has_lapsed(account, use, occurrence.occurred_at):
            post(account, entry.to, "lapsed", staying, lot.lot_id)
            if not lot.remaining:
                insort(account.lapsed, lot.place())
            lot.remaining += staying
        elif staying and _has_lapsed(account, use, occurrence.occurred_at):
            # What had lapsed is given back: it lives on in a lot with some days of grace, or without a day.
            lot.expired += staying
            credit(
                account,
                occurrence,
                staying,
                source=entry.to,
                origin="reversal",
                index=index,
                expires_on=grace_until,
                ruled=False,
            )
        elif staying:
            post(account, entry.to, "available", staying, lot.lot_id)
            give_back(account, lot, staying)
            settle(account, lot)


def _restore_unseen(account: Account, fact: RedemptionReversed, occurrence: Occurrence) -> None:
    available = fact.available if fact.available is not None else fact.points - (fact.expired or ZERO)
    expired = fact.expired if fact.expired is not None else fact.points - available
    orphan = account.orphans.setdefault(fact.redemption, Orphan())
    orphan.points += available + expired
    if available:
        lot = credit(account, occurrence, available, source="redeemed", origin="reversal", asserted=True)
        orphan.lots.append(lot.lot_id)
    if expired:
        post(account, "redeemed", "expired", expired)
