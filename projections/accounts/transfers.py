"""Transfers: points leave one account and arrive at another, each half told by an event of its own (trap 11).

In between they are in transit, on the sender's side; the receiver's are a new lot.
"""

from ledger.facts import Occurrence
from ledger.facts.accounts import TransferReceived, TransferSent, TransferSettled
from projections.accounts.lots import Account, credit, debit, post


def send(account: Account, fact: TransferSent, occurrence: Occurrence) -> None:
    debit(account, occurrence, fact.points, fact.transfer, "in_transit")


def settle(account: Account, fact: TransferSettled, _occurrence: Occurrence) -> None:
    """The other half has arrived. Told before our own half, it leaves in transit below zero until that comes."""
    entry = account.debits.get(fact.transfer)
    if entry is not None and entry.to == "in_transit":
        entry.to = "sent"
    post(account, "in_transit", "sent", fact.points)


def receive(account: Account, fact: TransferReceived, occurrence: Occurrence) -> None:
    credit(account, occurrence, fact.points, source="received", origin="transfer")
    account.lifetime += fact.points
