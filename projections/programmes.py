"""Programmes: the terms that an operator set, version by version, and the accounts that they govern.

Terms are not facts of an account, but they change its result. When a version is set, early or late, the accounts of its
programme are folded again. So rows remain a function of the set of events.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from ledger.facts import Occurrence
from ledger.facts.terms import ProgrammeTermsSet
from projections.definition import Projection, Rows, State, Table


class TermsVersion(Struct):
    """One version of a programme's terms, with the time and position at which it was set."""

    terms: ProgrammeTermsSet
    set_at: datetime
    position: int


class Programme(State):
    versions: list[TermsVersion] = []  # in fold order


class ProgrammeRow(NamedTuple):
    version: str
    effective_from: datetime
    effective_until: datetime | None  # when the next version takes effect
    time_zone: str
    expiry: str  # never, fixed, sliding
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
    position: int


PROGRAMMES_TABLE = Table(
    name="programmes",
    create="""
        CREATE TABLE programmes (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL, version text COLLATE "C" NOT NULL,
            effective_from timestamptz NOT NULL, effective_until timestamptz, time_zone text NOT NULL,
            expiry text NOT NULL, expiry_days int NOT NULL, expiry_months int NOT NULL, expiry_until text,
            expiry_activities text NOT NULL, existing_lots boolean NOT NULL,
            points_to_currency numeric, currency text,
            reversal_after_expiry text NOT NULL, reversal_grace_days int NOT NULL, transfer_grace_days int,
            set_at timestamptz NOT NULL, set_by text, position bigint NOT NULL)
        """,
    index=("ALTER TABLE programmes ADD PRIMARY KEY (ledger_id, subject, version)",),
    columns=ProgrammeRow._fields,
    key=("version",),
)


def set_terms(programme: Programme, fact: ProgrammeTermsSet, occurrence: Occurrence) -> None:
    """A version of the programme's terms was set."""
    programme.versions.append(TermsVersion(fact, occurrence.occurred_at, occurrence.position))


def programme_rows(_subject: str, programme: Programme) -> Rows:
    versions = sorted(programme.versions, key=lambda version: version.terms.effective_from)
    following = [version.terms.effective_from for version in versions[1:]]
    return {"programmes": [_row(version, until) for version, until in zip(versions, [*following, None], strict=True)]}


def _row(version: TermsVersion, until: datetime | None) -> ProgrammeRow:
    terms = version.terms
    return ProgrammeRow(
        version=terms.version,
        effective_from=terms.effective_from,
        effective_until=until,
        time_zone=terms.time_zone,
        expiry=terms.expiry.kind,
        expiry_days=terms.expiry.days,
        expiry_months=terms.expiry.months,
        expiry_until=terms.expiry.until,
        expiry_activities=",".join(terms.expiry.activities),
        existing_lots=terms.existing_lots,
        points_to_currency=terms.points_to_currency,
        currency=terms.currency,
        reversal_after_expiry=terms.reversal_after_expiry,
        reversal_grace_days=terms.reversal_grace_days,
        transfer_grace_days=terms.transfer_grace_days,
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
)
