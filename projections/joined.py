"""Subjects that some fact has joined (two holders, by a merge) are folded together, as one.

A joined group is known by its root, the smallest of its subjects, and is a function of the set of joining facts, never
of their order. State and rows stand under the root. The table `links` holds every subject of a group, and no other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ledger.database import Connection
from ledger.facts import Told, decode
from projections.projection import Projection

READ_ROOTS = "SELECT subject, root FROM links WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)"
READ_MEMBERS = "SELECT subject, root FROM links WHERE ledger_id = $1 AND subject_kind = $2 AND root = ANY ($3)"
READ_JOINS = """
    SELECT kind, body FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND kind = ANY ($3) AND ($4::text[] IS NULL OR subject = ANY ($4))
"""
DELETE_LINKS = "DELETE FROM links WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)"
LINK_COLUMNS = ("ledger_id", "subject_kind", "subject", "root")


class Groups(NamedTuple):
    """The groups that some subjects are in; a subject in no group is its own root."""

    members: Mapping[str, Sequence[str]]  # by root

    def root_of(self) -> dict[str, str]:
        return {member: root for root, members in self.members.items() for member in members}


async def groups_of(connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str]) -> Groups:
    """Find the groups of some subjects."""
    if not projection.joins:
        return Groups({})
    roots = {row["root"] for row in await connection.fetch(READ_ROOTS, ledger_id, projection.subject, subjects)}
    if not roots:
        return Groups({})
    members: dict[str, list[str]] = {root: [] for root in roots}
    for row in await connection.fetch(READ_MEMBERS, ledger_id, projection.subject, list(roots)):
        members[row["root"]].append(row["subject"])
    return Groups({root: sorted(subjects) for root, subjects in members.items()})


async def join(connection: Connection, ledger_id: int, projection: Projection, told: Iterable[Told]) -> set[str]:
    """Bring the groups up to date after joining facts were written or taken away.

    Gives the subjects that must be folded again from their first fact, or have become part of another.
    """
    touched = {subject for one in told if type(one.fact) in projection.joins for subject in _pair(projection, one)}
    if not touched:
        return set()
    before = await groups_of(connection, ledger_id, projection, sorted(touched))
    affected = touched.union(*before.members.values())
    after = await _regroup(connection, ledger_id, projection, sorted(affected))
    return affected.union(*after.members.values())


async def rejoin(connection: Connection, ledger_id: int, projection: Projection, subjects: Iterable[str]) -> set[str]:
    """Bring the groups of some subjects up to date where joining facts may have been written or taken away unseen.

    Gives the subjects, and those with them in a group before or after, that must be folded again.
    """
    touched = set(subjects)
    if not projection.joins or not touched:
        return touched
    before = await groups_of(connection, ledger_id, projection, sorted(touched))
    affected = touched.union(*before.members.values())
    after = await _regroup(connection, ledger_id, projection, sorted(affected))
    return affected.union(*after.members.values())


async def join_all(connection: Connection, ledger_id: int, projection: Projection) -> Groups:
    """Find all groups of a ledger whose facts are all there, and write them down."""
    return await _regroup(connection, ledger_id, projection, None) if projection.joins else Groups({})


async def _regroup(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str] | None
) -> Groups:
    """Find the groups among some subjects, or all, from their joining facts, and write them down."""
    kinds = [fact.__name__ for fact in projection.joins]
    rows = await connection.fetch(READ_JOINS, ledger_id, projection.subject, kinds, subjects)
    facts = [decode(row["kind"], row["body"]) for row in rows]
    groups = Groups(components(projection.joins[type(fact)](fact) for fact in facts))
    if subjects is not None:
        await connection.execute(DELETE_LINKS, ledger_id, projection.subject, subjects)
    records = [(ledger_id, projection.subject, member, root) for member, root in groups.root_of().items()]
    if records:
        await connection.copy_records_to_table("links", records=records, columns=LINK_COLUMNS)
    return groups


def components(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group what pairs connect; each group is known by its smallest member."""
    group_of: dict[str, set[str]] = {}
    for one, other in pairs:
        joined = group_of.get(one, {one}) | group_of.get(other, {other})
        for member in joined:
            group_of[member] = joined
    return {min(group): sorted(group) for group in group_of.values() if len(group) > 1}


def subjects_of(projection: Projection, told: Iterable[Told]) -> dict[str, int]:
    """Name the subjects that some facts touch, those joined by them too, each with the first position that does."""
    first: dict[str, int] = {}
    for one in told:
        joined = _pair(projection, one) if type(one.fact) in projection.joins else ()
        for subject in (one.fact.subject, *joined):
            first[subject] = min(first.get(subject, one.occurrence.position), one.occurrence.position)
    return first


def _pair(projection: Projection, one: Told) -> tuple[str, str]:
    return projection.joins[type(one.fact)](one.fact)
