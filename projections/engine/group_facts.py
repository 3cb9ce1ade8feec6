"""Read the facts of subjects and of their groups. The facts of a group come in one order."""

from collections.abc import AsyncIterator, Mapping, Sequence, Set

from ledger.database import Connection
from ledger.facts import RecordedFact
from projections.definition import FactKey, Projection, fact_key
from projections.engine import store
from projections.engine.groups import SubjectGroups

GROUPS_PER_READ = 100


async def read_all_facts(
    connection: Connection, ledger_id: int, projection: Projection, roots: Set[str], groups: SubjectGroups
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read all facts of some subjects. Facts of a group are in one order; the list is empty for a subject without
    facts.
    """
    alone = sorted(roots - groups.members.keys())
    without_facts = set(alone)
    if alone:
        async for subject, facts in store.read_facts(connection, ledger_id, projection.subject, alone):
            without_facts.discard(subject)
            yield subject, facts
    members_by_root = {root: groups.members[root] for root in sorted(roots & groups.members.keys())}
    async for root, facts in read_groups(connection, ledger_id, projection, members_by_root):
        yield root, facts
    for subject in without_facts:
        yield subject, []


async def read_facts_after(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    after: Mapping[str, FactKey],
    position: int,
    groups: SubjectGroups,
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read the facts of some subjects after a given fact of each, recorded before a position. Facts of a group are in
    one order; the list is empty for a subject without facts.
    """
    root_of = groups.root_of()
    keys = {member: key for root, key in after.items() for member in groups.members.get(root, (root,))}
    grouped: dict[str, list[RecordedFact]] = {root: [] for root in after if root in groups.members}
    without_facts = after.keys() - grouped.keys()
    async for subject, facts in store.read_facts_after(connection, ledger_id, projection.subject, keys, position):
        root = root_of.get(subject, subject)
        if root in grouped:
            grouped[root] += facts
        else:
            without_facts.discard(subject)
            yield subject, facts
    for root, facts in grouped.items():
        yield root, sorted(facts, key=fact_key)
    for subject in without_facts:
        yield subject, []


async def read_groups(
    connection: Connection, ledger_id: int, projection: Projection, groups: Mapping[str, Sequence[str]]
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read the facts of groups, given as members by root. Yield each root with the facts of its group in one order."""
    roots = list(groups)
    for first in range(0, len(roots), GROUPS_PER_READ):
        root_of = {member: root for root in roots[first : first + GROUPS_PER_READ] for member in groups[root]}
        facts_by_root: dict[str, list[RecordedFact]] = {root: [] for root in root_of.values()}
        async for subject, facts in store.read_facts(connection, ledger_id, projection.subject, list(root_of)):
            facts_by_root[root_of[subject]] += facts
        for root, facts in facts_by_root.items():
            yield root, sorted(facts, key=fact_key)


async def read_group(
    connection: Connection, ledger_id: int, projection: Projection, members: Sequence[str]
) -> list[RecordedFact]:
    """Read the facts of the members of one group, in one order."""
    read = store.read_facts(connection, ledger_id, projection.subject, members)
    facts = [fact async for _, facts in read for fact in facts]
    return sorted(facts, key=fact_key)
