"""Facts about holds: points that another system took from a customer when an order was placed.

The source reports the outcome of each item, never the order itself. So the first report about a hold is its end. A hold
ends once: its points are spent, or due back.
"""

from decimal import Decimal

from ledger.facts.accounts import AccountFact
from ledger.facts.fact import Fact


class HoldFact(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of the points held for one order item. `item` is the subject of the order item's facts."""

    points: Decimal
    item: str


class HoldCaptured(HoldFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item arrived, so the points held for it are spent."""

    rank = 42


class HoldRefundDue(HoldFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item failed or was cancelled, so the points held for it are due back. The source does not report whether they
    were given back.
    """

    rank = 43


class HoldRefunded(HoldFact, frozen=True, kw_only=True, omit_defaults=True):
    """The points due back were given back to the account that paid for the order."""

    rank = 44


FACTS: tuple[type[Fact], ...] = (
    HoldCaptured,
    HoldRefundDue,
    HoldRefunded,
)
