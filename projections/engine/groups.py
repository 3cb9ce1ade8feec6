"""Subjects that are one thing are folded together: two holders after a merge, a coupon named by its id and by its code.

A group of joined subjects is known by its root. The groups are a function of the set of facts, never of their order.
State and rows stand under the root. The table `links` holds every subject of a group, and no other.

Two kinds of facts join subjects.
- A joining fact (`Projection.joins`) names both of them. The root is the smallest subject.
- Facts that share an alias (`Fact.alias`) may be about one thing, if one of the subjects is named by the alias alone:
  `Projection.alike` then says which. The root is the subject that is not named by the alias. An alias by which no
  subject is named alone joins nothing, and costs nothing but its index.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import NamedTuple

from ledger.database import Connection
from ledger.facts import Fact, RecordedFact
from projections.definition import Projection
from projections.engine.store import decode_fact

ALIASES_PER_READ = 1_000

READ_ROOTS = "SELECT subject, root FROM links WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)"
READ_MEMBERS = "SELECT subject, root FROM links WHERE ledger_id = $1 AND subject_kind = $2 AND root = ANY ($3)"
READ_JOINS = """
    SELECT kind, body FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND kind = ANY ($3) AND ($4::text[] IS NULL OR subject = ANY ($4))
"""
DELETE_LINKS = "DELETE FROM links WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)"
LINK_COLUMNS = ("ledger_id", "subject_kind", "subject", "root")

# Aliases are stored with "~" before them where a subject is named by the alias alone, with "=" otherwise.
READ_ALIAS_ONLY = """
    SELECT DISTINCT substr(alias, 2) AS alias FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND alias = ANY ($3)
"""
READ_ALL_ALIAS_ONLY = """
    SELECT DISTINCT substr(alias, 2) AS alias FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND alias >= '~' AND alias < chr(127)
     ORDER BY 1
"""
READ_ALIASED = """
    SELECT kind, body FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND alias = ANY ($3)
"""
READ_ALIASES = """
    SELECT DISTINCT substr(alias, 2) AS alias FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND alias IS NOT NULL
