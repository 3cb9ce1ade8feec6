"""Capillary's customers: added, updated, subscribed (document 003, customer events).

Facts hold the kinds of a customer's identifiers. The identifiers are personal and never in a fact. An e-mail address
that was redacted before delivery counts as absent (domain §1.2).
"""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from ledger.facts import Fact
from ledger.facts.customers import CustomerAdded, CustomerSubscribed, CustomerUpdated, Subscription
from ledger.vendors.capillary.enums import EmptyIfNull, enum_value
from ledger.vendors.capillary.people import CustomerIdentifiers
from ledger.vendors.capillary.stores import EnteredEvent
from ledger.vendors.fields import List, OptionalId, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType

LOYALTY_TYPES = frozenset({"LOYALTY", "NON_LOYALTY"})
SOURCES = frozenset(
    {"INSTORE", "ECOMMERCE", "MOBILE_APP", "WEBSITE", "WEB_ENGAGE", "FACEBOOK", "LINE", "WECHAT"}
    | {"JD", "MARTJACK", "TAOBAO", "TMALL"}
)


class Instore(VendorModel):
    """Identifiers of the customer in the brand's stores."""

    mobile: OptionalId = None
    email: OptionalId = None
    external_id: OptionalId = None
    cardnumber: OptionalId = None
    card_numbers: Annotated[tuple[OptionalId, ...], List] = ()
    cardexternalid: OptionalId = None

    def kinds(self) -> Iterator[str]:
        if self.mobile:
            yield "mobile"
        if self.email:
            yield "email"
        if self.external_id:
            yield "externalId"
        if self.cardnumber or any(self.card_numbers):
            yield "cardNumber"
        if self.cardexternalid:
            yield "cardExternalId"


class ChannelIdentifier(VendorModel):
    identifier_value: OptionalId = None


class ChannelAccount(VendorModel):
    account_id: OptionalId = None
    identifiers: Annotated[tuple[ChannelIdentifier, ...], List] = ()


class Channel(VendorModel):
    """Identifiers of the customer in another channel."""

    accounts: Annotated[tuple[ChannelAccount, ...], List] = ()

    def has_identifier(self) -> bool:
        return any(
            account.account_id or any(identifier.identifier_value for identifier in account.identifiers)
            for account in self.accounts
        )


NO_CHANNEL = Channel()


class Identifiers(CustomerIdentifiers):
    """All identifiers of a customer. The vendor spells one channel "toabao" (domain §1.3)."""

    loyalty_type: Text = None
    instore: Annotated[Instore, EmptyIfNull] = Instore()
    ecommerce: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    facebook: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    jd: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    line: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    martjack: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    taobao: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    tmall: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    toabao: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    web_engage: Annotated[Channel, EmptyIfNull, Field(alias="web_engage")] = NO_CHANNEL
    website: Annotated[Channel, EmptyIfNull] = NO_CHANNEL
    wechat: Annotated[Channel, EmptyIfNull] = NO_CHANNEL

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of identifiers that are present, sorted."""
        channels = {
            "taobao" if name == "toabao" else name
            for name, value in self
            if isinstance(value, Channel) and value.has_identifier()
        }
        return tuple(sorted(channels.union(self.instore.kinds())))


class DescribedCustomer(EnteredEvent):
    customer_identifiers: Identifiers
    loyalty_type: Text = None
    source: Text = None

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of every fact that describes a customer. Raises ValueError if there is no customer."""
        return {
            "customer": customer_of(self.customer_identifiers, context),
            "loyalty_type": enum_value(self.loyalty_type or self.customer_identifiers.loyalty_type, LOYALTY_TYPES),
            "source": enum_value(self.source, SOURCES),
            "identifiers": self.customer_identifiers.kinds(),
            **self.entry(context)._asdict(),
        }


def customer_of(identifiers: CustomerIdentifiers, context: EventContext) -> str:
    """Return the ref of the customer. Raises ValueError if the event names no customer."""
    if identifiers.customer_id is None:
        raise ValueError("no customer")
    return context.ref(identifiers.customer_id)


def customer_added(event: DescribedCustomer, context: EventContext) -> list[Fact]:
    return [CustomerAdded(**event.fact_fields(context))]


class UpdatedField(VendorModel):
    field_name: Text = None


class Status(VendorModel):
    """The status and its label, which the brand may choose; newer deliveries carry either or both."""

    current_label: Text = None
    current_status: Text = None
    previous_label: Text = None
    previous_status: Text = None


class UpdatedCustomer(DescribedCustomer):
    customer_status: Annotated[Status, EmptyIfNull] = Status()
    updated_fields: Annotated[tuple[UpdatedField, ...], List] = ()


def customer_updated(event: UpdatedCustomer, context: EventContext) -> list[Fact]:
    """Only the names of changed fields are kept. The label "Deleted" states that a deletion was carried out (trap 24).

    The reason for a status is free text and remains in the payload.
    """
    status = event.customer_status
    return [
        CustomerUpdated(
            **event.fact_fields(context),
            status=status.current_label or status.current_status,
            previous_status=status.previous_label or status.previous_status,
            fields=tuple(field.field_name for field in event.updated_fields if field.field_name),
        )
    ]


class ChannelSubscription(VendorModel):
    channel: Text = None
    current_status: Text = None
    priority: Text = None


class SubscribedCustomer(VendorModel):
    customer_identifiers: CustomerIdentifiers
    subscriptions: Annotated[tuple[ChannelSubscription, ...], List] = ()


def customer_subscription(event: SubscribedCustomer, context: EventContext) -> list[Fact]:
    """Return the subscriptions that have a channel and a status. This event is in the vendor's current documents, not
    in document 003.
    """
    subscriptions = tuple(
        Subscription(line.channel, line.current_status, line.priority)
        for line in event.subscriptions
        if line.channel and line.current_status
    )
    return [CustomerSubscribed(customer=customer_of(event.customer_identifiers, context), subscriptions=subscriptions)]


KINDS: dict[str, EventType[Any]] = {
    "customerAdded": EventType(DescribedCustomer, customer_added),
    "customerUpdated": EventType(UpdatedCustomer, customer_updated),
    "customerSubscription": EventType(SubscribedCustomer, customer_subscription),
}
