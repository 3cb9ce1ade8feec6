"""Voucherify's publications: a customer gets a voucher. That issues a coupon; for a loyalty card it moves no points."""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.vendors.fields import List, OptionalId, SnakeModel
from ledger.vendors.leniency import facts_of_each
from ledger.vendors.vendor import EventContext, EventType
from ledger.vendors.voucherify.card import Reference, Voucher
from ledger.vendors.voucherify.rewards import coupon_issued


class Publication(SnakeModel):
    id: OptionalId = None
    customer_id: OptionalId = None
    voucher: Voucher | None = None


class PublicationEvent(SnakeModel):
    """A publication of one or several vouchers. If there are several, `voucher` and `publication.voucher` repeat one of
    `vouchers`.
    """

    publication: Publication | None = None
    voucher: Voucher | None = None
    vouchers: Annotated[tuple[Voucher, ...], List] = ()
    customer: Reference | None = None
    holder: Reference | None = None

    def issued_vouchers(self) -> list[Voucher]:
        inside = self.publication.voucher if self.publication else None
        if self.vouchers:
            return list(self.vouchers)
        return [voucher for voucher in (self.voucher or inside,) if voucher is not None]

    def customer_id(self) -> str | None:
        recipient = self.publication.customer_id if self.publication else None
        owner = self.holder or self.customer
        return recipient or (owner.id if owner else None)


def publication_facts(event: PublicationEvent, context: EventContext) -> list[Fact]:
    """Return one fact for each coupon or gift voucher. Raises ValueError if there is no voucher."""
    vouchers = event.issued_vouchers()
    if not vouchers:
        raise ValueError("a publication without a voucher")
    issued = [voucher for voucher in vouchers if not voucher.is_card]
    return facts_of_each(issued, lambda voucher: [coupon_issued(voucher, event.customer_id(), context)])


KINDS: dict[str, EventType[Any]] = {
    "publication.succeeded": EventType(PublicationEvent, publication_facts),
    "customer.publication.succeeded": EventType(PublicationEvent, publication_facts),
    "voucher.published": EventType(PublicationEvent, publication_facts),
}
