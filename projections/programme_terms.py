"""The terms of programmes as folds use them: time zones, expiry rules, what a point is worth. Pure.

A lot is governed by the version in force when it was earned, and by later ones that were set for existing lots. So a
later version never changes an older lot unless it was asked to, and never one whose day was over before it held. What a
vendor states always wins: a version gives a day only to lots for which the vendor names none.
"""

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ledger.facts.fact import quote_id
from ledger.facts.terms import ExpiryRule, ProgrammeTermsSet
from ledger.vendors.internal.programme_terms import MONTHS

LAST_DAY = date(9999, 12, 30)  # days from here on are how vendors write "never"
TRANSFER_GRACE_DAYS = 2  # where the terms do not say
NO_TRANSFER_GRACE = timedelta(days=TRANSFER_GRACE_DAYS)


class Worth(NamedTuple):
    """What one point is worth in a currency."""

    ratio: Decimal
    currency: str


class Day(NamedTuple):
    """The day at whose end a lot lapses, None if it never does, and the version that gave it."""

    expires_on: date | None
    version: str


class ProgrammeTerms:
    """The versions of one programme's terms, in the order from which they hold."""

    def __init__(self, versions: Iterable[ProgrammeTermsSet]) -> None:
        """Take the versions in the order they were told: of two from the same instant the later told one holds."""
        self.versions = sorted(versions, key=lambda version: version.effective_from)
        self.slides = any(version.expiry.kind == "sliding" for version in self.versions)
        self._from = [version.effective_from for version in self.versions]
        self._alike = [self._slide_alike(era) for era in range(len(self.versions) + 1)]

    def _slide_alike(self, era: int) -> bool:
        """Say whether nothing but sliding periods governs lots earned between two versions."""
        governing = [*self.versions[max(0, era - 1) : era], *(one for one in self.versions[era:] if one.existing_lots)]
        return all(version.expiry.kind == "sliding" for version in governing)

    def sliding_by(self, activity: str) -> frozenset[str]:
        """Name the versions whose period an activity begins anew."""
        return frozenset(
            version.version
            for version in self.versions
            if version.expiry.kind == "sliding" and activity in version.expiry.activities
        )

    def era_of(self, earned_at: datetime) -> int | None:
        """Number the lots that always slide to the same day; None where a lot may slide otherwise than its like."""
        era = bisect_right(self._from, earned_at)
        return era if self._alike[era] else None

    def at(self, time: datetime) -> ProgrammeTermsSet | None:
        """Give the version in force at a time, None before the first."""
        found = bisect_right(self._from, time)
        return self.versions[found - 1] if found else None

    def governing(self, earned_at: datetime) -> ProgrammeTermsSet | None:
        """Give the version whose time zone and policies hold for a lot earned at a time."""
        found = bisect_right(self._from, earned_at)
        later = [version for version in self.versions[found:] if version.existing_lots]
        return later[-1] if later else self.versions[found - 1] if found else None

    def lapses_at(self, day: date, earned_at: datetime) -> datetime | None:
        """Give the instant a lot's day is over in its time zone, None where the day stands for "never"."""
        version = self.governing(earned_at)
        return end_of(day, version.time_zone if version is not None else "UTC")

    def day_of(self, earned_at: datetime, active_at: datetime, *, known_since: bool = True) -> Day | None:
        """Give the day of a lot for which the vendor names none, None where no version says anything.

        Where it is not known when the points were earned (`known_since` is false), only a sliding period gives a day.
        """
        found = bisect_right(self._from, earned_at)
        day = _day_by(self.versions[found - 1], earned_at, active_at, known_since=known_since) if found else None
        for version in self.versions[found:]:
            if not version.existing_lots:
                continue
            over = self._over(day)
            if over is not None and over <= version.effective_from:
                return day  # it had lapsed before
            new = _day_by(version, earned_at, active_at, known_since=known_since)
            if new.expires_on is not None:  # a shorter period ends no earlier than it was set
                first = version.effective_from.astimezone(ZoneInfo(version.time_zone)).date()
                new = Day(max(new.expires_on, first), version.version)
            day = new
        return day

    def _over(self, day: Day | None) -> datetime | None:
        if day is None or day.expires_on is None:
            return None
        zone = next(version.time_zone for version in self.versions if version.version == day.version)
        return end_of(day.expires_on, zone)


