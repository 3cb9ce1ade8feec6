"""Reversed issues: points are taken back because their bill was returned (docs/domain.md §4.2, trap 4)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from ledger.facts import Occurrence
from ledger.facts.accounts import IssueReversed
from projections.accounts import returns
from projections.accounts.account import DEBT, ZERO, Account, Lot, LotUse, PendingPromise
from projections.accounts.lots import contains, count_use, post, spend, take_from_lot


def reverse_issue(account: Account, fact: IssueReversed, occurrence: Occurrence) -> None:
    """Take back the points that a returned bill had earned.

    Order within the lots of the bill:

    1. Unspent points.
    2. Spent points. The spend moves to other lots, then becomes debt.
    3. Lapsed and expired points. They change no balance.

    If the bill's lots are unknown, any lot pays, then debt. If the vendor names the promotions that gave the points,
    lots of those promotions come first. Lots of regular points give the rest.

    Totals for the bill (trap 4):

    1. A report with totals only states all points ever taken back for the bill. Points already taken back are
       subtracted.
    2. A report with its own points and a total is checked against the total. An excess proves a return that was never
       reported.
    3. A return that an earlier total already contains is not taken back again.

    Points that had lapsed or expired stay in the lifetime total, as in the vendor's books (EXPIRY_REVERTED).
    """
    bill = _bill_key(fact)
    before = account.bills_reversed.get(bill, ZERO)
    points = fact.points
    overlap = ZERO
    if points is None:
        points = max(ZERO, (fact.points_total or ZERO) - before)
    account.counted_position, overlap = returns.record_return(account, fact, bill, occurrence)
    if account.counted_position is not None and fact.points is not None:
        return
    account.bills_reversed[bill] = before + points
    shares = _shares_by_promotion(account, fact, bill, points)
    points += _reverse_promised(account, fact)
    account.untied = -overlap if overlap else _missing_returns(account, fact, bill)
    lots = [lot for lot in account.lots.values() if _same_bill(fact, lot.bill, lot.bill_number)] if points else []
    taken = lapsed = ZERO
    for share in shares:
        result = _reverse_within_lots(
            account, [lot for lot in lots if _matches_share(lot, share)], share.points, "reversed"
        )
        taken, lapsed = taken + result[0], lapsed + result[1]
    lapsed += reverse_lots(account, lots, points - taken, "reversed")
    account.lifetime -= points - lapsed
    if account.postings:
        account.counted_position = None


class ReversalShare(NamedTuple):
    """Points of a reversal that the lots of one promotion give back. None: lots of an unnamed promotion, or of no
    promotion.
    """

    points: Decimal
    promotion: str | None
    promotional: bool


def _shares_by_promotion(account: Account, fact: IssueReversed, bill: str, points: Decimal) -> list[ReversalShare]:
    """Divide points by the promotions that the vendor names, then regular points. Empty if the vendor names none."""
    stated = fact.promotions if fact.points is not None else fact.promotions_total
    if stated is None:
        return []
    shares, rest = list[ReversalShare](), points
    for stated_share in stated:
        key = f"promotion~{stated_share.promotion or ''}~{bill}"
        before = account.bills_reversed.get(key, ZERO)
        share = min(rest, stated_share.points if fact.points is not None else max(ZERO, stated_share.points - before))
        account.bills_reversed[key] = before + share
        rest -= share
        shares.append(ReversalShare(share, stated_share.promotion, promotional=True))
    return [*shares, ReversalShare(rest, None, promotional=False)]


def _matches_share(lot: Lot, share: ReversalShare) -> bool:
    promotional = lot.promotion is not None or lot.origin == "promotional"
    return promotional is share.promotional and share.promotion in (None, lot.promotion)


def reverse_lots(account: Account, lots: Sequence[Lot], points: Decimal, to: str) -> Decimal:
    """Take points back from these lots into class `to`: unspent, then spent, then lapsed points.

    Points beyond the lots are taken from any lot, then as debt. Returns the number of points that had lapsed.
    """
    taken, lapsed = _reverse_within_lots(account, lots, points, to)
    if points > taken:
        _reverse_from_any_lot(account, points - taken, to)
    return lapsed


def _reverse_within_lots(account: Account, lots: Sequence[Lot], points: Decimal, to: str) -> tuple[Decimal, Decimal]:
    """Take points back from these lots only. Returns the points taken back, and the part of them that had lapsed."""
    requested, lapsed = points, ZERO
    for reverse_from in (_reverse_unspent, _reverse_spent, _reverse_lapsed):
        for lot in lots:
            returned = reverse_from(account, lot, points, to) if points else ZERO
            points -= returned
            if reverse_from is _reverse_lapsed:
                lapsed += returned
    return requested - points, lapsed


def _same_bill(fact: IssueReversed, bill: str | None, bill_number: str | None) -> bool:
    if fact.bill and bill:
        return fact.bill == bill
    return fact.bill_number is not None and fact.bill_number == bill_number


def _bill_key(fact: IssueReversed) -> str:
    return fact.bill or fact.bill_number or ""


def _missing_returns(account: Account, fact: IssueReversed, bill: str) -> Decimal | None:
    """Return the excess of the vendor's total for the bill over all known returns. None if there is no excess.

    Each missing return is counted once. For a bill that was never seen, the first total sets the starting point.
    """
    if not bill or fact.points is None or fact.points_total is None:
        return None
    untied_key = f"untied~{bill}"
    known = sum((account.bills_reversed.get(key, ZERO) for key in (bill, f"promised~{bill}", untied_key)), ZERO)
    beyond = fact.points_total + (fact.promised_total or ZERO) - known
    if beyond <= 0:
        return None
    account.bills_reversed[untied_key] = account.bills_reversed.get(untied_key, ZERO) + beyond
    earned: list[Lot | PendingPromise] = [*account.lots.values(), *account.pending.values()]
    is_first_report = known == fact.points + (fact.promised or ZERO)
    seen = not is_first_report or any(_same_bill(fact, origin.bill, origin.bill_number) for origin in earned)
    return beyond if seen else None


def _reverse_promised(account: Account, fact: IssueReversed) -> Decimal:
    """Cancel promised points of the bill, or of any bill if it is unknown.

    Returns the points that were converted already. The caller takes them back from lots.
    """
    owed = fact.promised or ZERO
    key = f"promised~{_bill_key(fact)}"
    before = account.bills_reversed.get(key, ZERO)
    if fact.points is None:
        owed = max(ZERO, (fact.promised_total or ZERO) - before)
    if owed:
        account.bills_reversed[key] = before + owed
    of_bill = [pending for pending in account.pending.values() if _same_bill(fact, pending.bill, pending.bill_number)]
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
    if owed:  # of promises that were never reported
        post(account, "unseen", "reversed", owed)
    return converted


def _reverse_unspent(account: Account, lot: Lot, points: Decimal, to: str) -> Decimal:
    """Take back points that are still spendable."""
    if not contains(account.open, lot.sort_key()):
        return ZERO
    returned = min(lot.remaining, points)
    post(account, "available", to, returned, lot.lot_id)
    lot.returned += returned
    take_from_lot(account, lot, returned)
    return returned


def _reverse_spent(account: Account, lot: Lot, points: Decimal, to: str) -> Decimal:
    """Take back spent points. The lot's latest spends move to other lots, or become debt."""
    returned = ZERO
    for entry in reversed(account.debits.values()):
        if returned == points or lot.redeemed + lot.sent + lot.removed == 0:
            break  # no further use of this lot exists
        for index in range(len(entry.uses) - 1, -1, -1):
            use = entry.uses[index]
            if use.lot_id != lot.lot_id or returned == points:
                continue
            moved = min(use.points, points - returned)
            returned += moved
            count_use(lot, -moved, entry.to)
            lot.returned += moved
            post(account, entry.to, to, moved, lot.lot_id)
            uses, missing = spend(account, moved, entry.to)
            if missing:
                post(account, "debt", entry.to, missing)
                uses.append(LotUse(DEBT, missing))
            unchanged = [LotUse(lot.lot_id, use.points - moved)] if use.points > moved else []
            entry.uses[index : index + 1] = [*unchanged, *uses]
    return returned


def _reverse_lapsed(account: Account, lot: Lot, points: Decimal, to: str) -> Decimal:
    """Take back lapsed points, reported as expired or not. No balance changes."""
    lapsed = min(lot.remaining, points)
    if lapsed:
        post(account, "lapsed", to, lapsed, lot.lot_id)
        take_from_lot(account, lot, lapsed)
    expired = min(lot.expired, points - lapsed)
    if expired:
        lot.expired -= expired
        post(account, "expired", to, expired, lot.lot_id)
    lot.returned += lapsed + expired
    return lapsed + expired


def _reverse_from_any_lot(account: Account, points: Decimal, to: str) -> None:
    """Take back points of unknown lots from any open lot, then as debt."""
    while points and account.open:
        lot = account.lots[account.open[0][2]]
        points -= _reverse_unspent(account, lot, points, to)
    if points:
        post(account, "debt", to, points)
