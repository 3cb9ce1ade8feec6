"""Facts about holds: points that another system took from a customer when an order was placed.

The source never tells of the order itself, only of what became of each item. So a hold is first heard of when it ends,
and it ends once: spent for good, or due back.
"""

from decimal import Decimal

from ledger.facts.accounts import AccountFact
from ledger.facts.fact import Fact


class HoldFact(AccountFact, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the points held for one order item; `item` is the subject of its order item facts."""

    points: Decimal
    item: str


class HoldCaptured(HoldFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item arrived: the points held for it are spent for good."""

    rank = 42


class HoldRefundDue(HoldFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item failed or was cancelled: the points held for it are due back. That they were given back is not said."""

    rank = 43


class HoldRefunded(HoldFact, frozen=True, kw_only=True, omit_defaults=True):
    """The points due back were given back, where the order had taken them from."""

    rank = 44


FACTS: tuple[type[Fact], ...] = (
    HoldCaptured,
    HoldRefundDue,
    HoldRefunded,
)
