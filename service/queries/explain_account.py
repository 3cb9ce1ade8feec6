"""Explain an account or a lot: a step for each line of the statement, with the lots that the line touched."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ledger.errors import SubjectUnknown
from projections.queries.explain import ExplainStep, LineStep, UnfoldableStep, account_steps
from projections.queries.fact_sentences import WITHOUT_FACT
from service.queries.accounts import AccountView, account_json, fold_account_with_facts, lapses_since, lot_json
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.explain_steps import StepPage, cause_json, load_step_events, unfoldable_json

LAPSED = ExplainStep("account.lapsed", WITHOUT_FACT["Lapsed"])


async def explain_account(
    query: QueryContext, name: str, times: AsOfQuery, page: StepPage, lot: str | None = None
) -> dict[str, Any]:
    """Explain an account, or one of its lots, as of a time and a position. Raises SubjectUnknown.

    The result has "account" or "lot", "steps" and "next_step". Steps are lines of the statement, and lapses up to the
    time.
    """
    known, view = await fold_account_with_facts(query, name, times)
    steps = _numbered(account_steps(known, view.row["account_id"]), lot)
    taken = list(islice((one for one in steps if one[0] > page[0]), page[1] + 1))
    more = taken[page[1] - 1][0] if len(taken) > page[1] else None
    taken = taken[: page[1]]
    events = await load_step_events(query, [one.told for _, one in taken if one.told is not None])
    shown_steps = [_shown_step(number, one, events) for number, one in taken]
    if more is None:
        lapses = lapses_since(view.row, view.lots, times.at)
        shown_steps += [_shown_lapse(line, view) for line in lapses if lot in (None, line["postings"][0][3])]
    shown = {"account": account_json(view)} if lot is None else {"lot": _lot_of(view, lot, times)}
    return {**shown, "steps": shown_steps, "next_step": more}


def _numbered(
    steps: Iterable[LineStep | UnfoldableStep], lot: str | None
) -> Iterator[tuple[int, LineStep | UnfoldableStep]]:
    """Number the steps as the statement does. With a lot, yield only the steps that touched it."""
    number = 0
    for one in steps:
        number = one.line.line if isinstance(one, LineStep) else number + 1
        if lot is None or isinstance(one, UnfoldableStep) or any(touched.row["lot_id"] == lot for touched in one.lots):
            yield number, one


def _lot_of(view: AccountView, lot: str, times: AsOfQuery) -> dict[str, Any]:
    for row in view.lots:
        if row["lot_id"] == lot:
            return lot_json(row, times.at)
    raise SubjectUnknown(lot, "the account has no such lot")


def _shown_step(number: int, one: LineStep | UnfoldableStep, events: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(one, UnfoldableStep):
        return unfoldable_json(number, one, events)
    line = one.line
    return {
        "step": number,
        "occurred_at": line.occurred_at,
        "kind": line.kind,
        **cause_json(one.told, events),
        "rule": one.rule._asdict(),
        "points": line.points,
        "balance": line.balance,
        "promised": line.promised,
        "claimed": line.claimed,
        "drift": line.drift,
        "counted_position": line.counted_position,
        "postings": [list(posting) for posting in one.postings],
        "lots": [{"change": lot.change, **lot_json(lot.row, line.occurred_at)} for lot in one.lots],
    }


def _shown_lapse(line: Mapping[str, Any], view: AccountView) -> dict[str, Any]:
    """Return the step of a lapse after the last fact. The fold does not know it yet."""
    [(_, _, points, lot_id)] = line["postings"]
    lots = [lot for lot in view.lots if lot["lot_id"] == lot_id]
    return {
        "step": None,
        "occurred_at": line["occurred_at"],
        "kind": line["kind"],
        **cause_json(None, {}),
        "rule": LAPSED._asdict(),
        **{name: line[name] for name in ("points", "balance", "promised", "postings")},
        "claimed": None,
        "drift": None,
        "counted_position": None,
        "lots": [{"change": -points, **lot_json(lot, line["occurred_at"])} for lot in lots],
    }
