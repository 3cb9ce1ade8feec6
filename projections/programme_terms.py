"""Programme terms in the form that folds use: time zones, expiry rules, worth of a point. Pure.

Rules:

1. A lot is governed by the version in effect when it was earned.
2. Later versions govern it too, if they were set for existing lots.
3. A later version never changes a lot whose day ended before that version took effect.
4. The vendor's day always wins. A version gives a day only to lots for which the vendor names none.
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

LAST_DAY = date(9999, 12, 30)  # vendors write "never" as this day or a later one
TRANSFER_GRACE_DAYS = 2  # default, if the terms name none
NO_TRANSFER_GRACE = timedelta(days=TRANSFER_GRACE_DAYS)


class Worth(NamedTuple):
    """Worth of one point in a currency."""

    ratio: Decimal
    currency: str


class ExpiryDay(NamedTuple):
    """The day at whose end a lot lapses, None for never, and the version that gave it."""

    expires_on: date | None
    version: str


class ProgrammeTerms:
    """All versions of one programme's terms, sorted by the time from which they are in effect."""

    def __init__(self, versions: Iterable[ProgrammeTermsSet]) -> None:
        """Take versions in fold order. Of two versions with the same start, the later one is in effect."""
        self.versions = sorted(versions, key=lambda version: version.effective_from)
        self.slides = any(version.expiry.kind == "sliding" for version in self.versions)
        self._from = [version.effective_from for version in self.versions]
        self._slides_alike = [self._only_sliding(era) for era in range(len(self.versions) + 1)]

    def _only_sliding(self, era: int) -> bool:
        """Return True if only sliding periods govern the lots earned between two versions."""
        governing = [
            *self.versions[max(0, era - 1) : era],
            *(later for later in self.versions[era:] if later.existing_lots),
        ]
        return all(version.expiry.kind == "sliding" for version in governing)

    def sliding_by(self, activity: str) -> frozenset[str]:
        """Return the versions with a sliding period that an activity restarts."""
        return frozenset(
            version.version
            for version in self.versions
            if version.expiry.kind == "sliding" and activity in version.expiry.activities
        )

    def era_of(self, earned_at: datetime) -> int | None:
        """Return a number shared by all lots that always slide to the same day. None if a lot may differ."""
        era = bisect_right(self._from, earned_at)
        return era if self._slides_alike[era] else None

    def at(self, time: datetime) -> ProgrammeTermsSet | None:
        """Return the version in effect at a time, None before the first."""
        version_count = bisect_right(self._from, time)
        return self.versions[version_count - 1] if version_count else None

    def governing(self, earned_at: datetime) -> ProgrammeTermsSet | None:
        """Return the version that gives time zone and policies to a lot earned at a time. None if there is none."""
        version_count = bisect_right(self._from, earned_at)
        later = [version for version in self.versions[version_count:] if version.existing_lots]
        return later[-1] if later else self.versions[version_count - 1] if version_count else None

    def lapses_at(self, day: date, earned_at: datetime) -> datetime | None:
        """Return the instant at which a lot's day ends in its time zone. None if the day means "never"."""
        version = self.governing(earned_at)
        return end_of_day(day, version.time_zone if version is not None else "UTC")

    def day_of(self, earned_at: datetime, active_at: datetime, *, known_since: bool = True) -> ExpiryDay | None:
        """Return the day of a lot for which the vendor names none. None if no version governs it.

        `known_since=False`: the time of earning is unknown. Then only a sliding period gives a day.
        """
        version_count = bisect_right(self._from, earned_at)
        day = (
            _expiry_day(self.versions[version_count - 1], earned_at, active_at, known_since=known_since)
            if version_count
            else None
        )
        for version in self.versions[version_count:]:
            if not version.existing_lots:
                continue
            over = self._over(day)
            if over is not None and over <= version.effective_from:
                return day  # it had lapsed before
            new = _expiry_day(version, earned_at, active_at, known_since=known_since)
            if new.expires_on is not None:  # a shorter period never ends before the version took effect
                first = version.effective_from.astimezone(ZoneInfo(version.time_zone)).date()
                new = ExpiryDay(max(new.expires_on, first), version.version)
            day = new
        return day

    def _over(self, day: ExpiryDay | None) -> datetime | None:
        if day is None or day.expires_on is None:
            return None
        zone = next(version.time_zone for version in self.versions if version.version == day.version)
        return end_of_day(day.expires_on, zone)


