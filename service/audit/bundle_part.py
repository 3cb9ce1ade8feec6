"""The events and subjects of one customer, for an audit bundle of that customer.

A customer's subjects are found in each projection whose first table names the customer. Subjects merged with them are
included. The events are those with facts about these subjects.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import SubjectUnknown
from ledger.store.registry import Ledger
from projections.definition import Projection
from projections.engine.groups import groups_of
from projections.registry import PROJECTIONS

POSITIONS = """
    SELECT DISTINCT f.position FROM facts f
      JOIN unnest($2::text[], $3::text[]) AS s (subject_kind, subject)
        ON f.subject_kind = s.subject_kind AND f.subject = s.subject
     WHERE f.ledger_id = $1 ORDER BY f.position
"""


class BundlePart(NamedTuple):
    """Positions of a part in order, and its subjects by kind. `subjects` is None for a range: then only the facts of
    the events are included, no rows.
    """

    positions: Sequence[int]
    subjects: Mapping[str, Sequence[str]] | None


async def find_customer_part(connection: Connection, ledger: Ledger, customer: str) -> BundlePart:
    """Find the events and subjects of a customer, by reference. Raises SubjectUnknown."""
    subjects = {
        projection.subject: found
        for projection in PROJECTIONS
        if projection.customers and (found := await _subjects(connection, ledger, projection, customer))
    }
    if not subjects:
        raise SubjectUnknown(customer)
    kinds = [kind for kind, found in subjects.items() for _ in found]
    names = [name for found in subjects.values() for name in found]
    rows = await connection.fetch(POSITIONS, ledger.ledger_id, kinds, names)
    return BundlePart([row["position"] for row in rows], subjects)


async def _subjects(connection: Connection, ledger: Ledger, projection: Projection, customer: str) -> list[str]:
    rows = await connection.fetch(_query(projection), ledger.ledger_id, customer)
    found = {row["subject"] for row in rows}
    groups = await groups_of(connection, ledger.ledger_id, projection, sorted(found | {customer}))
    return sorted(found.union(*groups.members.values()))


def _query(projection: Projection) -> str:
    """Compose the look-up of a customer in a projection's first table. All names come from projection values."""
    named = " OR ".join(f"{column} = $2" for column in projection.customers)
    return f"SELECT DISTINCT subject FROM {projection.tables[0].name} WHERE ledger_id = $1 AND ({named})"  # noqa: S608