"""


class SubjectGroups(NamedTuple):
    """The groups that some subjects are in; a subject in no group is its own root."""

    members: Mapping[str, Sequence[str]]  # by root

    def root_of(self) -> dict[str, str]:
        return {member: root for root, members in self.members.items() for member in members}


async def groups_of(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str]
) -> SubjectGroups:
    """Find the groups of some subjects."""
    if not projection.grouped:
        return SubjectGroups({})
    roots = {row["root"] for row in await connection.fetch(READ_ROOTS, ledger_id, projection.subject, subjects)}
    if not roots:
        return SubjectGroups({})
    members: dict[str, list[str]] = {root: [] for root in roots}
    for row in await connection.fetch(READ_MEMBERS, ledger_id, projection.subject, list(roots)):
        members[row["root"]].append(row["subject"])
    return SubjectGroups({root: sorted(subjects) for root, subjects in members.items()})


async def update_groups(
    connection: Connection, ledger_id: int, projection: Projection, told: Sequence[RecordedFact]
) -> set[str]:
    """Bring the groups up to date after facts were written or taken away.

    Return the subjects that must be folded again from their first fact, or have become part of another.
    """
    again = set[str]()
    if projection.alike is not None:
        again |= await _regroup_by_alias(connection, ledger_id, projection, [one.fact for one in told])
    touched = {subject for one in told for subject in merged_pair(projection, one.fact)}
    return again | (await _regroup_with_members(connection, ledger_id, projection, touched) if touched else set())


async def rebuild_groups(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Iterable[str]
) -> set[str]:
    """Bring the groups of some subjects up to date where joining facts may have been written or taken away unseen.

    Return the subjects, and those with them in a group before or after, that must be folded again.
    """
    touched = set(subjects)
    if not projection.grouped or not touched:
        return touched
    if projection.alike is not None:
        before = await groups_of(connection, ledger_id, projection, sorted(touched))
        asked = touched.union(*before.members.values())
        rows = await connection.fetch(READ_ALIASES, ledger_id, projection.subject, sorted(asked))
        changed = await _regroup_aliases(connection, ledger_id, projection, {row["alias"] for row in rows}, asked)
        after = await groups_of(connection, ledger_id, projection, sorted(touched))
        return asked.union(changed, *after.members.values())
    return await _regroup_with_members(connection, ledger_id, projection, touched)


async def _regroup_with_members(
    connection: Connection, ledger_id: int, projection: Projection, touched: Set[str]
) -> set[str]:
    before = await groups_of(connection, ledger_id, projection, sorted(touched))
    affected = set(touched).union(*before.members.values())
    after = await _regroup(connection, ledger_id, projection, sorted(affected))
    return affected.union(*after.members.values())


async def write_all_groups(connection: Connection, ledger_id: int, projection: Projection) -> None:
    """Find all groups of a ledger whose facts are all there, and write them down."""
    if projection.joins:
        await _regroup(connection, ledger_id, projection, None)
    if projection.alike is not None:
        rows = await connection.fetch(READ_ALL_ALIAS_ONLY, ledger_id, projection.subject)
        aliases = [row["alias"] for row in rows]
        pairs: list[tuple[str, str]] = []
        for first in range(0, len(aliases), ALIASES_PER_READ):
            some = aliases[first : first + ALIASES_PER_READ]
            pairs += alike_pairs(projection, await _read_aliased(connection, ledger_id, projection, some))
        await _write_links(connection, ledger_id, projection, SubjectGroups(groups_by_target(pairs)))


async def _regroup(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str] | None
) -> SubjectGroups:
    """Find the groups among some subjects, or all, from their joining facts, and write them down."""
    kinds = [fact.__name__ for fact in projection.joins]
    rows = await connection.fetch(READ_JOINS, ledger_id, projection.subject, kinds, subjects)
    facts = [decode_fact(row["kind"], row["body"]) for row in rows]
    groups = SubjectGroups(connected_components(pair for fact in facts if (pair := merged_pair(projection, fact))))
    if subjects is not None:
        await connection.execute(DELETE_LINKS, ledger_id, projection.subject, subjects)
    await _write_links(connection, ledger_id, projection, groups)
    return groups


async def _regroup_by_alias(
    connection: Connection, ledger_id: int, projection: Projection, facts: Sequence[Fact]
) -> set[str]:
    """Group again the subjects that share an alias with some facts, if a subject is, or was, named by it alone."""
    aliases: dict[str, bool] = {}
    for fact in facts:
        alias = fact.alias
        if alias is not None:
            aliases[alias] = aliases.get(alias, False) or fact.alias_only
    alone = {alias for alias, named_alone in aliases.items() if named_alone}
    marked = [f"~{alias}" for alias in aliases.keys() - alone]
    if marked:
        rows = await connection.fetch(READ_ALIAS_ONLY, ledger_id, projection.subject, marked)
        alone |= {row["alias"] for row in rows}
    if not alone:
        return set()
    subjects = {fact.subject for fact in facts if fact.alias in alone}
    return await _regroup_aliases(connection, ledger_id, projection, alone, subjects)


async def _regroup_aliases(
    connection: Connection, ledger_id: int, projection: Projection, aliases: Set[str], told: Set[str]
) -> set[str]:
    """Find the groups among all subjects that share aliases, directly or by others, and write those that changed.

    `told` are subjects whose facts were written or taken away: they may have none left that shares an alias.

    Return the subjects whose group changed.
    """
    asked, following = set[str](), set(aliases)
    pairs: list[tuple[str, str]] = []
    subjects = set[str]()
    while following:
        facts = await _read_aliased(connection, ledger_id, projection, sorted(following))
        asked |= following
        pairs += alike_pairs(projection, facts)
        found = {fact.subject for fact in facts} - subjects
        subjects |= found
        rows = await connection.fetch(READ_ALIASES, ledger_id, projection.subject, sorted(found)) if found else []
        following = {row["alias"] for row in rows} - asked
    was = await groups_of(connection, ledger_id, projection, sorted(subjects | told))
    before = {root: tuple(members) for root, members in was.members.items()}
    after = {root: tuple(members) for root, members in groups_by_target(pairs).items()}
    differing = set(before.items() ^ after.items())
    changed = {member for _, members in differing for member in members}
    if changed:
        await connection.execute(DELETE_LINKS, ledger_id, projection.subject, sorted(changed))
        await _write_links(
            connection,
            ledger_id,
            projection,
            SubjectGroups(dict(group for group in differing if group in after.items())),
        )
    return changed


async def _read_aliased(
    connection: Connection, ledger_id: int, projection: Projection, aliases: Sequence[str]
) -> list[Fact]:
    marked = [f"{mark}{alias}" for alias in aliases for mark in "~="]
    rows = await connection.fetch(READ_ALIASED, ledger_id, projection.subject, marked)
    return [decode_fact(row["kind"], row["body"]) for row in rows]


def alike_pairs(projection: Projection, facts: Iterable[Fact]) -> list[tuple[str, str]]:
    """Return the pairs (name by alias, name) of subjects that some facts show to be one, alias by alias."""
    assert projection.alike is not None
    by_alias: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.alias is not None:
            by_alias[fact.alias].append(fact)
    pairs: list[tuple[str, str]] = []
    for same in by_alias.values():
        with suppress(Exception):  # a fault of ours: these stay apart, and all others are joined
            pairs += projection.alike(same)
    return pairs


async def _write_links(connection: Connection, ledger_id: int, projection: Projection, groups: SubjectGroups) -> None:
    records = [(ledger_id, projection.subject, member, root) for member, root in groups.root_of().items()]
    if records:
        await connection.copy_records_to_table("links", records=records, columns=LINK_COLUMNS)


def connected_components(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group what pairs connect; each group is known by its smallest member."""
    group_of: dict[str, set[str]] = {}
    for one, other in pairs:
        joined = group_of.get(one, {one}) | group_of.get(other, {other})
        for member in joined:
            group_of[member] = joined
    return {min(group): sorted(group) for group in group_of.values() if len(group) > 1}


def groups_by_target(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group names by alias around the subjects that they mean; each group is known by that subject."""
    groups: dict[str, set[str]] = {}
    for name, meant in pairs:
        groups.setdefault(meant, {meant}).add(name)
    return {root: sorted(members) for root, members in groups.items()}


def first_positions_by_subject(projection: Projection, told: Iterable[RecordedFact]) -> dict[str, int]:
    """Name the subjects that some facts touch, those joined by them too, each with the first position that does."""
    first: dict[str, int] = {}
    for one in told:
        for subject in (one.fact.subject, *merged_pair(projection, one.fact)):
            first[subject] = min(first.get(subject, one.occurrence.position), one.occurrence.position)
    return first


def merged_pair(projection: Projection, fact: Fact) -> tuple[str, str] | tuple[()]:
    """Name the two subjects that a fact joins; none for most facts, and for one on which the rule fails: that parks its
    subject when it is folded."""
    rule = projection.joins.get(type(fact))
    if rule is None:
        return ()
    try:
        return rule(fact)
    except Exception:
        return ()
