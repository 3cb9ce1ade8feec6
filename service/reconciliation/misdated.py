"""Events dated by their vendor after they were recorded, by more than CLOCK_AHEAD_MAX."""

from typing import Any

from ledger.intake.interpret import CLOCK_AHEAD_MAX
from service.reconciliation.lists import format_time, list_from_sql

# Facts of misdated events are `untimed`, and so are their subjects. An index finds these subjects.
MISDATED_EVENTS = f"""
    SELECT e.position::text AS id, NULL::numeric AS amount, NULL AS unit, e.position, e.source, e.org, e.kind,
           e.occurred_at, e.recorded_at AS since
      FROM (SELECT DISTINCT f.position FROM subjects s
              JOIN facts f ON f.ledger_id = $1 AND f.subject_kind = s.subject_kind AND f.subject = s.subject
             WHERE s.ledger_id = $1 AND s.untimed AND f.untimed AND f.position > $4) told
      JOIN ledger.events e ON e.ledger_id = $1 AND e.position = told.position
     WHERE e.occurred_at > e.recorded_at + interval '{CLOCK_AHEAD_MAX.total_seconds():.0f} seconds'
       AND e.recorded_at <= $2
     ORDER BY e.position LIMIT $3
"""  # noqa: S608


def _cause(row: Any) -> str:
    dated = format_time(row["occurred_at"])
    return (
        f"The vendor dates it {dated}, after the time of recording. That cannot be true. The recorded time is used "
        "instead."
    )


MISDATED = list_from_sql(
    "misdated",
    f"Events dated more than {CLOCK_AHEAD_MAX.total_seconds() / 60:.0f} minutes after they were recorded",
    page=MISDATED_EVENTS,
    key=("position",),
    start=(0,),
    cause=_cause,
    columns=("source", "org", "kind", "occurred_at"),
)
