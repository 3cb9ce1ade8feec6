"""Classes of an account: all places where points can be. Postings move points between them, so they sum to zero.

This list decides how a class is shown in rows, in the trial balance, in the roll-forward and in the liability.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from projections.accounts.account import ZERO


class AccountClass(StrEnum):
    """One class: the sign of its column in an account's row, its movement, and the column of a lot that it uses up.

    Contra classes have the sign -1. Sign 0: the row has no column of that name with the sum of the class.
    """

    sign: int
    movement: str | None  # name in a roll-forward of points that come from the class or go to it
    lot_column: str | None

    def __new__(
        cls, name: str, sign: int, movement: str | None = None, lot_column: str | None = None
    ) -> "AccountClass":
        member = str.__new__(cls, name)
        member._value_, member.sign, member.movement, member.lot_column = name, sign, movement, lot_column
        return member

    AVAILABLE = "available", 0  # open lots
    DEBT = "debt", -1
    ISSUED = "issued", -1, "issued"
    PROMISED = "promised", 1, "converted"
    RECEIVED = "received", -1, "transfers_in"
    REDEEMED = "redeemed", 1, "redeemed", "redeemed"
    LAPSED = "lapsed", 1, "lapsed"
    EXPIRED = "expired", 1, "lapsed", "expired"
    REVERSED = "reversed", 1, "reversed", "returned"
    IN_TRANSIT = "in_transit", 1, "transfers_out", "sent"
    SENT = "sent", 1, "transfers_out", "sent"
    HELD = "held", 1, "held", "redeemed"
    MERGED = "merged", -1, "merged"
    ADJUSTED = "adjusted", -1, "adjusted", "removed"
    OPENING = "opening", -1, "openings"
    UNSEEN = "unseen", -1, "unseen"
    PROMISES_MADE = "promises_made", 0
    PROMISES_UNSEEN = "promises_unseen", 0
    PROMISES_CANCELLED = "promises_cancelled", 0
    PROMISES_MERGED = "promises_merged", 0

    @property
    def takes(self) -> bool:
        """True if the movement takes points from the outstanding ones. Promised points only add to them."""
        return self.sign > 0 and self is not AccountClass.PROMISED


OUTSTANDING = ("available", "debt")
PLAIN_CLASSES = tuple(name.value for name in AccountClass if name.sign > 0)
CONTRA_CLASSES = tuple(name.value for name in AccountClass if name.sign < 0)
MOVEMENTS = {name.value: name.movement for name in AccountClass if name.movement is not None}
TAKING_MOVEMENTS = frozenset(MOVEMENTS[name] for name in AccountClass if name in MOVEMENTS and name.takes)
SETTLED = "settled"  # movement of a debt settled from a lot: between vintages, so that it changes no sum
LOT_COLUMNS = {name.value: name.lot_column for name in AccountClass if name.lot_column is not None}

# Promised points are not outstanding, so postings that make or end a promise use classes of their own. Therefore
# "issued", "reversed", "unseen" and "merged" mean the same in an account, a roll-forward and a vendor's total.
PROMISE_CLASS_OF = {
    "issued": "promises_made",
    "unseen": "promises_unseen",
    "reversed": "promises_cancelled",
    "merged": "promises_merged",
}
PROMISE_CLASSES = ("promised", *PROMISE_CLASS_OF.values())


def class_columns(classes: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return the columns of an account's row that show the sums of its classes."""
    return {
        **{name: classes.get(name, ZERO) for name in PLAIN_CLASSES},
        **{name: -classes.get(name, ZERO) for name in CONTRA_CLASSES},
        "converted": -sum((classes.get(name, ZERO) for name in PROMISE_CLASSES), ZERO),
    }
