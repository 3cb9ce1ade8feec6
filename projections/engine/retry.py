"""Fold parked subjects again, a few in each transaction, when the reason may be gone (parked.py)."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ledger.database import Connection
from projections.engine import advance, store
from projections.engine.fold_subjects import fold_subjects
from projections.engine.generations import outdated_projections
from projections.engine.groups import rebuild_groups
from projections.engine.parked import WAITING_REASONS
from projections.registry import BY_SUBJECT

SUBJECTS_PER_TRY = 200  # folded again in one transaction: usually less than a second

NEXT_PARKED = """
    SELECT subject_kind, subject FROM subjects
     WHERE ledger_id = $1 AND parked IS NOT NULL AND ($2::text IS NULL OR subject_kind = $2)
       AND ($3::text IS NULL OR subject = $3) AND ($4::text IS NULL OR parked = $4)
       AND subject_kind <> ALL ($5) AND (subject_kind, subject) > ($6, $7)
     ORDER BY subject_kind, subject LIMIT $8
"""
SET_REASON = "UPDATE subjects SET parked = $4 WHERE ledger_id = $1 AND subject_kind = $2 AND subject = $3"
STILL_PARKED = """
    SELECT count(*) FROM subjects
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND parked IS NOT NULL
"""


class RetryResult(NamedTuple):
    """The number of parked subjects that were folded again, and of those that are still parked."""

    tried: int
    still_parked: int


async def retry_parked(
    connection: Connection,
    ledger_id: int,
    *,
    subject_kind: str | None = None,
    subject: str | None = None,
    reason: str | None = None,
    tries_max: int | None = None,
) -> RetryResult:
    """Fold parked subjects of a ledger again from their first fact: all, or those of a kind, a subject or a reason.

    Stops after about `tries_max` subjects. Subjects of projections that another version made stay parked. Raises
    RebuildDue if another version made the shared tables.
    """
    tried = still_parked = 0
    excluded_kinds = [
        projection.subject
        for projection in BY_SUBJECT.values()
        if projection.name in await outdated_projections(connection)
    ]
    after = ("", "")
    while tries_max is None or tried < tries_max:
        arguments = (ledger_id, subject_kind, subject, reason, excluded_kinds, *after, SUBJECTS_PER_TRY)
        if not await connection.fetch(NEXT_PARKED, *arguments):
            return RetryResult(tried, still_parked)  # without a write, the projector's cache stays valid
        async with connection.transaction():
            await store.hold_checkpoint(connection, ledger_id)
            rows = await connection.fetch(NEXT_PARKED, *arguments)
            if not rows:
                return RetryResult(tried, still_parked)
            by_kind = defaultdict[str, list[str]](list)
            for row in rows:
                by_kind[row["subject_kind"]].append(row["subject"])
            for kind, subjects in by_kind.items():
                await _refold_or_reject(connection, ledger_id, kind, subjects)
                still_parked += await connection.fetchval(STILL_PARKED, ledger_id, kind, subjects)
            tried += len(rows)
        after = (rows[-1]["subject_kind"], rows[-1]["subject"])
    return RetryResult(tried, still_parked)


async def _refold_or_reject(connection: Connection, ledger_id: int, subject_kind: str, subjects: list[str]) -> None:
    """Fold subjects again. One whose rows PostgreSQL rejects stays parked, with that reason."""

    async def refold(some: Sequence[str]) -> None:
        await refold_subjects(connection, ledger_id, subject_kind, list(some))

    async def reject(subject: str, error: Exception) -> None:
        reason = f"{advance.REJECTED_REASON}: {type(error).__name__}"
        await connection.execute(SET_REASON, ledger_id, subject_kind, subject, reason)

    await store.divide_rejected(connection, subjects, refold, reject)


async def refold_subjects(connection: Connection, ledger_id: int, subject_kind: str, subjects: list[str]) -> None:
    """Fold subjects and the members of their groups again from their first fact. Call inside a transaction that holds
    the checkpoint.
    """
    projection = BY_SUBJECT[subject_kind]
    touched = await rebuild_groups(connection, ledger_id, projection, subjects)
    await fold_subjects(connection, ledger_id, projection, (), touched)


async def refold_waiting(connection: Connection, ledger_id: int, tries_max: int | None = None) -> bool:
    """Fold the subjects that waited for a software version that now runs, or for their turn with new terms.

    Return True if more may wait, because about `tries_max` were folded.
    """
    tried = 0
    for reason in WAITING_REASONS:
        tried += (await retry_parked(connection, ledger_id, reason=reason, tries_max=tries_max)).tried
    return tries_max is not None and tried >= tries_max
