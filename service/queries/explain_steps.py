"""JSON of one step of an explanation: the fact of the step, and the event that reported it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from ledger.facts import Fact, RecordedFact, kind_of
from ledger.store.read import event_headers_after
from projections.queries.explain import UnfoldableStep
from service.queries.context import QueryContext

STEPS_MAX = 1_000


StepPage = tuple[int, int]  # the steps after the first number, at most the second number


def fact_json(fact: Fact) -> dict[str, Any]:
    """Return the fields of a fact as JSON, without those that are None."""
    fields = msgspec.to_builtins(fact, builtin_types=(Decimal, datetime, date))
    return {name: value for name, value in fields.items() if value is not None}


async def load_step_events(query: QueryContext, told: Sequence[RecordedFact]) -> dict[int, dict[str, Any]]:
    """Return the kind, source and recorded time of the events of some facts, by position."""
    positions = sorted({one.occurrence.position for one in told})
    heads = await event_headers_after(query.connection, query.ledger.ledger_id, 0, len(positions), positions=positions)
    return {
        head.position: {
            "position": head.position,
            "kind": head.kind,
            "source": head.source,
            "recorded_at": head.recorded_at,
        }
        for head in heads
    }


def cause_json(told: RecordedFact | None, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fact and the event of a step. Both are None for a lapse, and where a vendor's claim was adopted."""
    if told is None:
        return {"event": None, "fact": None, "says": {}}
    fact, occurrence = told
    return {
        "event": events.get(occurrence.position),
        "fact": kind_of(fact),
        "says": fact_json(fact),
        **({"untimed": True} if occurrence.untimed else {}),
    }


def unfoldable_json(number: int, one: UnfoldableStep, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the step of a fact that could not be folded, with the reason."""
    occurred_at = one.told.occurrence.occurred_at
    return {"step": number, "occurred_at": occurred_at, **cause_json(one.told, events), "stuck": one.reason}
