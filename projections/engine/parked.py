"""Parked subjects. The fold of a parked subject stopped at a fact. Its rows stay as they were before that fact.

There are three reasons:

1. A rule fails on the fact, live and in a rebuild alike.
2. Another software version made the rows, and they wait for a rebuild.
3. New terms govern very many holders, and they wait for their turn to be folded again.

When the reason is gone, the subject is folded again from its first fact (retry.py).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from projections.definition import Projection
from projections.engine.groups import first_positions_by_subject, groups_of

REBUILD_REASON = "another version of this software made its rows; they stay as they are until a rebuild"
TERMS_REASON = "new terms of its programme are being applied; its figures are those before them"
WAITING_REASONS = (REBUILD_REASON, TERMS_REASON)  # nothing is wrong with the fact

# With several servers, the part after ON CONFLICT may name no parameter. So there are two statements.
PARK_ALWAYS = """
    INSERT INTO subjects (ledger_id, subject_kind, subject, untimed, parked, parked_position)
    SELECT $1::int, $2::text, subject, false, $3::text, position
      FROM unnest($4::text[], $5::bigint[]) AS touched (subject, position)
    ON CONFLICT (ledger_id, subject_kind, subject) DO UPDATE
       SET parked = excluded.parked, parked_position = least(subjects.parked_position, excluded.parked_position)
"""
PARK = f"{PARK_ALWAYS} WHERE subjects.parked IS NULL"  # a parked subject keeps its reason
READ_PARKED = """
    SELECT s.subject_kind, s.subject, s.parked AS reason, s.parked_position, f.kind AS fact, f.occurred_at, f.body
      FROM subjects s
      LEFT JOIN LATERAL (
           SELECT kind, occurred_at, body FROM facts f
            WHERE f.ledger_id = $1 AND f.subject_kind = s.subject_kind AND f.position = s.parked_position
              AND f.subject IN (SELECT s.subject UNION ALL
                                SELECT l.subject FROM links l
                                 WHERE l.ledger_id = $1 AND l.subject_kind = s.subject_kind
                                   AND l.root = s.subject)
            ORDER BY f.rank, f.tag, f.ordinal LIMIT 1) f ON true
     WHERE s.ledger_id = $1 AND s.parked IS NOT NULL AND (s.subject_kind, s.subject) > ($2, $3)
     ORDER BY s.subject_kind, s.subject LIMIT $4
"""


class ParkedSubject(NamedTuple):
    """A parked subject with the reason, and the fact at which its fold stopped; None if that fact no longer exists."""

    subject_kind: str
    subject: str
    reason: str
    parked_position: int
    fact: str | None
    occurred_at: Any
    body: bytes | None


async def park_for_rebuild(
    connection: Connection, ledger_id: int, projection: Projection, changed: Sequence[RecordedFact]
) -> None:
    """Park the subjects of changed facts until a rebuild. Their rows stay as they are."""
    first_positions = first_positions_by_subject(projection, changed)
    groups = await groups_of(connection, ledger_id, projection, sorted(first_positions))
    root_of = groups.root_of()
    positions: dict[str, int] = {}
    for subject, position in first_positions.items():
        root = root_of.get(subject, subject)
        positions[root] = min(positions.get(root, position), position)
    columns = (list(positions), list(positions.values()))
    await connection.execute(PARK, ledger_id, projection.subject, REBUILD_REASON, *columns)


async def park_for_terms(
    connection: Connection, ledger_id: int, subject_kind: str, subjects: Sequence[str], position: int
) -> None:
    """Park holders until they are folded with the terms that were set at a position. That finds any other reason."""
    columns = (subjects, [position] * len(subjects))
    await connection.execute(PARK_ALWAYS, ledger_id, subject_kind, TERMS_REASON, *columns)


async def list_parked(
    connection: Connection, ledger_id: int, limit: int, after: tuple[str, str] = ("", "")
) -> list[ParkedSubject]:
    """List parked subjects in the order of kind and name, beginning after `after`."""
    return [ParkedSubject(*row) for row in await connection.fetch(READ_PARKED, ledger_id, *after, limit)]
