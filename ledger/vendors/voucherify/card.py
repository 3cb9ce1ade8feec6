"""Fields about a loyalty card in Voucherify's events: its identity, its owner and its balances.

A card is an account. Its holder may differ from the customer who acts. Its programme is its campaign.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ledger.facts.accounts import Claim
from ledger.facts.coupons import code_ref
from ledger.vendors.ends import End, end_fields
from ledger.vendors.fields import Count, Figure, OptionalId, SnakeModel, StrictOptionalId, Text, Time
from ledger.vendors.vendor import EventContext
from ledger.vendors.voucherify.orders import Order, whole_units

NO_PROGRAMME = "-"  # a card outside any campaign
LOYALTY_CARD = "LOYALTY_CARD"
GIFT_VOUCHER = "GIFT_VOUCHER"
VOUCHER_TYPES = frozenset({LOYALTY_CARD, GIFT_VOUCHER, "DISCOUNT_VOUCHER", "LUCKY_DRAW"})


class LoyaltyCard(SnakeModel):
    """The state of a card: `points` is the sum ever credited, `balance` the spendable points."""

    points: Figure = None
    balance: Figure = None


class Discount(SnakeModel):
    type: Text = None
    percent_off: Figure = None
    amount_off: Figure = None
    unit_off: Figure = None
    amount_limit: Figure = None


class Gift(SnakeModel):
    """The money of a gift voucher: `amount` is the sum ever credited, `balance` the rest."""

    amount: Figure = None
    balance: Figure = None


def _is_null(value: Any) -> bool:
    return value is None


class RedemptionCount(SnakeModel):
    """The limit and the number of redemptions of a voucher.

    A quantity of null means no limit. An absent or unreadable quantity means unknown.
    """

    quantity: Count = None
    unlimited: Annotated[bool, Field(validation_alias="quantity"), BeforeValidator(_is_null)] = False
    redeemed_quantity: Count = None


class Voucher(SnakeModel):
    """A voucher of any type: loyalty card, coupon, gift card."""

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
        """True if the voucher holds points. Without a known type, the presence of `loyalty_card` decides."""
        return self.type == LOYALTY_CARD if self.type in VOUCHER_TYPES else self.loyalty_card is not None

    @property
    def is_gift(self) -> bool:
        return self.type == GIFT_VOUCHER if self.type in VOUCHER_TYPES else self.gift is not None

    def card_ref(self, context: EventContext) -> str:
        """Return the ref of a loyalty card. Raises ValueError if it has no id."""
        if self.id is None:
            raise ValueError("a loyalty card without its id")
        return context.ref(self.id)

    def coupon(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of a coupon's fact, for a voucher without points.

        The id names the coupon, else its code, which is unique in a project. Raises ValueError if it has neither.
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
        """Return the discount: a percentage, money in whole units of currency, or a number of things."""
        if self.is_gift:
            return {"discount_type": "GIFT", "discount_value": whole_units(self.gift.amount) if self.gift else None}
        discount = self.discount
        if discount is None:
            return {}
        value = whole_units(discount.amount_off)
        if value is None:
            value = discount.unit_off if discount.percent_off is None else discount.percent_off
        limit = whole_units(discount.amount_limit)
        return {"discount_type": discount.type, "discount_value": value, "discount_limit": limit}

    def claim(self) -> Claim | None:
        """Return the card's balances as a claim. They are wrong in customer.rewarded.loyalty_points (trap 15)."""
        card = self.loyalty_card
        return Claim(available=card.balance, lifetime=card.points) if card else None


class Reference(SnakeModel):
    """An object; only its id is read. Its name and e-mail are personal."""

    id: OptionalId = None


class Balance(SnakeModel):
    """A change of points and the result: `points` is the difference, `total` the sum ever credited, `balance` the
    spendable points.
    """

    points: Figure = None
    total: Figure = None
    balance: Figure = None

    def claim(self) -> Claim | None:
        return (
            Claim(available=self.balance, lifetime=self.total) if (self.balance, self.total) != (None, None) else None
        )


class CardEvent(SnakeModel):
    """An event about one loyalty card."""

    voucher: Voucher
    customer: Reference | None = None
    holder: Reference | None = None
    campaign: Reference | None = None
    order: Order | None = None

    def account(self, context: EventContext) -> dict[str, Any]:
        """Return the fields that identify the account of a fact."""
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
    """Return the fields that identify a card's account: the card, its campaign, its owner, and another who acted."""
    owner = owner_id(voucher, holder, customer)
    return {
        "holder": voucher.card_ref(context),
        "programme": voucher.campaign_id or (campaign and campaign.id) or NO_PROGRAMME,
        "customer": context.ref(owner) if owner else None,
        "card_code": voucher.code,
        "acted_by": context.ref(customer.id) if customer and customer.id and customer.id != owner else None,
    }


def owner_id(voucher: Voucher, holder: Reference | None, customer: Reference | None) -> str | None:
    """Return the id of the customer who owns the voucher, None if not reported."""
    return (holder.id if holder else None) or voucher.holder_id or (customer.id if customer else None)


def bill_fields(order: Order | None) -> dict[str, Any]:
    """Return the order behind a change: Voucherify's id, and the merchant's number if there is one."""
    return {"bill": order.id, "bill_number": order.source_id} if order else {}
