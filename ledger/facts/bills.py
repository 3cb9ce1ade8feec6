"""Facts about bills: what was bought, for how much, where. A bill moves no points: those it earns are told apart."""

from datetime import datetime
from decimal import Decimal

from ledger.facts.fact import Fact


class BillFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What the source says of one bill; None where it says nothing, for an update tells only a part.

    Amounts are in `currency`, exact, 0 being a figure. `entered_at` is the time the source claims for the bill, and
    `entered_in_future` says that it lies after the event that tells it.
    """

    subject_kind = "bill"

    bill: str
    customer: str | None = None
    number: str | None = None
    bill_type: str | None = None  # such as "REGULAR", "RETURN", "MIXED"
    amount: Decimal | None = None  # net
    gross_amount: Decimal | None = None
    discount: Decimal | None = None
    currency: str | None = None
    line_item_count: int | None = None
    delivery_status: str | None = None
    delivery_status_unknown: bool = False  # the word is not one that the source documents
    store: str | None = None
    till: str | None = None
    entered_at: datetime | None = None
    entered_in_future: bool = False

    @property
    def subject(self) -> str:
        return self.bill


class BillAdded(BillFact, frozen=True, kw_only=True, omit_defaults=True):
    """A bill was made out."""

    rank = 10


class BillUpdated(BillFact, frozen=True, kw_only=True, omit_defaults=True):
    """Something about a bill changed."""

    rank = 20


FACTS: tuple[type[Fact], ...] = (
    BillAdded,
    BillUpdated,
)
