"""Facts about streaks: a customer repeats an activity within a period and reaches levels."""

from datetime import datetime
from decimal import Decimal

from ledger.facts.fact import Fact


class StreakFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer's streak in one period of one target.

    Target and period identify the streak. In some events the vendor's streak ids are missing. In some the streak name
    contains the level's number. Fields `..._local` hold the vendor's days without a time zone, as written, because they
    are not instants.
    """

    subject_kind = "streak"

    customer: str
    target: str
    period: str | None = None
    target_name: str | None = None
    period_name: str | None = None
    streak: str | None = None
    user_streak: str | None = None
    name: str | None = None

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.target}:{self.period or '-'}"


class StreakDefined(StreakFact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact that also holds the definition of the streak. `level_values` may be empty although there are levels."""

    levels_count: int | None = None
    level_values: tuple[str, ...] = ()
    value: Decimal | None = None
    starts_local: str | None = None
    ends_local: str | None = None


class StreakEnrolled(StreakDefined, frozen=True, kw_only=True, omit_defaults=True):
    """The customer was enrolled in the streak."""

    rank = 5


class StreakStarted(StreakDefined, frozen=True, kw_only=True, omit_defaults=True):
    """The streak started."""

    rank = 10


class StreakLevelAchieved(StreakFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer reached a level."""

    rank = 20
    level: str
    value: Decimal | None = None
    achieved_at: datetime | None = None


class StreakLevelUnAchieved(StreakFact, frozen=True, kw_only=True, omit_defaults=True):
    """A reached level was withdrawn because of a return."""

    rank = 30
    level: str
    value: Decimal | None = None
    achieved_at: datetime | None = None


class StreakEnded(StreakDefined, frozen=True, kw_only=True, omit_defaults=True):
    """The streak ended. The counts are the vendor's."""

    rank = 40
    levels_achieved: tuple[str, ...] = ()
    levels_achieved_count: int | None = None


class StreakUnEnrolled(StreakDefined, frozen=True, kw_only=True, omit_defaults=True):
    """The customer was removed from the streak, for the rest of this period."""

    rank = 50


FACTS: tuple[type[Fact], ...] = (
    StreakEnrolled,
    StreakStarted,
    StreakLevelAchieved,
    StreakLevelUnAchieved,
    StreakEnded,
    StreakUnEnrolled,
)
