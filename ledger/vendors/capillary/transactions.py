"""Capillary's bills, which it calls transactions: added and updated. They move no points; `pointsIssued` does.

An update contains only a part of the bill. A missing field is unknown, not empty.
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
    """Parse money exactly, with at most AMOUNT_PLACES_MAX decimal places. None if missing.

    Raises ValueError if the value is not a number, or beyond AMOUNT_MAX.
    """
    if value is None or (type(value) is str and not value.strip()):
        return None
    if type(value) is bool or not isinstance(value, int | str | Decimal):
        raise ValueError("is not a number")
    return parse_decimal(number_text(value), largest=AMOUNT_MAX, places=AMOUNT_PLACES_MAX)


def as_count(value: Any) -> int | None:
    """Parse a number of line items. None if missing or -1. Raises ValueError if it is not a count."""
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
        """Return the fields of a fact about the bill.

        A gross amount of 0 beside a net amount means "not given". As a figure it would replace the amount that an
        earlier event reported.
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
