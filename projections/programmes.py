"""Programmes: the terms that an operator set, version by version, and the accounts that they govern.

Terms are not facts of an account, but they change its result. When a version is set, early or late, the accounts of its
programme are folded again. So rows remain a function of the set of events.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from msgspec import Struct

from ledger.facts import Occurrence
from ledger.facts.terms import ProgrammeTermsSet
from projections.definition import Projection, Rows, State
from projections.tables import Identifier, Position, Table, row_from


class TermsVersion(Struct):
    """One version of a programme's terms, with the time and position at which it was set."""

    terms: ProgrammeTermsSet
    set_at: datetime
    position: int


class Programme(State):
    versions: list[TermsVersion] = []  # in fold order


class ProgrammeRow(NamedTuple):
    """Versions of programmes' terms."""

    version: Identifier
    effective_from: datetime
    effective_until: Annotated[datetime | None, "when the next version takes effect"]
    time_zone: str
    expiry: Annotated[str, "the rule of expiry: never, fixed, sliding"]
    expiry_days: int
    expiry_months: int
    expiry_until: str | None
    expiry_activities: str
    existing_lots: bool
    points_to_currency: Decimal | None
    currency: str | None
    reversal_after_expiry: str
    reversal_grace_days: int
    transfer_grace_days: int | None
    set_at: datetime
    set_by: str | None
    position: Position


PROGRAMMES_TABLE = Table("programmes", ProgrammeRow, key=("version",))


def set_terms(programme: Programme, fact: ProgrammeTermsSet, occurrence: Occurrence) -> None:
    """A version of the programme's terms was set."""
    programme.versions.append(TermsVersion(fact, occurrence.occurred_at, occurrence.position))


def programme_rows(_subject: str, programme: Programme) -> Rows:
    versions = sorted(programme.versions, key=lambda version: version.terms.effective_from)
    following = [version.terms.effective_from for version in versions[1:]]
    return {"programmes": [_row(version, until) for version, until in zip(versions, [*following, None], strict=True)]}


def _row(version: TermsVersion, until: datetime | None) -> ProgrammeRow:
    terms = version.terms
    return row_from(
        terms,
        ProgrammeRow,
        effective_until=until,
        expiry=terms.expiry.kind,
        expiry_days=terms.expiry.days,
        expiry_months=terms.expiry.months,
        expiry_until=terms.expiry.until,
        expiry_activities=",".join(terms.expiry.activities),
        set_at=version.set_at,
        set_by=terms.by,
        position=version.position,
    )


PROGRAMMES = Projection(
    name="programmes",
    version=1,
    subject="programme",
    start=Programme,
    on={ProgrammeTermsSet: set_terms},
    rows=programme_rows,
    tables=(PROGRAMMES_TABLE,),
    customers=(),
    is_served=False,
)
