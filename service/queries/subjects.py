"""Rows, history and explanation of one subject of any projection.

Histories are cut at HISTORY_MAX, and lists of rows at ROWS_MAX. A cut answer has "truncated": true.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from ledger.facts import kind_of
from projections.definition import Projection
from projections.engine.groups import SubjectGroups, groups_of
from projections.engine.programme_terms import read_terms
from projections.engine.store import decode_fact
from projections.queries.as_of import EVERYTHING, KnownSubject, fold_known, load_known
from projections.queries.explain import RowStep, UnfoldableStep, row_steps, rule_named
from projections.queries.policies_as_of import resolve_as_of
from projections.queries.validity_ends import EXPIRED, TimeZones, ended_statuses, row_as_at
from projections.tables import SORT_PREFIX
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.explain_steps import StepPage, cause_json, fact_json, load_step_events, unfoldable_json
from service.queries.references import require_single

PARKED = """
    SELECT parked AS reason, parked_position AS position FROM subjects
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = $3 AND parked IS NOT NULL
"""

HISTORY_MAX = 1_000


ROWS_MAX = 1_000


HISTORY = """
    SELECT occurred_at, kind, position, untimed, body FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)
     ORDER BY occurred_at, rank, tag, ordinal LIMIT $4
"""

# Subjects of withdrawn facts that mention a name: a later event won the conflict since.
WITHDRAWN_OF = """
    SELECT DISTINCT subject FROM withdrawn
     WHERE ledger_id = $1 AND subject_kind = $2 AND position <= $4 AND until_position > $4
       AND strpos(convert_from(body, 'UTF8'), $3) > 0
"""


async def former_subjects(query: QueryContext, projection: Projection, name: str, times: AsOfQuery) -> list[str]:
    """Return the subjects that may have named a customer or an order as of the query's times. They do not name it now.

    Reasons: another customer was named later, or a conflict was resolved differently. The result may hold subjects that
    never named it; callers check.
    """
    connection, ledger_id = query.connection, query.ledger.ledger_id
    subjects: set[str] = set()
    if "previous_owners" in projection.tables[0].columns:
        subjects.update(
            row["subject"] for row in await connection.fetch(_previous_owners_sql(projection), ledger_id, name)
        )
    if times.position is not None:
        withdrawn = await connection.fetch(WITHDRAWN_OF, ledger_id, projection.subject, name, times.position)
        subjects.update(row["subject"] for row in withdrawn)
        difference = await resolve_as_of(connection, ledger_id, times.position)
        subjects.update(
            recorded.fact.subject for recorded in difference.added if recorded.fact.subject_kind == projection.subject
        )
    return sorted(subjects)


async def subjects_of_customer(query: QueryContext, projection: Projection, customer: str) -> list[str]:
    """Return all subjects that name a customer now."""
    rows = await query.connection.fetch(_subjects_by_customer_sql(projection), query.ledger.ledger_id, customer)
    return [row["subject"] for row in rows]


def row_json(row: Any) -> dict[str, Any]:
    """Return a row as JSON: without the ledger's number and sort keys, and with the subject as `id`."""
    columns = {name: value for name, value in row.items() if not name.startswith(SORT_PREFIX)}
    del columns["ledger_id"]
    return {"id": columns.pop("subject"), **columns}


async def load_time_zones(query: QueryContext, times: AsOfQuery) -> TimeZones:
    """Load the time zones for the ends of days, as known at the query's position."""
    position = EVERYTHING if times.position is None else times.position
    return TimeZones(await read_terms(query.connection, query.ledger.ledger_id, position))


def apply_ends(projection: Projection, row: Mapping[str, Any], at: datetime, zones: TimeZones) -> dict[str, Any]:
    """Return a row, and its rows of other tables, as they are at a time (projections/queries/validity_ends.py)."""
    first, *others = projection.tables
    row_at = row_as_at(first.name, row, at, zones)
    for table in others:
        if table.name in row:
            row_at[table.name] = [row_as_at(table.name, item, at, zones, row) for item in row[table.name]]
    return row_at


