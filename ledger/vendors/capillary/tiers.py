"""Capillary's tiers: upgraded, renewed, downgraded, reminders of a downgrade; and programmes with their tiers.

A tier is identified by its number within the programme. Two tiers of a programme may share a number (trap 38). So the
name at that time is kept, too.

Most events about points describe their programme: name, ratio, tiers. That is no fact, since each event repeats it. A
query reads it from the latest event of a programme.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from ledger.facts import Fact
from ledger.facts.tiers import TierClaimed, TierDowngraded, TierRenewed, TierUpgraded
from ledger.vendors.capillary.people import CustomerEvent, ProgrammeDetails
from ledger.vendors.fields import Id, List, OptionalId, Text, VendorModel, as_day, as_text
from ledger.vendors.vendor import EventContext, EventType, ProgrammeDescription, TierDescription


class Tier(VendorModel):
    tier_number: OptionalId = None
    tier_name: Text = None


class TieredProgramme(ProgrammeDetails):
    """A programme with its tiers."""

    tiers: Annotated[list[Tier], List] = []


class DescribedProgramme(TieredProgramme):
    id: Id
    name: Text = None
    is_default: bool | None = None


class TierEvent(CustomerEvent):
    loyalty_program_id: Id
    loyalty_program_details: Annotated[TieredProgramme, BeforeValidator(lambda value: value or {})] = TieredProgramme()
    tier_expiry_date: Text = None
    notes: Text = None

    def name_of(self, number: str) -> str | None:
        """Return the name of a tier, None unless exactly one tier of the programme has the number."""
        names = {tier.tier_name for tier in self.loyalty_program_details.tiers if tier.tier_number == number}
        return names.pop() if len(names) == 1 else None

    def fact_fields(self, context: EventContext, number: str) -> dict[str, Any]:
        """Return the fields of every change of tier. An unreadable day is None and flagged (domain §1.5)."""
        until = as_day(self.tier_expiry_date)
        return {
            "customer": self.customer(context),
            "programme": self.loyalty_program_id,
            "tier": number,
            "tier_name": self.name_of(number),
            "until": until,
            "until_unreadable": until is None and self.tier_expiry_date is not None,
        }


class TierUpgradedEvent(TierEvent):
    upgraded_tier_number: Id
    previous_tier_number: OptionalId = None
    upgrade_type: Text = None


def tier_upgraded(event: TierUpgradedEvent, context: EventContext) -> list[Fact]:
    fields = event.fact_fields(context, event.upgraded_tier_number)
    return [TierUpgraded(**fields, previous=event.previous_tier_number, note=as_text(event.upgrade_type))]


class TierDowngradedEvent(TierEvent):
    downgraded_tier_number: Id
    previous_tier_number: OptionalId = None


def tier_downgraded(event: TierDowngradedEvent, context: EventContext) -> list[Fact]:
    return [
        TierDowngraded(**event.fact_fields(context, event.downgraded_tier_number), previous=event.previous_tier_number)
    ]


class TierRenewedEvent(TierEvent):
    current_tier_number: Id
    renew_type: Text = None


def tier_renewed(event: TierRenewedEvent, context: EventContext) -> list[Fact]:
    return [TierRenewed(**event.fact_fields(context, event.current_tier_number), note=as_text(event.renew_type))]


class TierDowngradeReminder(TierEvent):
    current_tier_number: Id
    scheduled_downgrade_date: Text = None


def tier_downgrade_reminder(event: TierDowngradeReminder, context: EventContext) -> list[Fact]:
    """A reminder changes nothing. It claims the current tier and its last day (trap 9)."""
    number = event.current_tier_number
    return [
        TierClaimed(
            customer=event.customer(context),
            programme=event.loyalty_program_id,
            tier=number,
            tier_name=event.name_of(number),
            downgrade_on=as_day(event.scheduled_downgrade_date),
        )
    ]


def describe_programmes(body: Mapping[str, Any]) -> Iterator[ProgrammeDescription]:
    """Yield the description of the programme of an event, if it has one."""
    details = body.get("loyaltyProgramDetails")
    if not isinstance(details, Mapping):
        return
    try:
        programme = DescribedProgramme.model_validate(details)
    except ValidationError:
        return
    yield ProgrammeDescription(
        programme.id,
        programme.name,
        programme.is_default,
        programme.points_to_currency_ratio,
        tuple(TierDescription(tier.tier_number, tier.tier_name) for tier in programme.tiers),
    )


KINDS: dict[str, EventType[Any]] = {
    "tierUpgraded": EventType(TierUpgradedEvent, tier_upgraded),
    "tierRenewed": EventType(TierRenewedEvent, tier_renewed),
    "tierDowngraded": EventType(TierDowngradedEvent, tier_downgraded),
    "tierDowngradeReminder": EventType(TierDowngradeReminder, tier_downgrade_reminder),
}
