"""Explain an account or a lot: a step for each line of the statement, with the lots that the line touched."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ledger.errors import SubjectUnknown
from projections.queries.explain import LineStep, UnfoldableStep, account_steps, rule_named
from service.queries.accounts import (
    AccountView,
    account_json,
    fold_account_with_facts,
    lapses_since,
    lot_json,
    postings_json,
)
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.explain_steps import StepPage, cause_json, load_step_events, unfoldable_json


async def explain_account(
    query: QueryContext, name: str, times: AsOfQuery, page: StepPage, lot: str | None = None
) -> dict[str, Any]:
    """Explain an account, or one of its lots, as of a time and a position. Raises SubjectUnknown.

    The result has "account" or "lot", "steps" and "next_step". Steps are lines of the statement, and lapses up to the
    time.
    """
    known, view = await fold_account_with_facts(query, name, times)
    steps = _numbered(account_steps(known, view.row["account_id"]), lot)
    page_steps = list(islice((step for step in steps if step[0] > page.after), page.limit + 1))
    next_step = page_steps[page.limit - 1][0] if len(page_steps) > page.limit else None
    page_steps = page_steps[: page.limit]
    events = await load_step_events(query, [step.recorded for _, step in page_steps if step.recorded is not None])
    steps_json = [_step_json(number, step, events) for number, step in page_steps]
    if next_step is None:
        lapses = lapses_since(view.row, view.lots, times.at)
        steps_json += [_lapse_step_json(line, view) for line in lapses if lot in (None, line["postings"][0]["lot"])]
    head = {"account": account_json(view)} if lot is None else {"lot": find_lot(view, lot, times)}
    return {**head, "steps": steps_json, "next_step": next_step}


def _numbered(
    steps: Iterable[LineStep | UnfoldableStep], lot: str | None
) -> Iterator[tuple[int, LineStep | UnfoldableStep]]:
    """Number the steps as the statement does. With a lot, yield only the steps that touched it."""
    number = 0
    for step in steps:
        number = step.line.line if isinstance(step, LineStep) else number + 1
        if (
            lot is None
            or isinstance(step, UnfoldableStep)
            or any(touched.row["lot_id"] == lot for touched in step.lots)
        ):
            yield number, step


def find_lot(view: AccountView, lot: str, times: AsOfQuery) -> dict[str, Any]:
    """Return a lot of a folded account as JSON. Raises SubjectUnknown."""
    for row in view.lots:
        if row["lot_id"] == lot:
            return lot_json(row, times.at)
    raise SubjectUnknown(lot, "the account has no such lot")


def _step_json(number: int, step: LineStep | UnfoldableStep, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(step, UnfoldableStep):
        return unfoldable_json(number, step, events)
    line = step.line
    return {
        "step": number,
        "occurred_at": line.occurred_at,
        "kind": line.kind,
        **cause_json(step.recorded, events),
        "rule": step.rule._asdict(),
        "points": line.points,
        "balance": line.balance,
        "promised": line.promised,
        "claimed": line.claimed,
        "drift": line.drift,
        "counted_position": line.counted_position,
        "postings": postings_json(step.postings),
        "lots": [{"change": lot.change, **lot_json(lot.row, line.occurred_at)} for lot in step.lots],
    }


def _lapse_step_json(line: Mapping[str, Any], view: AccountView) -> dict[str, Any]:
    """Return the step of a lapse after the last fact. The fold does not know it yet."""
    [posting] = line["postings"]
    lot_id = posting["lot"]
    lots = [lot for lot in view.lots if lot["lot_id"] == lot_id]
    return {
        "step": None,
        "occurred_at": line["occurred_at"],
        "kind": line["kind"],
        **cause_json(None, {}),
        "rule": rule_named("account.lapsed")._asdict(),
        **{name: line[name] for name in ("points", "balance", "promised", "postings")},
        "claimed": None,
        "drift": None,
        "counted_position": None,
        "lots": [{"change": line["points"], **lot_json(lot, line["occurred_at"])} for lot in lots],
    }
