"""Facts about programmes: terms that an operator set where the vendor states none. Values stated by the vendor always
win.
"""

from datetime import datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class ExpiryRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rule of lapsing if the vendor names no day. `kind` is:

    - "never": the points do not lapse.
    - "fixed": a period after the points were earned, extended to the end of `until` if that is set. `until` is "month",
      "quarter", "half", "year" or the English name of a month.
    - "sliding": a period after the account's last activity.
    """

    kind: str = "never"
    days: int = 0
    months: int = 0
    until: str | None = None
    activities: tuple[str, ...] = ("earning", "spending")  # activities that restart a sliding period


class ProgrammeTermsSet(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The complete terms of a programme from a time on. A later version repeats the terms that it does not change."""

    subject_kind = "programme"

    programme: str  # source:org:programme
    version: str
    effective_from: datetime
    time_zone: str  # IANA
    expiry: ExpiryRule = ExpiryRule()
    existing_lots: bool = False  # lots earned before `effective_from` follow this version, too
    points_to_currency: Decimal | None = None  # worth of one point in `currency`
    currency: str | None = None
    reversal_after_expiry: str = "lapse"  # or "original", "grace": see projections/programme_terms.py
    reversal_grace_days: int = 0
    transfer_grace_days: int | None = None  # None: projections/programme_terms.py has the default
    by: str | None = None

    @property
    def subject(self) -> str:
        return self.programme


FACTS: tuple[type[Fact], ...] = (ProgrammeTermsSet,)
