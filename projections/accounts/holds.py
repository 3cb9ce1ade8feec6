"""Holds: points taken for an ordered item. They are spent when the item arrives, and due back if it does not."""

from ledger.facts import Occurrence
from ledger.facts.holds import HoldCaptured, HoldRefundDue, HoldRefunded
from projections.accounts.account import ZERO, Account, Debit
from projections.accounts.lots import debit, post


def capture_hold(account: Account, fact: HoldCaptured, occurrence: Occurrence) -> None:
    """The ordered item arrived. The points held for it are spent. A refund that was due is cancelled."""
    entry = account.debits.pop(fact.item, None)
    if entry is not None:
        account.contested = True
        post(account, entry.to, "unseen", entry.points - entry.reversed)
    debit(account, occurrence, fact.points, fact.item, "redeemed")


def release_hold(account: Account, fact: HoldRefundDue, _occurrence: Occurrence) -> None:
    """The ordered item did not arrive. The points taken for it are due back; no event had reported that debit."""
    entry = account.debits.get(fact.item)
    if entry is None:
        account.debits[fact.item] = Debit(points=fact.points, to="held")
        post(account, "unseen", "held", fact.points)
    elif entry.to != "held":
        account.contested = True
        post(account, entry.to, "held", entry.points)
        entry.to = "held"


def refund_hold(account: Account, fact: HoldRefunded, _occurrence: Occurrence) -> None:
    """Points due back were returned to the account. No event names the lots that they return to."""
    entry = account.debits.get(fact.item)
    if entry is None or entry.to != "held":
        account.contested = True
        return
    points = min(fact.points, entry.points - entry.reversed)
    if points < fact.points:
        account.contested = True
    if points > ZERO:
        entry.reversed += points
        post(account, "held", "unseen", points)