def _expiry_day(
    version: ProgrammeTermsSet, earned_at: datetime, active_at: datetime, *, known_since: bool
) -> ExpiryDay:
    rule = version.expiry
    if rule.kind == "never" or (rule.kind == "fixed" and not known_since):
        return ExpiryDay(None, version.version)
    since = active_at if rule.kind == "sliding" else earned_at
    day = since.astimezone(_zone(version.time_zone)).date()
    return ExpiryDay(period_end(day, rule), version.version)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def period_end(day: date, rule: ExpiryRule) -> date:
    """Return the last day of a period that begins on a day.

    Example: one month from 31 January ends on the last day of February.
    """
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
def end_of_day(day: date, time_zone: str = "UTC") -> datetime | None:
    """Return the instant at which a day ends in a time zone. None if the day means "never". Daylight saving time is
    respected.
    """
    if day >= LAST_DAY:
        return None
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(time_zone)).astimezone(UTC)


class Terms:
    """Terms of all programmes of a ledger."""

    def __init__(self, programmes: Mapping[str, ProgrammeTerms]) -> None:
        self._programmes = programmes

    @staticmethod
    def of_facts(facts: Iterable[ProgrammeTermsSet]) -> "Terms":
        """Collect the versions of all programmes from facts in fold order.

        A programme with invalid terms gets none. Then the accounts of other programmes do not wait for it.
        """
        versions: dict[str, list[ProgrammeTermsSet]] = {}
        for fact in facts:
            versions.setdefault(fact.programme, []).append(fact)
        programmes: dict[str, ProgrammeTerms] = {}
        for programme, programme_versions in versions.items():
            with suppress(Exception):
                programmes[programme] = ProgrammeTerms(programme_versions)
        return Terms(programmes)

    def of(self, programme: str) -> ProgrammeTerms | None:
        """Return the terms of a programme (source:org:programme). None if none were set."""
        return self._programmes.get(programme)

    def named(self, source: str, org: str) -> list[str]:
        """Return the programmes (source:org:programme) of an organisation that have terms."""
        return [programme for programme in self._programmes if programme.startswith(f"{source}:{org}:")]

    def zone(self, programme: str, at: datetime) -> str:
        """Return the time zone of a programme at a time. "UTC" if none was set."""
        version = self._at(programme, at)
        return version.time_zone if version is not None else "UTC"

    def ratio(self, programme: str, day: date) -> Worth | None:
        """Return the worth of one point of a programme at the end of a day. None if it was not set."""
        version = self._at(programme, datetime.combine(day, time(12), UTC))
        over = end_of_day(day, version.time_zone) if version is not None else None
        if over is not None:
            version = self._at(programme, over - timedelta(microseconds=1))
        if version is None or version.points_to_currency is None or version.currency is None:
            return None
        return Worth(version.points_to_currency, version.currency)

    def transfer_grace(self, programme: str, at: datetime) -> timedelta:
        """Return the time that the second half of a transfer may take. `at` is the time of the first half."""
        version = self._at(programme, at)
        if version is None or version.transfer_grace_days is None:
            return NO_TRANSFER_GRACE
        return timedelta(days=version.transfer_grace_days)

    def _at(self, programme: str, at: datetime) -> ProgrammeTermsSet | None:
        terms = self.of(programme)
        return terms.at(at) if terms is not None else None


NO_TERMS = Terms({})


def programme_ref(holder: str, programme: str) -> str:
    """Build source:org:programme from an account's holder (source:org:id) and the vendor's name of the programme."""
    source, org, _ = holder.split(":", 2)
    return f"{source}:{org}:{quote_id(programme)}"
