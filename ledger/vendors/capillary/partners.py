"""Capillary's partner programmes: a customer is linked to a programme, changes in it, leaves it.

A membership belongs to the customer, not to the holder of the points. Linking one member of a group links no other
member.
"""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.partner_memberships import PartnerDelinked, PartnerExpiryClaimed, PartnerLinked, PartnerUpdated
from ledger.vendors.capillary.enums import EmptyIfNull, enum_value
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.fields import Day, Id, OptionalId, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType

PARTNER_TYPES = frozenset({"SUPPLEMENTARY", "EXTERNAL"})


class PartnerEvent(CustomerEvent):
    loyalty_program_id: Id
    partner_program_id: Id
    partner_program_name: Text = None
    partner_program_type: Text = None

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of every fact about a partner membership."""
        return {
            "customer": self.customer(context),
            "programme": self.loyalty_program_id,
            "partner_programme": self.partner_program_id,
            "partner_name": self.partner_program_name,
            "partner_type": enum_value(self.partner_program_type, PARTNER_TYPES),
        }


class PartnerDetails(VendorModel):
    """Details of a membership. Days may be far away: a membership ends in 2123 (domain §1.5). The number is personal,
    so only its presence is used.
    """

    membership_expiry_date: Day = None
    membership_number: OptionalId = None
    partner_tier_number: OptionalId = None
    partner_tier_expiry_date: Day = None


class DetailedPartnerEvent(PartnerEvent):
    update_type: Text = None
    customer_partner_program_details: Annotated[PartnerDetails, EmptyIfNull] = PartnerDetails()

    def detail_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of a fact that describes the membership."""
        details = self.customer_partner_program_details
        return {
            **self.fact_fields(context),
            "until": details.membership_expiry_date,
            "tier": details.partner_tier_number,
            "tier_until": details.partner_tier_expiry_date,
            "has_number": details.membership_number is not None,
        }


def partner_program_linked(event: DetailedPartnerEvent, context: EventContext) -> list[Fact]:
    return [PartnerLinked(**event.detail_fields(context))]


def partner_program_updated(event: DetailedPartnerEvent, context: EventContext) -> list[Fact]:
    return [PartnerUpdated(**event.detail_fields(context), update_type=event.update_type)]


def partner_program_delinked(event: PartnerEvent, context: EventContext) -> list[Fact]:
    return [PartnerDelinked(**event.fact_fields(context))]


class ExpiryReminder(PartnerEvent):
    scheduled_expiry_date: Day = None


def expiry_reminder(event: ExpiryReminder, context: EventContext) -> list[Fact]:
    """A reminder changes nothing (trap 9)."""
    return [PartnerExpiryClaimed(**event.fact_fields(context), expires_on=event.scheduled_expiry_date)]


KINDS: dict[str, EventType[Any]] = {
    "partnerProgramLinked": EventType(DetailedPartnerEvent, partner_program_linked),
    "partnerProgramUpdated": EventType(DetailedPartnerEvent, partner_program_updated),
    "partnerProgramDelinked": EventType(PartnerEvent, partner_program_delinked),
    "supplementaryMembershipExpiryReminder": EventType(ExpiryReminder, expiry_reminder),
}
