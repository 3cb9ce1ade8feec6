"""Operators' adjustments: points added or taken away, a claim adopted, and the reversal of each.

1. The operator decides, so nothing is asserted. Points taken beyond the lots become debt.
2. Each adjustment and each reversal counts once, in either order.
"""

from ledger.facts import Occurrence
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed
from projections.accounts import drift
from projections.accounts.account import DEBT, ZERO, Account, Adjustment, Debit, LotUse
from projections.accounts.issue_reversals import reverse_lots
from projections.accounts.lots import credit, post, spend
from projections.accounts.redemptions import undo_debit

ADJUSTED = "adjusted"  # class: above zero for points taken away, below zero for points added


def make_adjustment(account: Account, fact: AdjustmentMade, occurrence: Occurrence) -> None:
    """An operator added points as a new lot, or took points away: from lots in the order of use, then as debt."""
    entry = account.adjustments.setdefault(fact.adjustment, Adjustment(fact.adjustment))
    if entry.made_at is not None:
        return
    entry.points, entry.adopted, entry.made_by = fact.points, fact.adopted, fact.by
    entry.made_at, entry.position = occurrence.occurred_at, occurrence.position
    if entry.reversed_at is not None:  # the reversal came first: together they change nothing
        return
    before = account.available
    if fact.points > 0:
        lot = credit(
            account,
            occurrence,
            fact.points,
            source=ADJUSTED,
            origin="adjustment",
            expires_on=fact.expires_on,
            apply_terms=False,  # the operator sets the day, not the programme's terms
        )
        entry.lot_id = lot.lot_id
    elif fact.points < 0:
        uses, missing = spend(account, -fact.points, ADJUSTED)
        if missing:
            post(account, "debt", ADJUSTED, missing)
            uses.append(LotUse(DEBT, missing))
        entry.debit = f"adjustment~{account.account_id}~{fact.adjustment}"
        account.debits[entry.debit] = Debit(points=-fact.points, uses=uses, to=ADJUSTED)
    entry.accepted = drift.open_unseen(account) if fact.adopted and account.claimed is not None else ZERO
    drift.count_adjustment(account, account.available - before, entry.accepted, occurrence)


def reverse_adjustment(account: Account, fact: AdjustmentReversed, occurrence: Occurrence) -> None:
    """An adjustment was reversed. Taken points return to their lots; added points are taken back, spent or not."""
    entry = account.adjustments.setdefault(fact.adjustment, Adjustment(fact.adjustment))
    if entry.reversed_at is not None:
        return
    entry.reversed_at, entry.reversal_position = occurrence.occurred_at, occurrence.position
    entry.reversed_by = fact.by
    if entry.made_at is None:
        return
    before = account.available
    if entry.points > 0:
        lots = [lot for lot in account.lots.values() if lot.lot_id == entry.lot_id]
        reverse_lots(account, lots, entry.points, ADJUSTED)
    elif entry.points < 0:
        debit = account.debits[entry.debit]
        debit.reversed += debit.points
        undo_debit(account, occurrence, debit, debit.points)
    drift.count_adjustment(account, account.available - before, -entry.accepted, occurrence)
