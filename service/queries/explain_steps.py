"""JSON of one step of an explanation: the fact of the step, and the event that reported it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ledger.facts import Fact, RecordedFact, kind_of
from ledger.store.read import event_headers_after
from projections.queries.explain import UnfoldableStep
from service.queries.context import QueryContext

STEPS_MAX = 1_000


class StepPage(NamedTuple):
    """A page of steps: at most `limit` steps after step `after`."""

    after: int
    limit: int


def fact_json(fact: Fact) -> dict[str, Any]:
    """Return the fields of a fact as JSON, without those that are None."""
    fields = msgspec.to_builtins(fact, builtin_types=(Decimal, datetime, date))
    return {name: value for name, value in _with_present_names(fact, fields).items() if value is not None}


def _with_present_names(value: Any, encoded: Any) -> Any:
    """Return an encoded value with the present names of its fields. Some are stored under earlier names."""
    if isinstance(value, msgspec.Struct):
        names = dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
        return {names[name]: _with_present_names(getattr(value, names[name]), part) for name, part in encoded.items()}
    if isinstance(value, tuple):
        return [_with_present_names(one, part) for one, part in zip(value, encoded, strict=True)]
    return encoded


async def load_step_events(query: QueryContext, recorded: Sequence[RecordedFact]) -> dict[int, dict[str, Any]]:
    """Return the kind, source and recorded time of the events of some facts, by position."""
    return await load_events(query, {step.occurrence.position for step in recorded})


async def load_events(query: QueryContext, wanted: Collection[int]) -> dict[int, dict[str, Any]]:
    """Return the kind, source and recorded time of events, by position."""
    positions = sorted(wanted)
    headers = await event_headers_after(
        query.connection, query.ledger.ledger_id, 0, len(positions), positions=positions
    )
    return {
        header.position: {
            "position": header.position,
            "kind": header.kind,
            "source": header.source,
            "recorded_at": header.recorded_at,
        }
        for header in headers
    }


def cause_json(recorded: RecordedFact | None, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fact and the event of a step. Both are None for a lapse, and where a vendor's claim was adopted."""
    if recorded is None:
        return {"event": None, "fact": None, "fields": {}}
    fact, occurrence = recorded
    return {
        "event": events.get(occurrence.position),
        "fact": kind_of(fact),
        "fields": fact_json(fact),
        **({"untimed": True} if occurrence.untimed else {}),
    }


def unfoldable_json(number: int, step: UnfoldableStep, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the step of a fact that could not be folded, with the reason."""
    occurred_at = step.recorded.occurrence.occurred_at
    return {"step": number, "occurred_at": occurred_at, **cause_json(step.recorded, events), "failure": step.reason}
