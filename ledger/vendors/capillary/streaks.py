"""Capillary's streaks: enrolled, started, levels reached and withdrawn, ended, un-enrolled (document 003, trap 30).

Numbers are text in some fields, and days have no zone. The activity of `streakEnd` is named `streakStartEvent`, so it
is ignored.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.streaks import (
    StreakEnded,
    StreakEnrolled,
    StreakLevelAchieved,
    StreakLevelUnAchieved,
    StreakStarted,
    StreakUnEnrolled,
)
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.capillary.targets import TargetDetails
from ledger.vendors.fields import Count, Figure, List, OptionalId, Text, Time, VendorModel
from ledger.vendors.leniency import STRICT
from ledger.vendors.vendor import EventContext, EventType


def as_local_time(value: Any) -> str | None:
    """Parse a day and time without a zone. Return it as ISO 8601 text, None if missing or unreadable."""
    try:
        return datetime.fromisoformat(value.strip()).isoformat() if type(value) is str else None
    except ValueError:
        return None


LocalTime = Annotated[str | None, BeforeValidator(as_local_time)]


class Streak(VendorModel):
    """A streak of an event. Each kind of event has some of these fields."""

    streak_id: OptionalId = None
    user_streak_id: OptionalId = None
    streak_name: Text = None
    number_of_level: Count = None
    level_values: Annotated[tuple[Text, ...], List] = ()
    start_date: LocalTime = None
    end_date: LocalTime = None

    def name_fields(self) -> dict[str, Any]:
        return {"streak": self.streak_id, "user_streak": self.user_streak_id, "name": self.streak_name}

    def definition_fields(self) -> dict[str, Any]:
        """Return the definition of the streak. Levels may lack values: `numberOfLevel: 1, levelValues: []`."""
        return {
            "levels_count": self.number_of_level,
            "level_values": tuple(value for value in self.level_values if value),
            "starts_local": self.start_date,
            "ends_local": self.end_date,
        }


AnyStreak = TypeVar("AnyStreak", bound=Streak)


class StreakEvent(CustomerEvent):
    """The fields of all events about streaks, with their targets in a list or alone."""

    target_data: Annotated[tuple[TargetDetails, ...], List, STRICT] = ()  # in the order of the streaks
    target_details: TargetDetails | None = None

    def pair_with_targets(
        self, streaks: Sequence[AnyStreak], context: EventContext
    ) -> list[tuple[AnyStreak, dict[str, Any]]]:
        """Return each streak with the fields that identify it and its target.

        A single target belongs to all streaks, else targets and streaks have the same order. Raises ValueError if their
        numbers differ.
        """
        targets = self.target_data or ((self.target_details,) if self.target_details else ())
        if len(targets) == 1:
            targets = targets * len(streaks)
        if len(targets) != len(streaks):
            raise ValueError("streaks and targets do not pair")
        customer = self.customer(context)
        return [
            (
                streak,
                {
                    "customer": customer,
                    "target": target.id,
                    "period": target.target_period_id,
                    "target_name": target.name,
                    "period_name": target.target_period_name,
                    **streak.name_fields(),
                },
            )
            for streak, target in zip(streaks, targets, strict=True)
        ]


class EnrolledStreak(Streak):
    streak_value_when_enrolled: Figure = None


class StreakCustomerEnrolment(StreakEvent):
    streak_enrolment_data: Annotated[tuple[EnrolledStreak, ...], List, STRICT]


def streak_customer_enrolment(event: StreakCustomerEnrolment, context: EventContext) -> list[Fact]:
    return [
        StreakEnrolled(**fields, **streak.definition_fields(), value=streak.streak_value_when_enrolled)
        for streak, fields in event.pair_with_targets(event.streak_enrolment_data, context)
    ]


class UnEnrolledStreak(Streak):
    streak_value_when_un_enrolled: Figure = None


class StreakCustomerUnEnrolment(StreakEvent):
    streak_un_enrolment_data: Annotated[tuple[UnEnrolledStreak, ...], List, STRICT]


def streak_customer_un_enrolment(event: StreakCustomerUnEnrolment, context: EventContext) -> list[Fact]:
    return [
        StreakUnEnrolled(**fields, **streak.definition_fields(), value=streak.streak_value_when_un_enrolled)
        for streak, fields in event.pair_with_targets(event.streak_un_enrolment_data, context)
    ]


class StartedStreak(Streak):
    user_streak_value_at_the_start: Figure = None


class StreakStart(StreakEvent):
    streak_start_data: Annotated[tuple[StartedStreak, ...], List, STRICT]


def streak_start(event: StreakStart, context: EventContext) -> list[Fact]:
    return [
        StreakStarted(**fields, **streak.definition_fields(), value=streak.user_streak_value_at_the_start)
        for streak, fields in event.pair_with_targets(event.streak_start_data, context)
    ]


class EndedStreak(Streak):
    number_of_levels_achieved_by_the_user: Count = None
    levels_achieved_by_the_user: Annotated[tuple[Text, ...], List] = ()
    user_streak_value_by_the_end: Figure = None


class StreakEnd(StreakEvent):
    streak_end_data: Annotated[tuple[EndedStreak, ...], List, STRICT]


def streak_end(event: StreakEnd, context: EventContext) -> list[Fact]:
    return [
        StreakEnded(
            **fields,
            **streak.definition_fields(),
            value=streak.user_streak_value_by_the_end,
            levels_achieved=tuple(level for level in streak.levels_achieved_by_the_user if level),
            levels_achieved_count=streak.number_of_levels_achieved_by_the_user,
        )
        for streak, fields in event.pair_with_targets(event.streak_end_data, context)
    ]


class StreakLevel(Streak):
    streak_level_name: Text = None
    user_current_streak_value: Figure = None
    streak_level_achieved_date: Time = None

    def level_fields(self) -> dict[str, Any]:
        """Return the level. Its name is the level's own, else the streak's. The streak's name contains the level's
        number in these events.
        """
        return {
            "level": self.streak_level_name or self.streak_name or "-",
            "value": self.user_current_streak_value,
            "achieved_at": self.streak_level_achieved_date,
        }


class StreakLevelEvent(StreakEvent):
    streak_data: Annotated[tuple[StreakLevel, ...], List, STRICT]


def streak_level_achieved(event: StreakLevelEvent, context: EventContext) -> list[Fact]:
    return [
        StreakLevelAchieved(**fields, **level.level_fields())
        for level, fields in event.pair_with_targets(event.streak_data, context)
    ]


def streak_level_un_achieved(event: StreakLevelEvent, context: EventContext) -> list[Fact]:
    return [
        StreakLevelUnAchieved(**fields, **level.level_fields())
        for level, fields in event.pair_with_targets(event.streak_data, context)
    ]


KINDS: dict[str, EventType[Any]] = {
    "streakCustomerEnrolment": EventType(StreakCustomerEnrolment, streak_customer_enrolment),
    "streakStart": EventType(StreakStart, streak_start),
    "streakLevelAchieved": EventType(StreakLevelEvent, streak_level_achieved),
    "streakLevelUnAchieved": EventType(StreakLevelEvent, streak_level_un_achieved),
    "streakEnd": EventType(StreakEnd, streak_end),
    "streakCustomerUnEnrolment": EventType(StreakCustomerUnEnrolment, streak_customer_un_enrolment),
}
