"""One subject of any projection, by id: its row, and the facts that made it. One handler serves all projections.

Histories are cut at HISTORY_MAX and lists of rows at ROWS_MAX, and a cut answer has "truncated": true. The explanation
pages through the whole history.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aiohttp import web

from projections.definition import Projection
from projections.registry import PROJECTIONS
from projections.tables import description_of
from service.api.answers.subjects import explanation_answer, subject_answer
from service.api.requests.admission import Operation, get
from service.api.requests.explain_parameters import STEP_PAGE, parse_step_page
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import TIMES
from service.api.responses import json_response
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.queries.references import expand_reference, require_single
from service.queries.subjects import (
    PARKED,
    apply_ends,
    explain_subject,
    find_roots,
    load_history,
    load_time_zones,
    row_json,
    rows_by_subject_sql,
    subject_as_of,
    truncate,
)


def subject_handler(projection: Projection) -> Any:
    """Return the handler that answers one subject of a projection."""

    async def get_subject(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        async with open_query(request) as query:
            refs = await expand_reference(query, name)
            times = await parse_as_of(query, request)
            if times.given:
                answer = await subject_as_of(query, projection, refs, name, times)
            else:
                answer = await _subject_now(query, projection, refs, name, times)
            return json_response({**answer, **await freshness(query, times)})

    get_subject.__name__ = f"get_{_singular(projection)}"
    return get_subject


async def _subject_now(
    query: QueryContext, projection: Projection, refs: Sequence[str], name: str, times: AsOfQuery
) -> dict[str, Any]:
    """Return the stored rows of a subject, with its history. Raises SubjectUnknown."""
    roots, groups = await find_roots(query, projection, refs)
    rows = await query.connection.fetch(rows_by_subject_sql(projection, 0), query.ledger.ledger_id, roots)
    subject = require_single(sorted({row["subject"] for row in rows}), name)
    answer = row_json(rows[0])
    for table in range(1, len(projection.tables)):
        rows_of_table = await query.connection.fetch(
            rows_by_subject_sql(projection, table), query.ledger.ledger_id, [subject]
        )
        answer[projection.tables[table].name] = [row_json(row) for row in rows_of_table]
    parked = await query.connection.fetchrow(PARKED, query.ledger.ledger_id, projection.subject, subject)
    members = groups.members.get(subject, [subject])
    answer["history"] = await load_history(query, projection.subject, members)
    answer = apply_ends(projection, answer, times.at, await load_time_zones(query, times))
    return {**truncate(projection, answer), **({"parked": dict(parked)} if parked else {})}


def explanation_handler(projection: Projection) -> Any:
    """Return the handler that explains one subject of a projection."""

    async def explain(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        async with open_query(request) as query:
            refs = await expand_reference(query, name)
            times = await parse_as_of(query, request)
            explained = await explain_subject(query, projection, refs, name, times, parse_step_page(request))
            return json_response({**explained, **await freshness(query, times)})

    explain.__name__ = f"explain_{_singular(projection)}"
    return explain


def _singular(projection: Projection) -> str:
    """Return the name of one subject, such as `order_item`."""
    return projection.name.removesuffix("s")


def _operations(projection: Projection, path: str) -> Iterator[Operation]:
    name = _singular(projection).replace("_", " ")
    article = "an" if name[0] in "aeiou" else "a"
    about = description_of(projection.tables[0].row)
    yield get(
        f"/v1/{path}/{{id}}",
        subject_handler(projection),
        *TIMES,
        tag=path,
        answer=subject_answer(projection),
        summary=f"Return {article} {name}",
        description=f"{about} The answer has the row as of the time of the query, and the facts that made it.",
    )
    yield get(
        f"/v1/{path}/{{id}}/explanation",
        explanation_handler(projection),
        *TIMES,
        *STEP_PAGE,
        tag=path,
        answer=explanation_answer(projection),
        summary=f"Explain {article} {name}",
        description="Each step has its event, its fact, the rule that was applied, and the changed fields.",
    )


OPERATIONS = tuple(
    operation for projection in PROJECTIONS if projection.path for operation in _operations(projection, projection.path)
)
