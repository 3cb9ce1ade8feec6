"""What Voucherify's events say about a loyalty card: which it is, whose it is, and what it holds.

A card is the account: its holder may be another than the customer who acts. Its programme is its campaign.
"""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ledger.facts.accounts import Claim
from ledger.facts.coupons import code_ref
from ledger.vendors.ends import End, end_fields
from ledger.vendors.fields import Count, Figure, OptionalId, OptionalPoints, SnakeModel, StrictOptionalId, Text, Time
from ledger.vendors.vendor import EventContext

NO_PROGRAMME = "-"  # a card outside any campaign
LOYALTY_CARD = "LOYALTY_CARD"
GIFT_VOUCHER = "GIFT_VOUCHER"
MINOR_UNITS = 100  # Voucherify writes all money times 100


class LoyaltyCard(SnakeModel):
    """A card as it stands: `points` is all it ever got, `balance` what can be spent."""

    points: Figure = None
    balance: Figure = None


class Discount(SnakeModel):
    type: Text = None
    percent_off: Figure = None
    amount_off: Figure = None
    unit_off: Figure = None


class Gift(SnakeModel):
    """The money of a gift voucher: `amount` is all it ever got, `balance` what is left."""

    amount: Figure = None
    balance: Figure = None


def _is_null(value: Any) -> bool:
    return value is None


class RedemptionCount(SnakeModel):
    """How often a voucher may be redeemed, and how often it was. A quantity of null means: without limit. One that is
    absent or cannot be read says nothing."""

    quantity: Count = None
    unlimited: Annotated[bool, Field(validation_alias="quantity"), BeforeValidator(_is_null)] = False
    redeemed_quantity: Count = None


class Voucher(SnakeModel):
    """A voucher of any kind: loyalty card, coupon, gift card."""

    id: OptionalId = None
    code: Text = None
    type: Text = None
    campaign_id: StrictOptionalId = None  # the programme of a card
    holder_id: OptionalId = None
    loyalty_card: LoyaltyCard | None = None
    discount: Discount | None = None
    gift: Gift | None = None
    redemption: RedemptionCount | None = None
    created_at: Time = None
    expiration_date: End = None

    @property
    def is_card(self) -> bool:
        """Say whether it holds points; a voucher whose type is not told is judged by what it holds."""
        return self.type == LOYALTY_CARD if self.type else self.loyalty_card is not None

    @property
    def is_gift(self) -> bool:
        return self.type == GIFT_VOUCHER if self.type else self.gift is not None

    def card_ref(self, context: EventContext) -> str:
        """Name a loyalty card. Raises ValueError without its id."""
        if self.id is None:
            raise ValueError("a loyalty card without its id")
        return context.ref(self.id)

    def coupon(self, context: EventContext) -> dict[str, Any]:
        """Return what a voucher that holds no points tells of itself, as fields of a coupon's fact.

        It is named by its id, else by its code, which is unique in a project. Raises ValueError without both.
        """
        if self.id is None and self.code is None:
            raise ValueError("a voucher without id and code")
        uses = self.redemption
        return {
            "coupon": context.ref(self.id or code_ref(self.code or "", self.campaign_id)),
            "code": self.code,
            "series": self.campaign_id,
            **end_fields(self.expiration_date),
            **self._discount(),
            "quantity": uses.quantity if uses else None,
            "unlimited": uses is not None and uses.unlimited,
            "redeemed_count": uses.redeemed_quantity if uses else None,
            "balance": whole_units(self.gift.balance) if self.gift else None,
        }

    def _discount(self) -> dict[str, Any]:
        """Return the percentage, the money in whole units of currency, or the number of things taken off."""
        if self.is_gift:
            return {"discount_type": "GIFT", "discount_value": whole_units(self.gift.amount) if self.gift else None}
        discount = self.discount
        if discount is None:
            return {}
        value = whole_units(discount.amount_off)
        if value is None:
            value = discount.unit_off if discount.percent_off is None else discount.percent_off
        return {"discount_type": discount.type, "discount_value": value}

    def claim(self) -> Claim | None:
        """Give what the card is said to hold; never right in customer.rewarded.loyalty_points (trap 15)."""
        card = self.loyalty_card
        return Claim(available=card.balance, lifetime=card.points) if card else None


def whole_units(minor_units: Decimal | None) -> Decimal | None:
    """Return an amount of money in whole units of its currency."""
    return None if minor_units is None else minor_units / MINOR_UNITS


class Reference(SnakeModel):
    """A thing of which only the id is used. Its name and e-mail are personal and are not read."""

    id: OptionalId = None


class Balance(SnakeModel):
    """What an event changed: `points` by how much, `total` all the card ever got, `balance` what can be spent."""

    points: OptionalPoints = None
    total: Figure = None
    balance: Figure = None

    def claim(self) -> Claim | None:
        return (
            Claim(available=self.balance, lifetime=self.total) if (self.balance, self.total) != (None, None) else None
        )


class Order(SnakeModel):
    id: OptionalId = None
    source_id: OptionalId = None  # the merchant's own number


class CardEvent(SnakeModel):
    """An event about one loyalty card."""

    voucher: Voucher
    customer: Reference | None = None
    holder: Reference | None = None
    campaign: Reference | None = None
    order: Order | None = None

    def account(self, context: EventContext) -> dict[str, Any]:
        """Give the fields that name the account of a fact."""
        return account_fields(context, self.voucher, self.campaign, self.holder, self.customer)

    def bill(self) -> dict[str, Any]:
        return bill_fields(self.order)


def account_fields(
    context: EventContext,
    voucher: Voucher,
    campaign: Reference | None,
    holder: Reference | None,
    customer: Reference | None,
) -> dict[str, Any]:
    """Name a card's account: the card, its campaign, and whose it is, as far as the event says."""
    owner = owner_id(voucher, holder, customer)
    return {
        "holder": voucher.card_ref(context),
        "programme": voucher.campaign_id or (campaign and campaign.id) or NO_PROGRAMME,
        "customer": context.ref(owner) if owner else None,
    }


def owner_id(voucher: Voucher, holder: Reference | None, customer: Reference | None) -> str | None:
    """Return the id of the customer whose voucher it is, as far as the event says."""
    return (holder.id if holder else None) or voucher.holder_id or (customer.id if customer else None)


def bill_fields(order: Order | None) -> dict[str, Any]:
    """Name the order behind a change: Voucherify's id, and the merchant's number where there is one."""
    return {"bill": order.id, "bill_number": order.source_id} if order else {}
