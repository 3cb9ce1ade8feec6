"""Streaks: progress of each customer in each streak and period, level by level.

1. The end may be recorded before the start.
2. Leaving a streak is final for its period. Later facts change nothing and are counted.
3. A level withdrawn by a return counts even after the end.
4. Opposite facts of one instant make the state *contested*: start and end, level reached and withdrawn. The end and the
   withdrawal win by rank.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.streaks import (
    StreakDefined,
    StreakEnded,
    StreakEnrolled,
    StreakFact,
    StreakLevelAchieved,
    StreakLevelUnAchieved,
    StreakStarted,
    StreakUnEnrolled,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_stated
from projections.tables import Identifier, Position, StateOnly, Table, row_from


class StreakLevel(Struct):
    achieved: bool
    achieved_at: datetime | None = None
    unachieved_at: datetime | None = None
    told_at: StateOnly[datetime | None] = None
    contested: StateOnly[bool] = False


class StreakLevelRow(StreakLevel, kw_only=True):
    """Levels of streaks."""

    level: Identifier


class Streak(State):
    customer: Identifier | None = None
    target: str | None = None
    target_name: str | None = None
    period: str | None = None
    period_name: str | None = None
    streak: str | None = None
    user_streak: str | None = None
    name: str | None = None
    value: Decimal | None = None
    levels_count: int | None = None
    level_values: list[str] = []
    levels: StateOnly[dict[str, StreakLevel]] = field(default_factory=dict)
    levels_claimed_count: Annotated[int | None, "by the vendor's count at the end"] = None
    starts_local: Annotated[str | None, "without a zone, as the vendor writes it"] = None
    ends_local: str | None = None
    enrolled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    unenrolled_at: datetime | None = None
    after_unenrolment_count: int = 0
    last_position: Position = 0


class StreakRow(Streak, kw_only=True):
    """Streaks of customers: levels, values, periods."""

    status: Annotated[str, "enrolled, running, ended, unenrolled"]
    levels_achieved_count: Annotated[int, "the number of levels with a recorded achievement"]
    contested: bool
    incomplete: Annotated[bool, "neither enrolment nor start was recorded"]


STREAKS_TABLE = Table(
    "streaks",
    StreakRow,
    {
        "target": "(ledger_id, target, subject)",
        "status": "(ledger_id, status, subject)",
        "flagged": "(ledger_id, subject) WHERE contested OR incomplete OR after_unenrolment_count > 0",
    },
)
STREAK_LEVELS_TABLE = Table("streak_levels", StreakLevelRow, key=("level",))


def enrol(streak: Streak, fact: StreakEnrolled, occurrence: Occurrence) -> None:
    """The customer was enrolled in the streak."""
    if _update_fields(streak, fact, occurrence):
        _update_definition(streak, fact)
        streak.enrolled_at = occurrence.occurred_at


def start(streak: Streak, fact: StreakStarted, occurrence: Occurrence) -> None:
    """The streak started. A start after the end does not open it again."""
    if _update_fields(streak, fact, occurrence):
        value = streak.value
        _update_definition(streak, fact)
        streak.started_at = occurrence.occurred_at
        if streak.ended_at is not None:
            streak.value = value


def end(streak: Streak, fact: StreakEnded, occurrence: Occurrence) -> None:
    """The streak ended. Levels that the event names count as reached."""
    if _update_fields(streak, fact, occurrence):
        _update_definition(streak, fact)
        streak.ended_at = occurrence.occurred_at
        if fact.levels_achieved_count is not None:
            streak.levels_claimed_count = fact.levels_achieved_count
        for name in fact.levels_achieved:
            streak.levels.setdefault(name, StreakLevel(achieved=True, told_at=occurrence.occurred_at))


def reach_level(streak: Streak, fact: StreakLevelAchieved, occurrence: Occurrence) -> None:
    """The customer reached a level."""
    if _update_fields(streak, fact, occurrence):
        level = _update_level(streak, fact, occurrence, achieved=True)
        level.achieved_at = fact.achieved_at or occurrence.occurred_at


def lose_level(streak: Streak, fact: StreakLevelUnAchieved, occurrence: Occurrence) -> None:
    """A reached level was withdrawn after a return."""
    if _update_fields(streak, fact, occurrence):
        level = _update_level(streak, fact, occurrence, achieved=False)
        level.achieved_at = fact.achieved_at or level.achieved_at
        level.unachieved_at = occurrence.occurred_at


def unenrol(streak: Streak, fact: StreakUnEnrolled, occurrence: Occurrence) -> None:
    """The customer left the streak. Later facts of this period do not count."""
    if _update_fields(streak, fact, occurrence):
        _update_definition(streak, fact)
        streak.unenrolled_at = occurrence.occurred_at


def _update_level(
    streak: Streak, fact: StreakLevelAchieved | StreakLevelUnAchieved, occurrence: Occurrence, *, achieved: bool
) -> StreakLevel:
    """Update one level. Opposite facts of one instant make it contested."""
    level = streak.levels.setdefault(fact.level, StreakLevel(achieved))
    same_time = level.told_at == occurrence.occurred_at
    level.contested = same_time and (level.contested or level.achieved != achieved)
    level.achieved, level.told_at = achieved, occurrence.occurred_at
    streak.value = streak.value if fact.value is None else fact.value
    return level


def _update_definition(streak: Streak, fact: StreakDefined) -> None:
    update_stated(streak, fact, "levels_count", "starts_local", "ends_local", "value")
    streak.level_values = list(fact.level_values) or streak.level_values


def _update_fields(streak: Streak, fact: StreakFact, occurrence: Occurrence) -> bool:
    """Update the streak's ids and names. Return False if the customer has left, because later facts do not count."""
    streak.last_position = max(streak.last_position, occurrence.position)
    if streak.unenrolled_at is not None:
        streak.after_unenrolment_count += 1
        return False
    streak.customer, streak.target, streak.period = fact.customer, fact.target, fact.period
    update_stated(streak, fact, "target_name", "period_name", "streak", "user_streak", "name")
    return True


def streak_rows(_subject: str, streak: Streak) -> Rows:
    row = row_from(
        streak,
        StreakRow,
        status=_status(streak),
        levels_achieved_count=sum(level.achieved for level in streak.levels.values()),
        contested=_contested(streak),
        incomplete=streak.enrolled_at is None and streak.started_at is None,
    )
    levels = [row_from(level, StreakLevelRow, level=name) for name, level in streak.levels.items()]
    return {"streaks": [row], "streak_levels": levels}


def _contested(streak: Streak) -> bool:
    ended_as_it_started = streak.ended_at is not None and streak.ended_at == streak.started_at
    return ended_as_it_started or any(level.contested for level in streak.levels.values())


def _status(streak: Streak) -> str:
    if streak.unenrolled_at is not None:
        return "unenrolled"
    if streak.ended_at is not None:
        return "ended"
    return "running" if streak.started_at is not None or streak.levels else "enrolled"


STREAKS = Projection(
    name="streaks",
    version=5,
    subject="streak",
    start=Streak,
    on={
        StreakEnrolled: enrol,
        StreakStarted: start,
        StreakLevelAchieved: reach_level,
        StreakLevelUnAchieved: lose_level,
        StreakEnded: end,
        StreakUnEnrolled: unenrol,
    },
    rows=streak_rows,
    tables=(STREAKS_TABLE, STREAK_LEVELS_TABLE),
)
