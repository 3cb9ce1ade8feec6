"""Previews an operation or a delivery: the same plan and the same fold, and nothing is recorded.

A dry run makes the plan that recording makes (record.py), and folds its event inside a read-only transaction. It takes
no lock, no position and no idempotency key.
"""

from collections.abc import Awaitable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from ledger import clock
from ledger.background import give_way
from ledger.database import Connection
from ledger.events import Event
from ledger.intake.interpret import Interpretation, interpret_all
from ledger.store.read import events_with_key, tail
from projections.accounts import ACCOUNTS
from projections.engine.conflicts import PolicyByKind, facts_of, policies_of_generation, select_by_policy
from projections.queries.account_history import snapshot
from projections.queries.preview import FactChange, RowChange, preview_facts, row_changes_of
from projections.queries.previewed_liability import LiabilityChange, LiabilityPreview
from service.operations.record import Planned

ROWS_SHOWN_MAX = 1_000

R = TypeVar("R")


class ParkedPreview(NamedTuple):
    """A subject that could not be folded after the change."""

    table: str
    subject: str
    reason: str


class Preview(NamedTuple):
    """The effects of a change that is not recorded. `liability` is None if it was not asked for.

    An account counts as changed if one of its rows changes: the account itself, a lot, a line of its statement.
    """

    accounts_changed: int
    rows: Sequence[RowChange]
    truncated: bool
    parked: Sequence[ParkedPreview]
    liability: Sequence[LiabilityChange] | None = None


class ExpectedOutcome(NamedTuple):
    """The outcome of an event if it were stored now. `position` is that of the stored event for a duplicate."""

    outcome: str
    position: int | None


async def preview_operation(
    connection: Connection, ledger_id: int, plan: Awaitable[Planned[R]], *, with_liability: bool = False
) -> tuple[R, Preview]:
    """Make a plan, and preview it. Return the result of the plan and its effects. Raises what the plan raises."""
    async with snapshot(connection):
        planned = await plan
        if planned.delivery is None:
            return planned.result, Preview(0, (), False, (), () if with_liability else None)
        events = planned.delivery.as_stored(clock.now(), await tail(connection, ledger_id) + 1)
        facts = await resolve_events(connection, ledger_id, events, list(interpret_all(events)))
        change = FactChange([*facts.added, *planned.change.added], [*facts.removed, *planned.change.removed])
        return planned.result, await preview_change(connection, ledger_id, change, with_liability=with_liability)


async def preview_change(
    connection: Connection, ledger_id: int, change: FactChange, *, with_liability: bool = False
) -> Preview:
    """Return the effects of a change of facts. Call it inside a read-only transaction."""
    day = clock.now().date()
    liability = await LiabilityPreview.start(connection, ledger_id, change, day) if with_liability else None
    rows: list[RowChange] = []
    parked: list[ParkedPreview] = []
    accounts: set[str] = set()
    truncated = False
    async for previewed in preview_facts(connection, ledger_id, change):
        changes = row_changes_of(previewed)
        if previewed.projection is ACCOUNTS:
            accounts |= {row["account_id"] for of_row in changes for row in (of_row.before, of_row.after) if row}
        truncated = truncated or len(rows) + len(changes) > ROWS_SHOWN_MAX
        rows += changes[: ROWS_SHOWN_MAX - len(rows)]
        waiting = {folded.subject for folded in previewed.before if folded.parked}
        parked += [
            ParkedPreview(previewed.projection.tables[0].name, folded.subject, folded.parked)
            for folded in previewed.after
            if folded.parked and folded.subject not in waiting
        ]
        if liability is not None:
            for _ in liability.adding(previewed):
                await give_way()
    liability_changes = None if liability is None else await liability.changes(connection, ledger_id)
    return Preview(len(accounts), rows, truncated, parked[:ROWS_SHOWN_MAX], liability_changes)


async def resolve_events(
    connection: Connection, ledger_id: int, events: Sequence[Event], interpretations: Sequence[Interpretation]
) -> FactChange:
    """Return the facts that new events add and remove. Conflicts with stored events are resolved by the policies."""
    policies = await policies_of_generation(connection, ledger_id)
    kept: set[int] = set()
    removed: list[Event] = []
    for key in dict.fromkeys(event.event_key for event in events):
        stored = await events_with_key(connection, ledger_id, key)
        resolved = _resolve(stored, [event for event in events if event.event_key == key], policies)
        kept |= resolved.kept
        removed += resolved.removed
    added = [
        fact
        for event, interpretation in zip(events, interpretations, strict=True)
        if event.position in kept
        for fact in interpretation.facts
    ]
    return FactChange(added, await facts_of(connection, ledger_id, removed))


async def expected_outcomes(connection: Connection, ledger_id: int, events: Sequence[Event]) -> list[ExpectedOutcome]:
    """Return the outcome of each event of a delivery, compared by content.

    Events that differ in personal values alone count as duplicates. To distinguish them, persons' keys would be needed.
    """
    outcomes = []
    seen: dict[bytes, dict[bytes, int | None]] = {}
    for event in events:
        if event.event_key not in seen:
            stored = await events_with_key(connection, ledger_id, event.event_key)
            seen[event.event_key] = {one.content: one.position for one in reversed(stored)}
        contents = seen[event.event_key]
        if event.content in contents:
            outcomes.append(ExpectedOutcome("duplicate", contents[event.content]))
            continue
        outcomes.append(ExpectedOutcome("conflict" if contents else "appended", None))
        contents[event.content] = None
    return outcomes


class _Resolved(NamedTuple):
    kept: frozenset[int]  # positions of new events that are folded
    removed: Sequence[Event]  # stored events that are no longer folded


def _resolve(stored: Sequence[Event], new: Sequence[Event], policies: PolicyByKind) -> _Resolved:
    """Resolve new events with one key against the stored ones. New events with a stored content change nothing."""
    before = {event.position: event for event in select_by_policy(stored, policies)} if stored else {}
    after = {event.position for event in select_by_policy([*stored, *new], policies)}
    kept = frozenset(event.position for event in new if event.position in after)
    return _Resolved(kept, [event for position, event in before.items() if position not in after])


def account_after(preview: Preview, account_id: str) -> Mapping[str, Any] | None:
    """Return the row of an account after a previewed change. None if it does not change."""
    for row in preview.rows:
        if row.table == "accounts" and row.after is not None and row.after["account_id"] == account_id:
            return row.after
    return None


def available_after(preview: Preview, account_id: str) -> Decimal | None:
    """Return the available points of an account after a previewed change. None if its row does not change."""
    row = account_after(preview, account_id)
    return None if row is None else row["available"]


def preview_json(preview: Preview) -> dict[str, Any]:
    """Return a preview as JSON."""
    liability = None if preview.liability is None else [_liability_json(change) for change in preview.liability]
    return {
        "accounts_changed": preview.accounts_changed,
        "rows": [
            {"table": row.table, "id": row.subject, "before": row.before, "after": row.after} for row in preview.rows
        ],
        "truncated": preview.truncated,
        "parked": [{"table": one.table, "id": one.subject, "reason": one.reason} for one in preview.parked],
        **({} if liability is None else {"liability": liability}),
    }


def _liability_json(change: LiabilityChange) -> dict[str, Any]:
    return {**change._asdict(), "before": change.before._asdict(), "after": change.after._asdict()}
