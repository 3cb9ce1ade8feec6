"""Capillary's bills, which it calls transactions: added and updated. They move no points; `pointsIssued` does.

An update tells only a part of the bill, so what it leaves out is not said to be empty.
"""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.decimals import parse_decimal
from ledger.facts import Fact
from ledger.facts.bills import BillAdded, BillUpdated
from ledger.vendors.capillary.enums import EmptyIfNull, enum_value
from ledger.vendors.capillary.people import CustomerIdentifiers
from ledger.vendors.capillary.stores import EnteredEvent
from ledger.vendors.fields import Id, OptionalId, Text, as_id, number_text
from ledger.vendors.vendor import EventContext, EventType

AMOUNT_MAX = Decimal(10) ** 15
AMOUNT_PLACES_MAX = 30
LINE_ITEMS_MAX = 10**6

DELIVERY_STATUSES = frozenset({"PLACED", "PROCESSED", "SHIPPED", "DELIVERED", "RETURNED"})
BILL_TYPES = frozenset({"REGULAR", "RETURN", "MIXED", "NOT_INTERESTED", "NOT_INTERESTED_RETURN"})


def as_amount(value: Any) -> Decimal | None:
    """Read money exactly, with as many places as the till sent, up to AMOUNT_PLACES_MAX; None where nothing is said.

    Raises ValueError for what is no number, or beyond AMOUNT_MAX.
    """
    if value is None or (type(value) is str and not value.strip()):
        return None
    if type(value) is bool or not isinstance(value, int | str | Decimal):
        raise ValueError("is not a number")
    return parse_decimal(number_text(value), largest=AMOUNT_MAX, places=AMOUNT_PLACES_MAX)


def as_count(value: Any) -> int | None:
    """Read a number of line items; None where the vendor says none, or -1 for it."""
    text = as_id(value)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 7 or int(text) > LINE_ITEMS_MAX:
        raise ValueError("is not a count")
    return int(text)


OptionalAmount = Annotated[Decimal | None, BeforeValidator(as_amount)]
OptionalCount = Annotated[int | None, BeforeValidator(as_count)]


class Transaction(EnteredEvent):
    transaction_id: Id
    customer_identifiers: Annotated[CustomerIdentifiers, EmptyIfNull] = CustomerIdentifiers()
    bill_number: OptionalId = None
    bill_type: Text = None
    amount: OptionalAmount = None
    gross_amount: OptionalAmount = None
    discount: OptionalAmount = None
    currency_code: OptionalId = None
    line_item_count: OptionalCount = None
    delivery_status: Text = None

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        """Give the fields of a fact about the bill.

        A gross amount of 0 beside a net amount is what the vendor writes for "not given": no discount makes something
        of nothing. Read as a figure, it would wipe out the one that an earlier event told.
        """
        customer = self.customer_identifiers.customer_id
        delivery_status = enum_value(self.delivery_status, DELIVERY_STATUSES)
        return {
            "bill": context.ref(self.transaction_id),
            "customer": context.ref(customer) if customer else None,
            "number": self.bill_number,
            "bill_type": enum_value(self.bill_type, BILL_TYPES),
            "amount": self.amount,
            "gross_amount": None if self.gross_amount == 0 and self.amount else self.gross_amount,
            "discount": self.discount,
            "currency": self.currency_code.upper() if self.currency_code else None,
            "line_item_count": self.line_item_count,
            "delivery_status": delivery_status,
            "delivery_status_unknown": delivery_status is not None and delivery_status not in DELIVERY_STATUSES,
            **self.entry(context)._asdict(),
        }


def transaction_added(event: Transaction, context: EventContext) -> list[Fact]:
    return [BillAdded(**event.fact_fields(context))]


def transaction_updated(event: Transaction, context: EventContext) -> list[Fact]:
    return [BillUpdated(**event.fact_fields(context))]


KINDS: dict[str, EventType[Any]] = {
    "transactionAdded": EventType(Transaction, transaction_added),
    "transactionUpdated": EventType(Transaction, transaction_updated),
}
