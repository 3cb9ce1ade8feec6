"""Bills: amount, store and time of each purchase. Fields that an update leaves out keep their values.

The points that a bill earned are in the account: its lots name the bill.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from ledger.facts import Occurrence
from ledger.facts.bills import BillAdded, BillFact, BillItem, BillUpdated
from projections.definition import Projection, Rows, State
from projections.field_updates import update_customer, update_stated
from projections.tables import Identifier, Position, PreviousOwners, StateOnly, Table, row_from


class Bill(State):
    customer: Identifier | None = None
    number: Identifier | None = None
    bill_type: str | None = None
    amount: Annotated[Decimal | None, "the net amount in the currency of the bill"] = None
    gross_amount: Decimal | None = None
    discount: Decimal | None = None
    currency: str | None = None
    line_item_count: int | None = None
    items: StateOnly[tuple[BillItem, ...]] = ()
    metadata: StateOnly[tuple[tuple[str, str], ...]] = ()
    status: Annotated[str | None, "of the order, as the source writes it"] = None
    delivery_status: str | None = None
    delivery_status_unknown: bool = False
    store: str | None = None
    till: str | None = None
    entered_at: Annotated[datetime | None, "the time of the bill, as stated by the source"] = None
    entered_in_future: bool = False
    added_at: datetime | None = None
    updated_at: datetime | None = None
    previous_owners: PreviousOwners = None
    last_position: Position = 0


class BillRow(Bill, kw_only=True):
    """Bills, returns, orders and transactions by number: amount, currency, discount, store, items, metadata."""

    incomplete: Annotated[bool, "only updates were recorded"]


class BillItemRow(NamedTuple):
    """Line items of bills."""

    ordinal: int
    product: str | None
    name: str | None
    quantity: int | None
    price: Decimal | None
    amount: Annotated[Decimal | None, "of the whole quantity"]


class BillMetadataRow(NamedTuple):
    """Further values of bills."""

    name: Identifier
    value: Annotated[str, "as the merchant wrote it; several values are separated by commas"]


BILLS_TABLE = Table(
    "bills",
    BillRow,
    {
        "number": "(ledger_id, number)",
        "store": "(ledger_id, store, subject)",
        "flagged": "(ledger_id, subject) WHERE incomplete OR delivery_status_unknown OR entered_in_future",
    },
)


BILL_ITEMS_TABLE = Table("bill_items", BillItemRow, key=("ordinal",))
BILL_METADATA_TABLE = Table("bill_metadata", BillMetadataRow, key=("name",))


def add(bill: Bill, fact: BillAdded, occurrence: Occurrence) -> None:
    """A bill was issued."""
    _update_fields(bill, fact, occurrence)
    bill.added_at = bill.added_at or occurrence.occurred_at


def update(bill: Bill, fact: BillUpdated, occurrence: Occurrence) -> None:
    """A bill changed."""
    _update_fields(bill, fact, occurrence)
    bill.updated_at = occurrence.occurred_at


def _update_fields(bill: Bill, fact: BillFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. 0 is a value; None is not."""
    update_customer(bill, fact)
    update_stated(bill, fact, "number", "bill_type", "line_item_count", "store", "till")
    update_stated(bill, fact, "amount", "gross_amount", "discount", "currency", "items", "status", "metadata")
    if fact.delivery_status is not None:
        bill.delivery_status = fact.delivery_status
        bill.delivery_status_unknown = fact.delivery_status_unknown
    if fact.entered_at is not None:
        bill.entered_at = fact.entered_at
        bill.entered_in_future = fact.entered_in_future
    bill.last_position = max(bill.last_position, occurrence.position)


def bill_rows(_subject: str, bill: Bill) -> Rows:
    items = [row_from(item, BillItemRow, ordinal=ordinal) for ordinal, item in enumerate(bill.items, 1)]
    return {
        "bills": [row_from(bill, BillRow, incomplete=bill.added_at is None)],
        "bill_items": items,
        "bill_metadata": [BillMetadataRow(name, value) for name, value in dict(bill.metadata).items()],
    }


BILLS = Projection(
    name="bills",
    version=5,
    subject="bill",
    start=Bill,
    on={BillAdded: add, BillUpdated: update},
    rows=bill_rows,
    tables=(BILLS_TABLE, BILL_ITEMS_TABLE, BILL_METADATA_TABLE),
)