def _day_by(version: ProgrammeTermsSet, earned_at: datetime, active_at: datetime, *, known_since: bool) -> Day:
    rule = version.expiry
    if rule.kind == "never" or (rule.kind == "fixed" and not known_since):
        return Day(None, version.version)
    since = active_at if rule.kind == "sliding" else earned_at
    day = since.astimezone(_zone(version.time_zone)).date()
    return Day(period_end(day, rule), version.version)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def period_end(day: date, rule: ExpiryRule) -> date:
    """Give the last day of a period that begins on a day: 31 January and a month is the last of February."""
    ordinal = day.year * 12 + day.month - 1 + rule.months
    year, month = divmod(ordinal, 12)
    if year >= LAST_DAY.year:
        return LAST_DAY
    month += 1
    day = date(year, month, min(day.day, monthrange(year, month)[1]))
    day = min(day, LAST_DAY - timedelta(days=rule.days)) + timedelta(days=rule.days)
    if rule.until is None:
        return day
    months_a_span = {"month": 1, "quarter": 3, "half": 6, "year": 12}.get(rule.until)
    year = day.year
    if months_a_span is not None:
        month = -(-day.month // months_a_span) * months_a_span
    else:
        month = MONTHS.index(rule.until) + 1
        year += day.month > month
    return min(date(min(year, LAST_DAY.year), month, monthrange(year, month)[1]), LAST_DAY)


@lru_cache(maxsize=4096)
def end_of(day: date, time_zone: str = "UTC") -> datetime | None:
    """Give the instant a day is over in a time zone, clocks changed that night or not; None where the day is so far
    off that it stands for "never"."""
    if day >= LAST_DAY:
        return None
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(time_zone)).astimezone(UTC)


class Terms:
    """The terms of all programmes of a ledger, as far as they were told."""

    def __init__(self, programmes: Mapping[str, ProgrammeTerms]) -> None:
        self._programmes = programmes

    @staticmethod
    def of_facts(facts: Iterable[ProgrammeTermsSet]) -> "Terms":
        """Take the versions of all programmes, those of each in the order they were told.

        A programme whose terms cannot be taken is left without any, so that no other programme's accounts wait for it.
        """
        versions: dict[str, list[ProgrammeTermsSet]] = {}
        for fact in facts:
            versions.setdefault(fact.programme, []).append(fact)
        programmes: dict[str, ProgrammeTerms] = {}
        for programme, told in versions.items():
            with suppress(Exception):
                programmes[programme] = ProgrammeTerms(told)
        return Terms(programmes)

    def of(self, programme: str) -> ProgrammeTerms | None:
        """Give the terms of a programme (source:org:programme), None where none were set."""
        return self._programmes.get(programme)

    def named(self, source: str, org: str) -> list[str]:
        """Name the programmes (source:org:programme) of an organisation, as a ref writes it, whose terms were told."""
        return [programme for programme in self._programmes if programme.startswith(f"{source}:{org}:")]

    def zone(self, programme: str, at: datetime) -> str:
        """Name the time zone of a programme at a time; UTC where none was set."""
        version = self._at(programme, at)
        return version.time_zone if version is not None else "UTC"

    def ratio(self, programme: str, day: date) -> Worth | None:
        """Say what one point of a programme is worth at the end of a day, None where that was not set."""
        version = self._at(programme, datetime.combine(day, time(12), UTC))
        over = end_of(day, version.time_zone) if version is not None else None
        if over is not None:
            version = self._at(programme, over - timedelta(microseconds=1))
        if version is None or version.points_to_currency is None or version.currency is None:
            return None
        return Worth(version.points_to_currency, version.currency)

    def transfer_grace(self, programme: str, at: datetime) -> timedelta:
        """Say how long the other half of a transfer of a time may take to be told."""
        version = self._at(programme, at)
        if version is None or version.transfer_grace_days is None:
            return NO_TRANSFER_GRACE
        return timedelta(days=version.transfer_grace_days)

    def _at(self, programme: str, at: datetime) -> ProgrammeTermsSet | None:
        terms = self.of(programme)
        return terms.at(at) if terms is not None else None


NO_TERMS = Terms({})


def programme_of(holder: str, programme: str) -> str:
    """Name a programme (source:org:programme) by an account's holder (source:org:id) and the vendor's name for it."""
    source, org, _ = holder.split(":", 2)
    return f"{source}:{org}:{quote_id(programme)}"
