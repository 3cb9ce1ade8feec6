"""Transfers: points leave one account and arrive at another; one event reports each half (docs/domain.md, trap 11).

Between the two events the points are in transit, on the sender's side. The receiver gets a new lot.
"""

from ledger.facts import Occurrence
from ledger.facts.accounts import TransferReceived, TransferSent, TransferSettled
from projections.accounts.account import Account
from projections.accounts.lots import credit, debit, post


def send_points(account: Account, fact: TransferSent, occurrence: Occurrence) -> None:
    """Points left for another account. They are in transit until the receiver's half is reported."""
    debit(account, occurrence, fact.points, fact.transfer, "in_transit")


def settle_transfer(account: Account, fact: TransferSettled, _occurrence: Occurrence) -> None:
    """The receiver's half arrived. If it comes before the sender's half, in transit is below zero until then."""
    entry = account.debits.get(fact.transfer)
    if entry is not None and entry.to == "in_transit":
        entry.to = "sent"
    post(account, "in_transit", "sent", fact.points)


def receive_points(account: Account, fact: TransferReceived, occurrence: Occurrence) -> None:
    """Points from another account arrived, as a new lot."""
    credit(account, occurrence, fact.points, source="received", origin="transfer")
    account.lifetime += fact.points
