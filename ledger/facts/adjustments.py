"""Facts about adjustments: points added or taken away by hand, with no purchase, reward or return behind it.

A vendor's operator takes points away by `Removed`; those that one adds are credited like any others, by `Issued`. Our
own adjustments have an id, may go either way, and can be reversed, once.
"""

from datetime import date
from decimal import Decimal

from ledger.facts.accounts import AccountFact


class Removed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were taken away by hand. `origin` says of what kind they were, "regular" or "promotional", if known."""

    rank = 63
    points: Decimal
    origin: str | None = None


class AdjustmentMade(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """We changed what an account holds: `points` are added, or taken away where they are below zero.

    `adopted` says that the vendor's claim was taken for true, with whatever history we have not seen: then `points` may
    be 0, too. Why, and who asked for it, is sealed in the event.
    """

    rank = 65
    points: Decimal
    adjustment: str
    adopted: bool = False
    expires_on: date | None = None
    by: str | None = None  # the key that did it

    def check(self) -> None:
        """Nothing to refuse: this one goes either way."""


class AdjustmentReversed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """We took an adjustment back, all of it."""

    rank = 66
    adjustment: str
    by: str | None = None


FACTS: tuple[type[AccountFact], ...] = (Removed, AdjustmentMade, AdjustmentReversed)
