"""Holds: points taken when something was ordered, spent for good when it arrives, due back when it does not."""

from ledger.facts import Occurrence
from ledger.facts.holds import HoldCaptured, HoldRefundDue, HoldRefunded
from projections.accounts.lots import ZERO, Account, Debit, debit, post


def capture(account: Account, fact: HoldCaptured, occurrence: Occurrence) -> None:
    """An order item arrived: the points taken when it was ordered are spent. Its refund, if one was due, is not."""
    entry = account.debits.pop(fact.item, None)
    if entry is not None:
        account.contested = True
        post(account, entry.to, "unseen", entry.points - entry.reversed)
    debit(account, occurrence, fact.points, fact.item, "redeemed")


def owe(account: Account, fact: HoldRefundDue, _occurrence: Occurrence) -> None:
    """An order item did not arrive: the points taken when it was ordered, which nobody told of, are due back."""
    entry = account.debits.get(fact.item)
    if entry is None:
        account.debits[fact.item] = Debit(points=fact.points, to="held")
        post(account, "unseen", "held", fact.points)
    elif entry.to != "held":
        account.contested = True
        post(account, entry.to, "held", entry.points)
        entry.to = "held"


def refund(account: Account, fact: HoldRefunded, _occurrence: Occurrence) -> None:
    """The points due back were given back to where they came from, which nobody told of either."""
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
