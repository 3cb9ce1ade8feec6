"""Facts about adjustments: points added or removed by hand, without a purchase, reward or return.

- A vendor's operator removes points: `Removed`. Points that a vendor's operator adds are `Issued`, as any others.
- An operator of this system adds or removes points: `AdjustmentMade`. It has an id and can be reversed once.
"""

from datetime import date
from decimal import Decimal

from ledger.facts.accounts import AccountFact


class Removed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were removed by hand. `origin` is "regular" or "promotional", None if unknown."""

    rank = 63
    points: Decimal
    origin: str | None = None


class AdjustmentMade(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """An operator of this system changed a balance. Positive `points` are added, negative `points` are removed.

    If `adopted` is true, the operator accepted the vendor's claim. The claim includes history that was never reported.
    Then `points` may also be 0. The reason and the author are encrypted in the event.
    """

    rank = 65
    points: Decimal
    adjustment: str
    adopted: bool = False
    expires_on: date | None = None
    by: str | None = None  # id of the API key that was used

    def check(self) -> None:
        """Accept any amount: an adjustment may add or remove points."""


class AdjustmentReversed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """An operator of this system reversed a whole adjustment."""

    rank = 66
    adjustment: str
    by: str | None = None


FACTS: tuple[type[AccountFact], ...] = (Removed, AdjustmentMade, AdjustmentReversed)
