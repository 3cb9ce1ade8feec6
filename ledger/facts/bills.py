"""Facts about bills: items bought, amounts and stores. A bill moves no points; separate events report the points that
it earned.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class BillItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a bill. `amount` is that of the whole quantity."""

    product: str | None = None
    name: str | None = None
    quantity: int | None = None
    price: Decimal | None = None
    amount: Decimal | None = None


class BillFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The reported state of a bill. A field is None if the source does not state it: an update contains only a part of
    the bill.

    Amounts are exact, in `currency`; 0 is a real amount. `entered_at` is the time that the source claims.
    `entered_in_future` is true if that time is after the event.
    """

    subject_kind = "bill"

    bill: str
    customer: str | None = None
    number: str | None = None
    bill_type: str | None = None  # for example "REGULAR", "RETURN", "MIXED"
    amount: Decimal | None = None  # net
    gross_amount: Decimal | None = None
    discount: Decimal | None = None
    currency: str | None = None
    line_item_count: int | None = None
    items: tuple[BillItem, ...] = ()
    status: str | None = None  # of the order, for example "PAID"
    metadata: tuple[tuple[str, str], ...] = ()  # names and values that the merchant added
    delivery_status: str | None = None
    delivery_status_unknown: bool = False  # the vendor's documents do not list this status
    store: str | None = None
    till: str | None = None
    entered_at: datetime | None = None
    entered_in_future: bool = False

    @property
    def subject(self) -> str:
        return self.bill


class BillAdded(BillFact, frozen=True, kw_only=True, omit_defaults=True):
    """A bill was added."""

    rank = 10


class BillUpdated(BillFact, frozen=True, kw_only=True, omit_defaults=True):
    """A bill was changed."""

    rank = 20


FACTS: tuple[type[Fact], ...] = (
    BillAdded,
    BillUpdated,
)
