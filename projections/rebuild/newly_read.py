"""Find subjects that differ between two generations only because the software now reads more events.

After an upgrade the software reads more kinds of events, or has a new projection. Differences that follow from that
alone do not prevent a promotion. The older generation could not read some events. A subject counts as newly read if all
its other facts are the same in both generations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.database import Connection

READ_LINKED = """
    SELECT a.subject, b.subject AS member FROM links a JOIN links b USING (subject_kind, root)
     WHERE a.ledger_id = $1 AND b.ledger_id = $1 AND a.subject_kind = $2 AND a.subject = ANY ($3)
"""
READ_POSITIONS = """
    SELECT DISTINCT position FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)
"""
READ_UNREAD = "SELECT position FROM unread WHERE ledger_id = $1 AND position = ANY ($2)"
READ_FACT_HASHES = """
    SELECT subject, count(*) AS facts, count(*) FILTER (WHERE position = ANY ($4)) AS newly,
           bit_xor(hashtextextended(ROW(occurred_at, rank, tag, ordinal, kind, body, position)::text, 1))
               FILTER (WHERE NOT position = ANY ($4)) AS hash
      FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) GROUP BY subject
"""
NO_FACTS: Mapping[str, Any] = {"facts": 0, "newly": 0, "hash": None}


async def find_newly_read(
    old: Connection, new: Connection, ledger_id: int, subject_kind: str, subjects: Sequence[str], *, is_new_kind: bool
) -> set[str]:
    """Return the subjects that differ only because of newly read events.

    `is_new_kind` means that the older generation had no projection of this subject kind. Then every subject without
    facts in it counts.
    """
    groups = {subject: {subject} for subject in subjects}
    for generation in (old, new):  # the rows of a group are under one of its members
        for row in await generation.fetch(READ_LINKED, ledger_id, subject_kind, subjects):
            groups[row["subject"]].add(row["member"])
    members = sorted(set().union(*groups.values()))
    positions = [row[0] for row in await new.fetch(READ_POSITIONS, ledger_id, subject_kind, members)]
    unread = [row[0] for row in await old.fetch(READ_UNREAD, ledger_id, positions)]
    old_by_subject, new_by_subject = [
        {
            row["subject"]: row
            for row in await generation.fetch(READ_FACT_HASHES, ledger_id, subject_kind, members, unread)
        }
        for generation in (old, new)
    ]

    def is_newly_read(group: set[str]) -> bool:
        pairs = [(old_by_subject.get(member, NO_FACTS), new_by_subject.get(member, NO_FACTS)) for member in group]
        if is_new_kind and not any(old_sums["facts"] for old_sums, _ in pairs):
            return True
        return any(new_sums["newly"] for _, new_sums in pairs) and all(
            old_sums["hash"] == new_sums["hash"] and old_sums["facts"] == new_sums["facts"] - new_sums["newly"]
            for old_sums, new_sums in pairs
        )

    return {subject for subject, group in groups.items() if is_newly_read(group)}
