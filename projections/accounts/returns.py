"""Returns of one bill, compared by their totals. So each return counts once (docs/domain.md, trap 4).

A report with its own points and the bill's total so far names a range of that total. Example: 20 points with a total of
30 are the range from 10 to 30.

1. Two reports of the same range are one return, whatever their ids are.
2. A report with a total only covers everything up to that total.
"""

from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import IssueReversed
from projections.accounts.account import ZERO, Account, ReturnedRange


def record_return(
    account: Account, fact: IssueReversed, bill: str, occurrence: Occurrence
) -> tuple[int | None, Decimal]:
    """Find the range of a return within its bill's total, and record it.

    Returns two values:

    1. The position of the report that counts for this return. None if this report counts.
    2. The overlap with earlier ranges that differ from this one. Such reports contradict each other.

    A report with a total only may end where a known range ends. It may still cover returns that were never reported.
    """
    total = (fact.points_total or ZERO) + (fact.promised_total or ZERO)
    if not bill or fact.points_total is None or total <= 0:
        return None, ZERO
    whole, covered_by = fact.points is None, None
    own = total if whole else (fact.points or ZERO) + (fact.promised or ZERO)
    if own <= 0 or own > total:
        return None, ZERO
    new_range = ReturnedRange(total - own, total, occurrence.position, whole=whole)
    before = account.returned.get(bill, [])
    for earlier in before:
        same = earlier.end == total if whole else (earlier.start, earlier.end) == (new_range.start, total)
        if (same and not whole) or (earlier.whole and total <= earlier.end):
            return earlier.position, ZERO
        covered_by = earlier.position if same else covered_by
    account.returned[bill] = [*before, new_range]
    if whole:
        return covered_by, ZERO
    overlaps = [min(earlier.end, new_range.end) - max(earlier.start, new_range.start) for earlier in before]
    return None, max((points for points in overlaps if points > 0), default=ZERO)
