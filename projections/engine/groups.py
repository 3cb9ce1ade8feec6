"""Groups of subjects that are folded as one: two holders after a merge, or a coupon named by its id and by its code.

- A group is identified by its root. The group's state and rows are stored under the root.
- The groups are a function of the set of facts, never of their order.
- The table `links` holds every subject of a group, and no other subject.

Two kinds of facts connect subjects:

1. A merging fact (`Projection.merging_facts`) names two subjects. The root is the smallest subject of the group.
2. Facts with the same alias (`Fact.alias`) may be about one thing, if a subject is known by the alias alone.
   `Projection.match_aliases` then returns the pairs. The root is the subject that is not known by the alias alone.
   An alias connects subjects only if a subject is known by it alone. Any other alias costs only its index entry.
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

# Aliases are stored with a prefix: "~" if the subject is known by the alias alone, "=" otherwise.
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
    """The groups of some subjects. A subject without a group is its own root."""

    members: Mapping[str, Sequence[str]]  # by root

    def root_of(self) -> dict[str, str]:
        return {member: root for root, members in self.members.items() for member in members}


async def groups_of(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str]
) -> SubjectGroups:
    """Read the groups of some subjects."""
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
    connection: Connection, ledger_id: int, projection: Projection, facts: Sequence[RecordedFact]
) -> set[str]:
    """Update the groups after facts were written or deleted.

    Return the subjects to fold again from their first fact. They include subjects that are now part of another's group.
    """
    refold_subjects = set[str]()
    if projection.match_aliases is not None:
        refold_subjects |= await _regroup_by_alias(
            connection, ledger_id, projection, [recorded.fact for recorded in facts]
        )
    touched = {subject for recorded in facts for subject in merged_pair(projection, recorded.fact)}
    return refold_subjects | (
        await _regroup_with_members(connection, ledger_id, projection, touched) if touched else set()
    )


async def rebuild_groups(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Iterable[str]
) -> set[str]:
    """Update the groups of some subjects whose merging facts may have changed without an update.

    Return the subjects to fold again: the given ones, and all members of their groups before and after.
    """
    touched = set(subjects)
    if not projection.grouped or not touched:
        return touched
    if projection.match_aliases is not None:
        before = await groups_of(connection, ledger_id, projection, sorted(touched))
        affected = touched.union(*before.members.values())
        rows = await connection.fetch(READ_ALIASES, ledger_id, projection.subject, sorted(affected))
        changed = await _regroup_aliases(connection, ledger_id, projection, {row["alias"] for row in rows}, affected)
        after = await groups_of(connection, ledger_id, projection, sorted(touched))
        return affected.union(changed, *after.members.values())
    return await _regroup_with_members(connection, ledger_id, projection, touched)


async def _regroup_with_members(
    connection: Connection, ledger_id: int, projection: Projection, touched: Set[str]
) -> set[str]:
    before = await groups_of(connection, ledger_id, projection, sorted(touched))
    affected = set(touched).union(*before.members.values())
    after = await _regroup(connection, ledger_id, projection, sorted(affected))
    return affected.union(*after.members.values())


async def write_all_groups(connection: Connection, ledger_id: int, projection: Projection) -> None:
    """Find and write all groups of a ledger from its complete facts."""
    if projection.merging_facts:
        await _regroup(connection, ledger_id, projection, None)
    if projection.match_aliases is not None:
        rows = await connection.fetch(READ_ALL_ALIAS_ONLY, ledger_id, projection.subject)
        aliases = [row["alias"] for row in rows]
        pairs: list[tuple[str, str]] = []
        for first in range(0, len(aliases), ALIASES_PER_READ):
            chunk = aliases[first : first + ALIASES_PER_READ]
            pairs += alias_pairs(projection, await _read_aliased(connection, ledger_id, projection, chunk))
        await _write_links(connection, ledger_id, projection, SubjectGroups(groups_by_target(pairs)))


async def _regroup(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str] | None
) -> SubjectGroups:
    """Find the groups among some subjects from their merging facts, and write them. None means all subjects."""
    kinds = [fact.__name__ for fact in projection.merging_facts]
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
    """Update the groups of subjects that share an alias with some facts. Nothing changes unless a subject is, or was,
    known by the alias alone.
    """
    aliases: dict[str, bool] = {}
    for fact in facts:
        alias = fact.alias
        if alias is not None:
            aliases[alias] = aliases.get(alias, False) or fact.alias_only
    shared = {alias for alias, is_alias_only in aliases.items() if is_alias_only}
    stored_aliases = [f"~{alias}" for alias in aliases.keys() - shared]
    if stored_aliases:
        rows = await connection.fetch(READ_ALIAS_ONLY, ledger_id, projection.subject, stored_aliases)
        shared |= {row["alias"] for row in rows}
    if not shared:
        return set()
    subjects = {fact.subject for fact in facts if fact.alias in shared}
    return await _regroup_aliases(connection, ledger_id, projection, shared, subjects)


async def _regroup_aliases(
    connection: Connection, ledger_id: int, projection: Projection, aliases: Set[str], touched: Set[str]
) -> set[str]:
    """Find the groups of all subjects that share aliases, directly or indirectly, and write the groups that changed.

    `touched` are subjects with facts written or deleted. They may have no fact left with a shared alias.

    Return the members of the groups that changed.
    """
    seen_aliases, next_aliases = set[str](), set(aliases)
    pairs: list[tuple[str, str]] = []
    subjects = set[str]()
    while next_aliases:
        facts = await _read_aliased(connection, ledger_id, projection, sorted(next_aliases))
        seen_aliases |= next_aliases
        pairs += alias_pairs(projection, facts)
        found = {fact.subject for fact in facts} - subjects
        subjects |= found
        rows = await connection.fetch(READ_ALIASES, ledger_id, projection.subject, sorted(found)) if found else []
        next_aliases = {row["alias"] for row in rows} - seen_aliases
    groups = await groups_of(connection, ledger_id, projection, sorted(subjects | touched))
    before = {root: tuple(members) for root, members in groups.members.items()}
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
    stored_aliases = [f"{mark}{alias}" for alias in aliases for mark in "~="]
    rows = await connection.fetch(READ_ALIASED, ledger_id, projection.subject, stored_aliases)
    return [decode_fact(row["kind"], row["body"]) for row in rows]


def alias_pairs(projection: Projection, facts: Iterable[Fact]) -> list[tuple[str, str]]:
    """Return pairs (subject known by the alias, real subject) of facts with the same alias. Both subjects are one
    thing.
    """
    assert projection.match_aliases is not None
    by_alias: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.alias is not None:
            by_alias[fact.alias].append(fact)
    pairs: list[tuple[str, str]] = []
    for aliased in by_alias.values():
        with suppress(Exception):  # an error in our code: only these subjects stay separate
            pairs += projection.match_aliases(aliased)
    return pairs


async def _write_links(connection: Connection, ledger_id: int, projection: Projection, groups: SubjectGroups) -> None:
    records = [(ledger_id, projection.subject, member, root) for member, root in groups.root_of().items()]
    if records:
        await connection.copy_records_to_table("links", records=records, columns=LINK_COLUMNS)


def connected_components(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group the names that pairs connect. The key of each group is its smallest member."""
    group_of: dict[str, set[str]] = {}
    for first, second in pairs:
        component = group_of.get(first, {first}) | group_of.get(second, {second})
        for member in component:
            group_of[member] = component
    return {min(group): sorted(group) for group in group_of.values() if len(group) > 1}


def groups_by_target(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Group the first names of pairs by their second name, the target. The key of each group is its target."""
    groups: dict[str, set[str]] = {}
    for alias_name, target in pairs:
        groups.setdefault(target, {target}).add(alias_name)
    return {root: sorted(members) for root, members in groups.items()}


def first_positions_by_subject(projection: Projection, facts: Iterable[RecordedFact]) -> dict[str, int]:
    """Return the subjects of some facts, and those that the facts merge, each with its first position."""
    positions: dict[str, int] = {}
    for recorded in facts:
        for subject in (recorded.fact.subject, *merged_pair(projection, recorded.fact)):
            positions[subject] = min(positions.get(subject, recorded.occurrence.position), recorded.occurrence.position)
    return positions


def merged_pair(projection: Projection, fact: Fact) -> tuple[str, str] | tuple[()]:
    """Return the two subjects that a fact merges; () for most facts.

    Also () if the projection's function fails on the fact. The fact then parks its subject when it is folded.
    """
    rule = projection.merging_facts.get(type(fact))
    if rule is None:
        return ()
    try:
        return rule(fact)
    except Exception:
        return ()
