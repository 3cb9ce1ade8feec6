"""Rows of one customer, from every projection that names customers."""

from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg

from projections.accounts import ACCOUNTS
from projections.customers import CUSTOMERS
from projections.definition import Projection
from projections.queries.as_of import load_known
from projections.registry import PROJECTIONS
from service.queries.accounts import account_rows_json
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.subjects import (
    ROWS_MAX,
    apply_ends,
    fold_first_row,
    former_subjects,
    load_time_zones,
    rows_of_customer,
    subjects_of_customer,
)

SUBJECTS_PER_FOLD = 500

VICTIMS_MAX = 100


async def load_customer(query: QueryContext, customer: str, times: AsOfQuery) -> dict[str, list[dict[str, Any]] | None]:
    """Return the rows of a customer by the first table of each projection: at most ROWS_MAX + 1 of each.

    None instead of a list means that a rebuild is due first. An example is a projection that this version has added.
    """
    rows_by_table: dict[str, list[dict[str, Any]] | None] = {}
    zones = await load_time_zones(query, times)
    victims = await _find_victims(query, customer, times)
    for projection in PROJECTIONS:
        if projection.customers:
            try:
                rows = await _rows_with_inherited(query, projection, customer, victims, times)
                rows_by_table[projection.tables[0].name] = [
                    apply_ends(projection, row, times.at, zones) for row in rows
                ]
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
                rows_by_table[projection.tables[0].name] = None
    return rows_by_table


def batched(subjects: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (subjects[first : first + size] for first in range(0, len(subjects), size))


async def _rows_with_inherited(
    query: QueryContext, projection: Projection, customer: str, victims: Sequence[str], times: AsOfQuery
) -> list[dict[str, Any]]:
    """Return the rows of a customer, followed by the rows inherited from customers merged into it."""
    if projection is ACCOUNTS:  # a merge moved the victims' points, so their accounts are the survivor's too
        survivor = await find_survivor(query, customer, times)
        holders = [customer] if survivor is None else [customer, survivor]
        return [
            account
            for holder in holders
            for account in await account_rows_json(
                query, holder, await rows_of_customer(query, projection, holder), times
            )
        ]
    rows = await _rows_of(query, projection, customer, times)
    for victim in victims:
        known_ids = {row["id"] for row in rows}
        inherited = [row for row in await _rows_of(query, projection, victim, times) if row["id"] not in known_ids]
        rows += [{**row, "inherited_from": victim} for row in inherited]
    if projection is CUSTOMERS:
        rows.sort(key=lambda row: row["id"] != customer)
    return rows


async def _rows_of(
    query: QueryContext, projection: Projection, customer: str, times: AsOfQuery
) -> list[dict[str, Any]]:
    if times.given:
        return await _rows_as_of(query, projection, customer, times)
    return await rows_of_customer(query, projection, customer)


async def _find_victims(query: QueryContext, customer: str, times: AsOfQuery) -> list[str]:
    """Return the customers merged into a customer, directly or through others: at most VICTIMS_MAX."""
    found: list[str] = []
    pending = [customer]
    while pending and len(found) < VICTIMS_MAX:
        survivor = pending.pop()
        rows = await _rows_of(query, CUSTOMERS, survivor, times)
        direct = [row["id"] for row in rows if row["merged_into"] == survivor and row["id"] not in (customer, *found)]
        found += direct
        pending += direct
    return found[:VICTIMS_MAX]


async def find_survivor(query: QueryContext, customer: str, times: AsOfQuery) -> str | None:
    """Return the customer that remains after all merges; None if the customer was not merged away."""
    current, visited = customer, {customer}
    while True:
        rows = await _rows_of(query, CUSTOMERS, current, times)
        survivor = next((row["merged_into"] for row in rows if row["id"] == current), None)
        if survivor is None or survivor in visited:
            return None if current == customer else current
        current = survivor
        visited.add(current)


async def _rows_as_of(
    query: QueryContext, projection: Projection, customer: str, times: AsOfQuery
) -> list[dict[str, Any]]:
    """Fold the subjects that name a customer now or named it before. Return the rows that name it at the time asked
    for.

    At most ROWS_MAX + 1 rows are returned.
    """
    connection, ledger_id = query.connection, query.ledger.ledger_id
    candidates = {customer, *await subjects_of_customer(query, projection, customer)}
    candidates.update(await former_subjects(query, projection, customer, times))
    named = ["id" if column == "subject" else column for column in projection.customers]
    rows_found: list[dict[str, Any]] = []
    for batch in batched(sorted(candidates), SUBJECTS_PER_FOLD):
        groups = await load_known(connection, ledger_id, projection, batch, times.as_of)
        rows = [row for known in groups for row in [fold_first_row(projection, known)] if row]
        rows_found += [row for row in rows if customer in (row[column] for column in named)]
        if len(rows_found) > ROWS_MAX:
            break
    return rows_found[: ROWS_MAX + 1]
