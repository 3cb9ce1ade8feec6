"""Try again to fold what is parked, after a fix: of the rule that failed, or by the version whose rows they are."""

from collections import defaultdict
from typing import NamedTuple

from ledger.database import Connection
from projections.engine import store
from projections.engine.fold_subjects import fold_subjects
from projections.engine.generations import outdated_projections
from projections.engine.groups import rebuild_groups
from projections.engine.parked import REBUILD_REASON
from projections.registry import BY_SUBJECT

SUBJECTS_PER_TRY = 500

NEXT_PARKED = """
    SELECT subject_kind, subject FROM subjects
     WHERE ledger_id = $1 AND parked IS NOT NULL AND ($2::text IS NULL OR subject_kind = $2)
       AND ($3::text IS NULL OR subject = $3) AND ($4::text IS NULL OR parked = $4)
       AND subject_kind <> ALL ($5) AND (subject_kind, subject) > ($6, $7)
     ORDER BY subject_kind, subject LIMIT $8
"""
STILL_PARKED = """
    SELECT count(*) FROM subjects
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND parked IS NOT NULL
"""


class RetryResult(NamedTuple):
    """How many parked subjects were folded again, and how many of them stopped once more."""

    tried: int
    still_parked: int


async def retry_parked(
    connection: Connection,
    ledger_id: int,
    *,
    subject_kind: str | None = None,
    subject: str | None = None,
    reason: str | None = None,
) -> RetryResult:
    """Fold parked subjects of a ledger again from their first fact: all, or those of a kind, a name or a reason.

    Those of projections that another version made go on waiting. Raises RebuildDue if all are another version's.
    """
    tried = still = 0
    kinds = [one.subject for one in BY_SUBJECT.values() if one.name in await outdated_projections(connection)]
    after = ("", "")
    while True:
        asked = (ledger_id, subject_kind, subject, reason, kinds, *after, SUBJECTS_PER_TRY)
        if not await connection.fetch(NEXT_PARKED, *asked):
            return RetryResult(tried, still)  # the projector need not forget what it has folded
        async with connection.transaction():
            await store.hold_checkpoint(connection, ledger_id)
            rows = await connection.fetch(NEXT_PARKED, *asked)
            if not rows:
                return RetryResult(tried, still)
            by_kind = defaultdict[str, list[str]](list)
            for row in rows:
                by_kind[row["subject_kind"]].append(row["subject"])
            for kind, subjects in by_kind.items():
                await refold_subjects(connection, ledger_id, kind, subjects)
                still += await connection.fetchval(STILL_PARKED, ledger_id, kind, subjects)
            tried += len(rows)
        after = (rows[-1]["subject_kind"], rows[-1]["subject"])


async def refold_subjects(connection: Connection, ledger_id: int, subject_kind: str, subjects: list[str]) -> None:
    """Fold subjects again from their first fact, with whom they are joined. Call inside a transaction that holds the
    checkpoint."""
    projection = BY_SUBJECT[subject_kind]
    again = await rebuild_groups(connection, ledger_id, projection, subjects)
    await fold_subjects(connection, ledger_id, projection, (), again)


async def retry_after_upgrade(connection: Connection, ledger_id: int) -> int:
    """Fold what waited for a version of this software that now runs again; give how many subjects."""
    return (await retry_parked(connection, ledger_id, reason=REBUILD_REASON)).tried
