"""Grants: points that a vendor credits, or converts from promises, become lots."""

from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Issued, PromisedConverted
from projections.accounts import promises
from projections.accounts.account import ZERO, Account
from projections.accounts.lots import credit


def issue(account: Account, fact: Issued, occurrence: Occurrence) -> None:
    """Points were credited: one lot for each grant. Promised points are added apart from the balance."""
    for index, grant in enumerate(fact.grants):
        credit(
            account,
            occurrence,
            grant.points,
            source="issued",
            origin=grant.origin,
            index=index,
            expires_on=grant.expires_on,
            promotion=grant.promotion,
            bill=fact.bill,
            bill_number=fact.bill_number,
        )
        account.lifetime += grant.points
    for index, promised in enumerate(fact.promises):
        promises.add_promise(account, promised, occurrence, index, bill=fact.bill, bill_number=fact.bill_number)


def convert_promised(account: Account, fact: PromisedConverted, occurrence: Occurrence) -> None:
    """Promised points became spendable, as lots."""
    total = sum((grant.points for grant in fact.grants), ZERO)
    bill = promises.convert_points(account, total, fact.bill_number)
    for index, grant in enumerate(fact.grants):
        credit(
            account,
            occurrence,
            grant.points,
            source="promised",
            origin=grant.origin,
            index=index,
            expires_on=grant.expires_on,
            promotion=grant.promotion,
            bill=bill,
            bill_number=fact.bill_number,
        )
    account.lifetime += total


def granted_points(fact: Issued | PromisedConverted) -> Decimal:
    return sum((grant.points for grant in fact.grants), ZERO)