async def rows_of_customer(query: QueryContext, projection: Projection, customer: str) -> list[dict[str, Any]]:
    """Return the rows of a projection that name a customer: at most ROWS_MAX + 1."""
    rows = await query.connection.fetch(_rows_by_customer_sql(projection), query.ledger.ledger_id, customer)
    return [row_json(row) for row in rows]


async def find_roots(
    query: QueryContext, projection: Projection, refs: Sequence[str]
) -> tuple[list[str], SubjectGroups]:
    """Return the subjects under which the rows of some references are stored, and their merge groups."""
    groups = await groups_of(query.connection, query.ledger.ledger_id, projection, refs)
    root_of = groups.root_of()
    return sorted({root_of.get(ref, ref) for ref in refs}), groups


async def load_history(query: QueryContext, subject_kind: str, subjects: Sequence[str]) -> list[dict[str, Any]]:
    """Return the facts of a subject in fold order, under all its names: at most HISTORY_MAX + 1. Each has its event's
    position.
    """
    rows = await query.connection.fetch(HISTORY, query.ledger.ledger_id, subject_kind, subjects, HISTORY_MAX + 1)
    return [
        {
            "occurred_at": row["occurred_at"],
            "fact": row["kind"],
            "position": row["position"],
            "untimed": row["untimed"],
            "fields": fact_json(decode_fact(row["kind"], row["body"])),
        }
        for row in rows
    ]


async def subject_as_of(
    query: QueryContext, projection: Projection, refs: Sequence[str], name: str, times: AsOfQuery
) -> Any:
    """Return a subject as of a time and a position, in the form of the stored rows. It is folded on the spot.

    Raises SubjectUnknown.
    """
    groups = await load_known(query.connection, query.ledger.ledger_id, projection, refs, times.as_of)
    subject_by_root = {known.root: folded_subject_json(projection, known) for known in groups}
    subjects = [root for root, answer in subject_by_root.items() if answer]
    answer = apply_ends(
        projection, subject_by_root[require_single(subjects, name)], times.at, await load_time_zones(query, times)
    )
    return truncate(projection, answer)


def folded_subject_json(projection: Projection, known: KnownSubject) -> dict[str, Any]:
    """Fold the known facts of a subject. Return its rows and history, or {} if the fold gives no row."""
    folded = fold_known(projection, known)
    answer = _first_row(projection, known.root, folded.rows)
    if not answer:
        return {}
    for table in projection.tables[1:]:
        answer[table.name] = [
            {"id": known.root, **dict(zip(table.columns, row, strict=True))} for row in folded.rows[table.name]
        ]
    answer["history"] = [
        {
            "occurred_at": at.occurred_at,
            "fact": kind_of(fact),
            "position": at.position,
            "untimed": at.untimed,
            "fields": fact_json(fact),
        }
        for fact, at in known.facts[: HISTORY_MAX + 1]
    ]
    if folded.parked:
        answer["parked"] = {"reason": folded.parked, "position": folded.parked_position}
    return answer


def truncate(projection: Projection, answer: dict[str, Any]) -> dict[str, Any]:
    """Cut the lists that are too long for an answer, and add "truncated": true."""
    limits = {"history": HISTORY_MAX, **{table.name: ROWS_MAX for table in projection.tables[1:]}}
    overlong = [name for name, limit in limits.items() if len(answer.get(name, ())) > limit]
    for name in overlong:
        del answer[name][limits[name] :]
    return {**answer, "truncated": True} if overlong else answer


def fold_first_row(projection: Projection, known: KnownSubject) -> dict[str, Any]:
    """Fold the known facts of a subject. Return its row of the first table, or {} if there is none."""
    return _first_row(projection, known.root, fold_known(projection, known).rows)


