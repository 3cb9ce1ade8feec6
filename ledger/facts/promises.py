"""Facts about promises that the vendor names: points to come that can be changed, cancelled or kept one by one.

Where a vendor names none (Capillary), promised points stand in `Issued.promises` and are converted by day instead.
"""

from datetime import date
from decimal import Decimal

from ledger.facts.accounts import AccountFact
from ledger.facts.fact import Fact


class PromiseFact(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one named promise. `points` is all that is promised under the name, never a difference."""

    promise: str
    points: Decimal


class PromiseMade(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were promised; they become spendable on the day `converts_on`."""

    rank = 11
    converts_on: date | None = None
    bill: str | None = None
    bill_number: str | None = None
    activity: str | None = None


class PromiseChanged(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """The promise is now of this many points, and of this day; what it was before no longer counts."""

    rank = 12
    converts_on: date | None = None


class PromiseKept(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """The promised points became spendable, as a new lot of `points`, and the promise is over."""

    rank = 21


class PromiseCancelled(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """The promise was withdrawn; none of its points will come."""

    rank = 62


FACTS: tuple[type[Fact], ...] = (
    PromiseMade,
    PromiseChanged,
    PromiseKept,
    PromiseCancelled,
)
