"""Facts about adjustments: points that an operator took away, with no purchase, reward or return behind it.

Points that an operator adds are credited like any others, by `Issued`: they are a lot that can be spent and can lapse.
"""

from decimal import Decimal

from ledger.facts.accounts import AccountFact
from ledger.facts.fact import Fact


class Removed(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """Points were taken away by hand."""

    rank = 63
    points: Decimal


FACTS: tuple[type[Fact], ...] = (Removed,)