async def explain_subject(
    query: QueryContext, projection: Projection, refs: Sequence[str], name: str, times: AsOfQuery, page: StepPage
) -> dict[str, Any]:
    """Explain a subject as of a time and a position: a step for each fact, and one for an end of validity. Raises
    SubjectUnknown.
    """
    groups = await load_known(query.connection, query.ledger.ledger_id, projection, refs, times.as_of)
    subject_by_root = {known.root: (known, folded_subject_json(projection, known)) for known in groups}
    root = require_single([root for root, (_, row) in subject_by_root.items() if row], name)
    known, row = subject_by_root[root]
    row.pop("history")
    zones = await load_time_zones(query, times)
    row_at = truncate(projection, apply_ends(projection, row, times.at, zones))
    page_steps = list(islice(enumerate(row_steps(projection, known), 1), page.after, page.after + page.limit + 1))
    next_step = page_steps[page.limit - 1][0] if len(page_steps) > page.limit else None
    page_steps = page_steps[: page.limit]
    events = await load_step_events(query, [step.recorded for _, step in page_steps])
    steps = [_step_json(number, step, events) for number, step in page_steps]
    for step in steps:
        _apply_ends_to_step(projection.tables[0].name, root, step, zones)
    if next_step is None:
        steps += _end_steps(projection.tables[0].name, row, row_at)
    return {**row_at, "steps": steps, "next_step": next_step}


def _apply_ends_to_step(table: str, root: str, step: dict[str, Any], zones: TimeZones) -> None:
    """Change the state after a step to the state at the time of the step. A fact may come after the end."""
    if "state" not in step:
        return
    before = {"id": root, **step["row"]}
    for ended in ended_statuses(table, before, row_as_at(table, before, step["occurred_at"], zones)):
        step["row"] = {**step["row"], ended.column: EXPIRED}
        if ended.column in step["changed"]:
            step["changed"][ended.column]["after"] = EXPIRED


def _end_steps(table: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a step for each status that expired by its date. No event reports it."""
    return [
        {
            "step": None,
            "occurred_at": ended.ended_at,
            "kind": "ValidityEnded",
            **cause_json(None, {}),
            "rule": rule_named("validity.ended")._asdict(),
            "changed": {ended.column: {"before": ended.before, "after": EXPIRED}},
        }
        for ended in ended_statuses(table, before, after)
    ]


@cache
def rows_by_subject_sql(projection: Projection, table: int) -> str:
    name = projection.tables[table].name
    return f"SELECT * FROM {name} WHERE ledger_id = $1 AND subject = ANY ($2) LIMIT {ROWS_MAX + 1}"  # noqa: S608


@cache
def _rows_by_customer_sql(projection: Projection) -> str:
    named = " OR ".join(f"{column} = $2" for column in projection.customers)
    name = projection.tables[0].name
    return f"SELECT * FROM {name} WHERE ledger_id = $1 AND ({named}) ORDER BY subject LIMIT {ROWS_MAX + 1}"  # noqa: S608


@cache
def _previous_owners_sql(projection: Projection) -> str:
    name = projection.tables[0].name
    return f"SELECT subject FROM {name} WHERE ledger_id = $1 AND previous_owners @> ARRAY[$2::text]"  # noqa: S608


@cache
def _subjects_by_customer_sql(projection: Projection) -> str:
    named = " OR ".join(f"{column} = $2" for column in projection.customers)
    return f"SELECT subject FROM {projection.tables[0].name} WHERE ledger_id = $1 AND ({named})"  # noqa: S608


def _first_row(projection: Projection, subject: str, folded: Mapping[str, Sequence[tuple[Any, ...]]]) -> dict[str, Any]:
    first = projection.tables[0]
    rows = folded[first.name]
    return {"id": subject, **dict(zip(first.columns, rows[0], strict=True))} if rows else {}


def _step_json(number: int, step: RowStep | UnfoldableStep, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(step, UnfoldableStep):
        return unfoldable_json(number, step, events)
    return {
        "step": number,
        "occurred_at": step.recorded.occurrence.occurred_at,
        **cause_json(step.recorded, events),
        "rule": step.rule._asdict(),
        "changed": {
            column: {"before": before, "after": step.row[column]}
            for column, before in step.before.items()
            if not column.endswith("position")
        },
        "row": step.row,
    }
