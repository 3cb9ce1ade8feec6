"""Our own adjustments: an operator adds points or takes some away, or adopts what the vendor claims; and the way back.

We decide here, so nothing is asserted: what is taken beyond the lots leaves a debt, and the balance is what was asked
for. Adjustment and reversal count once each, in whatever order they are told.
"""

from ledger.facts import Occurrence
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed
from projections.accounts import drift
from projections.accounts.lots import DEBT, ZERO, Account, Adjustment, Debit, Use, credit, post, spend
from projections.accounts.reversals import give_back_debit, take_back_lots

ADJUSTED = "adjusted"  # the class: above zero what was taken away, below zero what was added


def make(account: Account, fact: AdjustmentMade, occurrence: Occurrence) -> None:
    """Add points as a lot, or take them from the lots in the order of use, then as debt."""
    entry = account.adjustments.setdefault(fact.adjustment, Adjustment(fact.adjustment))
    if entry.made_at is not None:
        return
    entry.points, entry.adopted, entry.by = fact.points, fact.adopted, fact.by
    entry.made_at, entry.position = occurrence.occurred_at, occurrence.position
    if entry.reversed_at is not None:  # told before: both together change nothing
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
            ruled=False,  # it lapses when who made it says so, whatever the programme's rule
        )
        entry.lot_id = lot.lot_id
    elif fact.points < 0:
        uses, missing = spend(account, -fact.points, ADJUSTED)
        if missing:
            post(account, "debt", ADJUSTED, missing)
            uses.append(Use(DEBT, missing))
        entry.debit = f"adjustment~{account.account_id}~{fact.adjustment}"
        account.debits[entry.debit] = Debit(points=-fact.points, uses=uses, to=ADJUSTED)
    entry.accepted = drift.unseen(account) if fact.adopted and account.claimed is not None else ZERO
    drift.adopt(account, account.available - before, entry.accepted, occurrence)


def reverse(account: Account, fact: AdjustmentReversed, occurrence: Occurrence) -> None:
    """Take an adjustment back: points go back to the lots that gave them, added ones are taken back, spent or not."""
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
        take_back_lots(account, lots, entry.points, ADJUSTED)
    elif entry.points < 0:
        debit = account.debits[entry.debit]
        debit.reversed += debit.points
        give_back_debit(account, occurrence, debit, debit.points)
    drift.adopt(account, account.available - before, -entry.accepted, occurrence)
