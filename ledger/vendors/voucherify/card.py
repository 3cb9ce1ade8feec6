"""What Voucherify's events say about a loyalty card: which it is, whose it is, and what it holds.

A card is the account: its holder may be another than the customer who acts. Its programme is its campaign.
"""

from typing import Any

from ledger.facts.accounts import Claim
from ledger.vendors.shape import FarTime, Id, OptionalId, OptionalPoints, SnakeShape, Text, Time
from ledger.vendors.vendor import Stamp

NO_PROGRAMME = "-"  # a card outside any campaign
LOYALTY_CARD = "LOYALTY_CARD"


class Holdings(SnakeShape):
    """A card as it stands: `points` is all it ever got, `balance` what can be spent."""

    points: OptionalPoints = None
    balance: OptionalPoints = None


class Discount(SnakeShape):
    type: Text = None
    percent_off: OptionalPoints = None
    amount_off: OptionalPoints = None
    unit_off: OptionalPoints = None


class Voucher(SnakeShape):
    """A voucher of any kind: loyalty card, coupon, gift card."""

    id: Id
    code: Text = None
    type: Text = None
    campaign_id: OptionalId = None
    holder_id: OptionalId = None
    loyalty_card: Holdings | None = None
    discount: Discount | None = None
    created_at: Time = None
    expiration_date: FarTime = None

    @property
    def is_card(self) -> bool:
        """Say whether it holds points; a voucher whose type is not told is judged by what it holds."""
        return self.type == LOYALTY_CARD if self.type else self.loyalty_card is not None

    def claim(self) -> Claim | None:
        """Give what the card is said to hold; never right in customer.rewarded.loyalty_points (trap 15)."""
        card = self.loyalty_card
        return Claim(available=card.balance, lifetime=card.points) if card else None


class Named(SnakeShape):
    """A thing of which only the id is used. Its name and e-mail are personal and are not read."""

    id: OptionalId = None


class Balance(SnakeShape):
    """What an event changed: `points` by how much, `total` all the card ever got, `balance` what can be spent."""

    points: OptionalPoints = None
    total: OptionalPoints = None
    balance: OptionalPoints = None

    def claim(self) -> Claim | None:
        told = (self.balance, self.total) != (None, None)
        return Claim(available=self.balance, lifetime=self.total) if told else None


class Order(SnakeShape):
    id: OptionalId = None
    source_id: OptionalId = None  # the merchant's own number


class CardEvent(SnakeShape):
    """An event about one loyalty card."""

    voucher: Voucher
    customer: Named | None = None
    holder: Named | None = None
    campaign: Named | None = None
    order: Order | None = None

    def account(self, stamp: Stamp) -> dict[str, Any]:
        """Give the fields that name the account of a fact."""
        return account(stamp, self.voucher, self.campaign, self.holder, self.customer)

    def bill(self) -> dict[str, Any]:
        return bill(self.order)


def account(
    stamp: Stamp, voucher: Voucher, campaign: Named | None, holder: Named | None, customer: Named | None
) -> dict[str, Any]:
    """Name a card's account: the card, its campaign, and whose it is, as far as the event says."""
    owner = (holder and holder.id) or voucher.holder_id or (customer and customer.id)
    return {
        "holder": stamp.ref(voucher.id),
        "programme": voucher.campaign_id or (campaign and campaign.id) or NO_PROGRAMME,
        "customer": stamp.ref(owner) if owner else None,
    }


def bill(order: Order | None) -> dict[str, Any]:
    """Name the order behind a change: Voucherify's id, and the merchant's number where there is one."""
    return {"bill": order.id, "bill_number": order.source_id} if order else {}
