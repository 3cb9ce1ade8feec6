"""The terms of a programme as an operator writes them. They are parsed strictly: any mistake is refused."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ledger.facts import Fact
from ledger.facts.terms import ExpiryRule, ProgrammeTermsSet
from ledger.vendors.fields import Id, VendorModel, as_points
from ledger.vendors.vendor import EventContext

DAYS_MAX = 36_525  # a hundred years
MONTHS_MAX = 1_200
GRACE_DAYS_MAX = 3_653
ROUNDING_PERIODS = ("month", "quarter", "half", "year")
# Zones that differ between machines: the machine's own zone, a placeholder, and zones with leap seconds.
EXCLUDED_ZONES = ("localtime", "Factory", "posixrules")
EXCLUDED_ZONE_PREFIXES = ("posix/", "right/")
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)


def as_zone(value: Any) -> str:
    """Parse the name of a time zone. Raises ValueError if the zone is unknown or differs between machines."""
    try:
        zone = ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError("must be an IANA time zone, for example Asia/Kolkata") from None
    if zone in EXCLUDED_ZONES or zone.startswith(EXCLUDED_ZONE_PREFIXES):
        raise ValueError("must be an IANA time zone, for example Asia/Kolkata")
    return zone


def as_day_or_time(value: Any) -> Any:
    """Refuse numbers. pydantic would read 20260101 as seconds since 1970. Raises ValueError."""
    if isinstance(value, int | float):
        raise ValueError("must be a day, for example 2026-01-01, or a time with a zone")
    return value


def as_rounding_period(value: Any) -> Any:
    """Parse the period to whose end an expiry is rounded. Raises ValueError if it is unknown."""
    if value is None:
        return None
    if not isinstance(value, str) or value.lower() not in (*ROUNDING_PERIODS, *MONTHS):
        raise ValueError(f"must be {', '.join(ROUNDING_PERIODS)}, or a month")
    return value.lower()


class OperatorInput(BaseModel):
    """Base of the structures that an operator writes. An unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ExpiryInput(OperatorInput):
    """The rule of expiry: never, a fixed period after the points were earned, or a sliding period after the last
    activity.
    """

    rule: Literal["never", "fixed", "sliding"]
    days: Annotated[int, Field(ge=0, le=DAYS_MAX)] = 0
    months: Annotated[int, Field(ge=0, le=MONTHS_MAX)] = 0
    years: Annotated[int, Field(ge=0, le=MONTHS_MAX // 12)] = 0
    round_to_end_of: Annotated[str | None, BeforeValidator(as_rounding_period)] = None
    activities: tuple[Literal["earning", "spending"], ...] = ("earning", "spending")

    @model_validator(mode="after")
    def check(self) -> "ExpiryInput":
        periods = [self.days, self.months, self.years]
        stated = {"days", "months", "years"} & self.model_fields_set
        if self.rule == "never":
            if any(periods) or self.round_to_end_of:
                raise ValueError('the rule "never" has no period')
        elif sum(period > 0 for period in periods) > 1:
            raise ValueError("must have a period of days, of months or of years, not several")
        elif not any(periods) and (self.rule == "sliding" or not (stated or self.round_to_end_of)):
            raise ValueError("a period is needed: days, months or years")
        if self.rule == "sliding" and self.round_to_end_of:
            raise ValueError("a sliding period is not rounded: remove round_to_end_of")
        if not self.activities:
            raise ValueError("activities must not be empty")
        return self

    def to_rule(self) -> ExpiryRule:
        """Return the rule as a fact holds it."""
        months = self.months + 12 * self.years
        return ExpiryRule(self.rule, self.days, months, self.round_to_end_of, tuple(sorted(set(self.activities))))


class PointValueInput(OperatorInput):
    """The worth of one point."""

    ratio: Annotated[Decimal, BeforeValidator(as_points), Field(ge=0)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


class ReversalInput(OperatorInput):
    """The treatment of points that are given back after their expiry day, where the vendor states none."""

    policy: Literal["lapse", "original", "grace"]
    grace_days: Annotated[int, Field(ge=0, le=GRACE_DAYS_MAX)] = 0

    @model_validator(mode="after")
    def check(self) -> "ReversalInput":
        if (self.policy == "grace") != (self.grace_days > 0):
            raise ValueError('grace_days is needed with the policy "grace", and only with it')
        return self


class TermsInput(OperatorInput):
    """The terms of a programme from `effective_from` on: a day in the programme's time zone, or a time with a zone."""

    effective_from: Annotated[date | datetime, BeforeValidator(as_day_or_time)]
    time_zone: Annotated[str, BeforeValidator(as_zone)]
    expiry: ExpiryInput | None = None
    existing_lots: bool = False
    points_to_currency: PointValueInput | None = None
    reversal_after_expiry: ReversalInput | None = None
    transfer_grace_days: Annotated[int | None, Field(ge=0, le=GRACE_DAYS_MAX)] = None

    def effective_at(self) -> datetime:
        """Return the UTC time from which the terms are in effect. Raises ValueError for a time without a zone."""
        if not isinstance(self.effective_from, datetime):
            return datetime.combine(self.effective_from, time(), ZoneInfo(self.time_zone)).astimezone(UTC)
        if self.effective_from.tzinfo is None:
            raise ValueError("effective_from must be a day, or a time with a zone")
        return self.effective_from.astimezone(UTC)

    @model_validator(mode="after")
    def check(self) -> "TermsInput":
        try:
            self.effective_at()
        except OverflowError:
            raise ValueError("effective_from is out of range") from None
        return self


class TermsSetPayload(VendorModel):
    """Internal event: an operator set the terms of a programme."""

    id: Id
    programme: Id
    terms: TermsInput
    by: str | None = None


def programme_terms_set(event: TermsSetPayload, _context: EventContext) -> Sequence[Fact]:
    terms = event.terms
    worth, reversals = terms.points_to_currency, terms.reversal_after_expiry
    return [
        ProgrammeTermsSet(
            programme=event.programme,
            version=event.id,
            effective_from=terms.effective_at(),
            time_zone=terms.time_zone,
            expiry=terms.expiry.to_rule() if terms.expiry else ExpiryRule(),
            existing_lots=terms.existing_lots,
            points_to_currency=worth.ratio if worth else None,
            currency=worth.currency if worth else None,
            reversal_after_expiry=reversals.policy if reversals else "lapse",
            reversal_grace_days=reversals.grace_days if reversals else 0,
            transfer_grace_days=terms.transfer_grace_days,
            by=event.by,
        )
    ]
