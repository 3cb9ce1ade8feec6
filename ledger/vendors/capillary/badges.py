"""Capillary's badges (document 003). Only `badgeEarned` gives a badge; a workflow request for a badge does not (trap
26).
"""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.badges import BadgeEarned, EarnLimit
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.fields import Figure, Id, List, Text, Time, VendorModel, as_count
from ledger.vendors.vendor import EventContext, EventType


class EarnConstraint(VendorModel):
    constraint_level: Text = None
    constraint_type: Text = None
    roll_type: Text = None
    roll_value: Figure = None
    max_earn_limit: Figure = None
    current_earn_count: Annotated[Decimal | None, BeforeValidator(as_count)] = None


class BadgeEarnedEvent(CustomerEvent):
    badge_id: Id
    earn_id: Id
    earned_on: Time = None
    earn_constraints: Annotated[tuple[EarnConstraint, ...], List] = ()


def badge_earned(event: BadgeEarnedEvent, context: EventContext) -> list[Fact]:
    """`earnId` identifies the occasion, because a badge may be earned several times. The counts of the limits are
    claims.
    """
    return [
        BadgeEarned(
            customer=event.customer(context),
            badge=event.badge_id,
            earn=event.earn_id,
            earned_at=event.earned_on,
            activity=event.triggering_activity.name,
            limits=tuple(
                EarnLimit(
                    constraint.constraint_level,
                    constraint.constraint_type,
                    constraint.roll_type,
                    constraint.roll_value,
                    constraint.max_earn_limit,
                    constraint.current_earn_count,
                )
                for constraint in event.earn_constraints
            ),
        )
    ]


KINDS: dict[str, EventType[Any]] = {
    "badgeEarned": EventType(BadgeEarnedEvent, badge_earned),
}
