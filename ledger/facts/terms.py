"""Facts about programmes: the terms an operator set, where the vendor states none. What a vendor states always wins."""

from datetime import datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class ExpiryRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When points lapse for which the vendor names no day.

    "never"; "fixed": a period after they were earned, ended at the end of `until` ("month", "quarter", "half", "year"
    or the English name of a month) where that is given; "sliding": a period after the account's last activity.
    """

    kind: str = "never"
    days: int = 0
    months: int = 0
    until: str | None = None
    activities: tuple[str, ...] = ("earning", "spending")  # what a sliding period starts anew with


class ProgrammeTermsSet(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The terms of a programme from a time on, all of them: a later version repeats what it does not change."""

    subject_kind = "programme"

    programme: str  # source:org:programme
    version: str
    effective_from: datetime
    time_zone: str  # IANA
    expiry: ExpiryRule = ExpiryRule()
    existing_lots: bool = False  # lots earned before `effective_from` take their day from this version, too
    points_to_currency: Decimal | None = None  # what one point is worth
    currency: str | None = None
    reversal_after_expiry: str = "lapse"  # or "original", "grace": see projections/programme_terms.py
    reversal_grace_days: int = 0
    transfer_grace_days: int | None = None  # None: projections/programme_terms.py has the default
    by: str | None = None

    @property
    def subject(self) -> str:
        return self.programme


FACTS: tuple[type[Fact], ...] = (ProgrammeTermsSet,)
