"""Returns of a bill by their totals: what is the part of each in all that was ever taken back for the bill (trap 4).

A report that states its own points and the bill's total so far names a stretch of that total: 20 of 30 is what lies
between 10 and 30. So two reports of the same stretch are of one return, whatever they are called, and a report that
states a total alone covers everything up to it.
"""

from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import IssueReversed
from projections.accounts.lots import ZERO, Account, Returned


def place(account: Account, fact: IssueReversed, bill: str, occurrence: Occurrence) -> tuple[int | None, Decimal]:
    """Find where a return stands in the total of its bill, and remember it.

    Returns the position of the report that counts for it, None if this one does; and by how much this one contradicts
    earlier ones, whose stretches it shares in part. A total may be known by its end, and cover returns not told before.
    """
    total = (fact.points_total or ZERO) + (fact.promised_total or ZERO)
    if not bill or fact.points_total is None or total <= 0:
        return None, ZERO
    whole, told = fact.points is None, None
    own = total if whole else (fact.points or ZERO) + (fact.promised or ZERO)
    if own <= 0 or own > total:
        return None, ZERO
    stretch = Returned(total - own, total, occurrence.position, whole=whole)
    before = account.returned.get(bill, [])
    for one in before:
        same = one.end == total if whole else (one.start, one.end) == (stretch.start, total)
        if (same and not whole) or (one.whole and total <= one.end):
            return one.position, ZERO
        told = one.position if same else told
    account.returned[bill] = [*before, stretch]
    if whole:
        return told, ZERO
    shared = [min(one.end, stretch.end) - max(one.start, stretch.start) for one in before]
    return None, max((points for points in shared if points > 0), default=ZERO)
