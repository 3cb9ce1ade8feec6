"""Facts about named promises: promised points that can be changed, cancelled or kept one by one.

Capillary gives promises no names. Its promised points are in `Issued.promises` and are converted by day.
"""

from datetime import date
from decimal import Decimal

from ledger.facts.accounts import AccountFact
from ledger.facts.fact import Fact


class PromiseFact(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one named promise. `points` is the whole amount of the promise, never a difference."""

    promise: str
    points: Decimal


class PromiseMade(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were promised. They become spendable on the day `converts_on`."""

    rank = 11
    converts_on: date | None = None
    bill: str | None = None
    bill_number: str | None = None
    activity: str | None = None


class PromiseChanged(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """The amount or the day of the promise changed. The new values replace the old ones."""

    rank = 12
    converts_on: date | None = None


class PromiseKept(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """The promised points became spendable as a new lot of `points`, and the promise ended."""

    rank = 21


class PromiseCancelled(PromiseFact, frozen=True, kw_only=True, omit_defaults=True):
    """The promise was withdrawn with all its points."""

    rank = 62


FACTS: tuple[type[Fact], ...] = (
    PromiseMade,
    PromiseChanged,
    PromiseKept,
    PromiseCancelled,
)
