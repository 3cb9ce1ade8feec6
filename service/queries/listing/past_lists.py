"""A list as of an earlier time: every subject is folded on the spot, in the order of the subjects.

1. No index knows earlier rows. So the filters are the exact tests, applied to each folded row.
2. Therefore a filtered list equals a scan of all subjects, as of any time and as known at any position.
3. A page reads at most SUBJECTS_MAX subjects. It may have fewer items than its limit, and still a cursor.
"""

from collections.abc import AsyncIterator, Sequence

from projections.engine.groups import groups_of
from projections.queries.as_of import AsOf, load_known
from projections.queries.policies_as_of import resolve_as_of
from service.queries.context import QueryContext
from service.queries.listing.filters import Key, ListOrder
from service.queries.listing.lists import (
    CANDIDATES_PER_READ,
    Json,
    ListPage,
    ListRequest,
    RowList,
    count_items,
    matches,
    read_page,
    show_known_rows,
)

SUBJECTS_PER_READ = 200
SUBJECTS_MAX = 2_000  # of one page

PAST = ListOrder("past", ("subject", "id"), (str, str))  # its keys are those of a folded list

LAST = chr(0x10FFFF)  # after every id

# Subjects with facts, found by skipping through the index, and subjects whose facts a later event took back.
SUBJECTS = """
    WITH RECURSIVE found AS (
        (SELECT subject FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject >= $3
          ORDER BY subject LIMIT 1)
        UNION ALL
        SELECT (SELECT f.subject FROM facts f
                 WHERE f.ledger_id = $1 AND f.subject_kind = $2 AND f.subject > found.subject
                 ORDER BY f.subject LIMIT 1)
          FROM found WHERE found.subject IS NOT NULL)
    SELECT subject FROM (SELECT subject FROM found WHERE subject IS NOT NULL LIMIT $4) present
    UNION
    SELECT subject FROM withdrawn WHERE ledger_id = $1 AND subject_kind = $2 AND subject >= $3 AND position <= $5
     ORDER BY subject LIMIT $4
"""


async def read_list_page(
    query: QueryContext, row_list: RowList, asked: ListRequest, after: Key | None, limit: int
) -> ListPage:
    """Return up to `limit` items after a key, as of now or as of an earlier time."""
    if asked.as_of is None:
        return await read_page(query, row_list, asked, after, limit)
    items: list[Json] = []
    start, last = after or ("", "")
    examined = 0
    while examined < SUBJECTS_MAX:
        subjects = await _subjects_from(query, row_list, asked.as_of, start)
        for subject, shown in await _fold(query, row_list, subjects, asked, asked.as_of):
            for item in shown:
                if (subject, item["id"]) <= (start, last) or not matches(row_list, item, asked.values):
                    continue
                if len(items) == limit:
                    return ListPage(items, (start, last))
                items.append(item)
                start, last = subject, item["id"]
        if len(subjects) < SUBJECTS_PER_READ:
            return ListPage(items, None)
        examined += len(subjects)
        start, last = subjects[-1], LAST
    return ListPage(items, (start, last))


async def read_all(query: QueryContext, row_list: RowList, asked: ListRequest) -> AsyncIterator[ListPage]:
    """Yield all pages of a list, as of now or as of an earlier time."""
    limit = CANDIDATES_PER_READ if asked.as_of is None else SUBJECTS_PER_READ
    after = None
    while True:
        page = await read_list_page(query, row_list, asked, after, limit)
        yield page
        if page.following is None:
            return
        after = page.following


async def count_list_items(query: QueryContext, row_list: RowList, asked: ListRequest) -> int:
    """Count all items of a list. As of an earlier time, or by a filter that depends on the time, row by row."""
    count = await count_items(query, row_list, asked) if asked.as_of is None else None
    return sum([len(page.items) async for page in read_all(query, row_list, asked)]) if count is None else count


async def _subjects_from(query: QueryContext, row_list: RowList, as_of: AsOf, start: str) -> list[str]:
    kind, position = row_list.projection.subject, as_of.position or 0
    rows = await query.connection.fetch(SUBJECTS, query.ledger.ledger_id, kind, start, SUBJECTS_PER_READ, position)
    subjects = {row["subject"] for row in rows}
    difference = await resolve_as_of(query.connection, query.ledger.ledger_id, as_of.position)
    added = (recorded.fact for recorded in difference.added)  # they counted under an earlier policy
    subjects.update(fact.subject for fact in added if fact.subject_kind == kind and fact.subject >= start)
    return sorted(subjects)[:SUBJECTS_PER_READ]


async def _fold(
    query: QueryContext, row_list: RowList, subjects: Sequence[str], asked: ListRequest, as_of: AsOf
) -> list[tuple[str, list[Json]]]:
    """Fold subjects with all subjects that are one with them now. Each group of that time is shown once, under the
    subject that has its rows now.
    """
    projection, ledger_id = row_list.projection, query.ledger.ledger_id
    groups = await groups_of(query.connection, ledger_id, projection, subjects)
    root_of = groups.root_of()
    roots = [subject for subject in subjects if root_of.get(subject, subject) == subject]
    members = sorted({member for root in roots for member in groups.members.get(root, [root])})
    shown: dict[str, list[Json]] = {root: [] for root in roots}
    for known in await load_known(query.connection, ledger_id, projection, members, as_of):
        root = root_of.get(known.root, known.root)
        if root in shown:
            shown[root] += (row_list.show_known or show_known_rows)(row_list, known, asked)
    return [(root, sorted(items, key=lambda item: str(item["id"]))) for root, items in shown.items()]
