"""Short functions for facts about one customer's points, one fact a day, and the account that they fold into."""

from datetime import date
from decimal import Decimal
from typing import Any

from ledger.facts import Fact, RecordedFact
from ledger.facts.accounts import (
    Claim,
    Expired,
    ExpiryMoved,
    Grant,
    Issued,
    IssueReversed,
    Promise,
    PromisedConverted,
    Redeemed,
    RedemptionReversed,
    TransferReceived,
    TransferSent,
    TransferSettled,
)
from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import Account
from projections.definition import fact_key, fold
from tests.support.fold_helpers import day, on

ANN = "capillary:1:ann"


def about(**fields: Any) -> dict[str, Any]:
    """Return the fields that name Ann's account in the programme. `claims` is the balance that the vendor claims."""
    balance = fields.pop("claims", None)
    claim = None if balance is None else Claim(Decimal(balance))
    return {"holder": ANN, "programme": "gold", "claim": claim, **fields}


def issued(points: int | str, bill: str | None = None, lapses: date | None = None, **fields: Any) -> Issued:
    return Issued(grants=(Grant(Decimal(points), lapses),), bill=bill, **about(**fields))


def promised(points: int, bill: str | None = None, converts: date | None = None) -> Issued:
    return Issued(promises=(Promise(Decimal(points), converts),), bill=bill, bill_number=bill, **about())


def converted(points: int, bill: str | None = None) -> PromisedConverted:
    return PromisedConverted(grants=(Grant(Decimal(points), None, "converted"),), bill_number=bill, **about())


def redeemed(points: int, redemption: str = "r", **fields: Any) -> Redeemed:
    return Redeemed(points=Decimal(points), redemption=redemption, **about(**fields))


def given_back(
    points: int, redemption: str = "r", *, available: int | None = None, expired: int | None = None, **fields: Any
) -> Fact:
    split = [None if points is None else Decimal(points) for points in (available, expired)]
    return RedemptionReversed(
        points=Decimal(points), redemption=redemption, available=split[0], expired=split[1], **about(**fields)
    )


def returned(points: int, bill: str, *, promised: int = 0, in_all: int | None = None, **fields: Any) -> IssueReversed:
    return IssueReversed(
        points=Decimal(points),
        promised=Decimal(promised),
        points_total=None if in_all is None else Decimal(in_all),
        bill=bill,
        bill_number=bill,
        **about(**fields),
    )


def returned_in_all(total: int, bill: str) -> IssueReversed:
    """Return the old form of a return: only the total taken back for the bill so far."""
    return IssueReversed(points_total=Decimal(total), promised_total=Decimal(0), bill=bill, **about())


def expired(points: int) -> Expired:
    return Expired(points=Decimal(points), **about())


def moved(points: int, old: date, new: date) -> ExpiryMoved:
    return ExpiryMoved(points=Decimal(points), old=old, new=new, **about())


def sent(points: int, transfer: str = "t", **fields: Any) -> TransferSent:
    return TransferSent(points=Decimal(points), transfer=transfer, **about(**fields))


def settled(points: int, transfer: str = "t", **fields: Any) -> TransferSettled:
    return TransferSettled(points=Decimal(points), transfer=transfer, **about(**fields))


def received(points: int, transfer: str = "t", **fields: Any) -> TransferReceived:
    return TransferReceived(points=Decimal(points), transfer=transfer, **about(**fields))


def days(*facts: Fact) -> list[RecordedFact]:
    """Record facts, one a day from day 1."""
    return [on(number, fact) for number, fact in enumerate(facts, 1)]


def wallet(*facts: RecordedFact) -> Wallet:
    folded: Wallet = fold(ACCOUNTS, sorted(facts, key=fact_key))
    return folded


def account(*facts: Fact) -> Account:
    """Fold facts, one a day. All must be about Ann's one account."""
    (single,) = wallet(*days(*facts)).accounts.values()
    return single


def lots(account: Account, *fields: str) -> list[tuple[int | str | None, ...]]:
    """Return fields of an account's lots, in the order of their creation, with points as whole numbers."""

    def show(value: Any) -> int | str | None:
        return int(value) if isinstance(value, Decimal) else value

    return [tuple(show(getattr(lot, field)) for field in fields) for lot in account.lots.values()]


def on_day(number: int) -> date:
    """Return the date of a day. Day 1 is the day of the first fact."""
    return day(number).date()
