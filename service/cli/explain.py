"""loyalty explain: the facts and rules behind a balance, a lot, a tier, a coupon or an order item, as text."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import typer

from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import NotFound, RequestInvalid
from ledger.privacy.vault import Vault
from ledger.store import registry
from projections.accounts import ACCOUNTS
from projections.engine import generations
from projections.engine.worker import catch_up
from projections.registry import PROJECTIONS
from service.cli.terminal.console import DataOption, JsonOption, LedgerOption, show, show_json
from service.environment import Environment, run_with_connection
from service.formatting import encode_json
from service.operations.erase import is_known
from service.queries.accounts import is_account
from service.queries.as_of_query import AsOfQuery, parse_as_of_params
from service.queries.context import QueryContext
from service.queries.explain_account import explain_account
from service.queries.explain_steps import STEPS_MAX, StepPage
from service.queries.references import expand_reference, require_single
from service.queries.subjects import explain_subject, rows_of_customer

OPERATOR = "operator"
EXPLAINABLE_MAX = 100  # of each kind
PATHS = {projection.path: projection for projection in PROJECTIONS if projection.path}

AtOption = Annotated[str | None, typer.Option("--at", help="As of this time, with a zone. Default: now.")]
AsOfPositionOption = Annotated[int | None, typer.Option(help="As known at this position. Default: the last position.")]
KnownAtOption = Annotated[
    str | None, typer.Option("--known-at", help="As known at this time, instead of --as-of-position.")
]


def explain(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="A reference as in the HTTP API, such as accounts/ID, accounts/ID/lots/LOT or coupons/ID; or an "
            "ID alone.",
            show_default=False,
        ),
    ],
    ledger: LedgerOption,
    at: AtOption = None,
    as_of_position: AsOfPositionOption = None,
    known_at: KnownAtOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a value step by step: every fact in order, the rule that folded it, and the state after it."""
    given = {"at": at, "as_of_position": as_of_position, "known_at": known_at}
    as_of_params = {name: str(value) for name, value in given.items() if value is not None}

    async def work(environment: Environment, connection: Connection) -> dict[str, Any]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_active_generation(connection)
        await catch_up(connection, found.ledger_id)
        body_hash_key = Vault(environment.master_key).body_hash_key(found.ledger_id)
        query = QueryContext(connection, found, OPERATOR, body_hash_key)
        return await explain_reference(query, ref, await parse_as_of_params(query, as_of_params))

    answer = run_with_connection(data, work)
    if as_json:
        show_json(msgspec.json.decode(encode_json(answer)))
    else:
        for line in explanation_lines(answer):
            show(line)


async def explain_reference(query: QueryContext, ref: str, times: AsOfQuery) -> dict[str, Any]:
    """Find the subject of a reference and explain it. Raises SubjectUnknown, or RequestInvalid if the reference is
    ambiguous.
    """
    path, _, name = ref.partition("/")
    page = StepPage(0, STEPS_MAX)
    if path == "accounts":
        account, _, lot = name.partition("/lots/")
        return await explain_account(query, account, times, page, lot or None)
    if path in PATHS:
        return await explain_subject(query, PATHS[path], await expand_reference(query, name), name, times, page)
    if path == "customers" and name:
        return await explainable_references(query, name)
    found: dict[str, dict[str, Any]] = {}
    for kind in ("accounts", *PATHS):
        if kind == "accounts" and not await is_account(query, ref.partition("/lots/")[0]):
            continue  # a holder alone means the customer: more than accounts can be explained
        try:
            found[kind] = await explain_reference(query, f"{kind}/{ref}", times)
        except NotFound:
            continue
    if len(found) > 1:
        raise RequestInvalid(f"{ref} is ambiguous; it matches {', '.join(f'{kind}/{ref}' for kind in found)}")
    if not found:
        return await explainable_references(query, ref)
    return found.popitem()[1]


async def explainable_references(query: QueryContext, name: str) -> dict[str, Any]:
    """List the references of a customer that can be explained. Raises SubjectUnknown if the ledger has no fact about
    the customer.
    """
    found: dict[str, list[str]] = {}
    for customer in await expand_reference(query, name):
        refs = []
        for projection in PROJECTIONS:
            path = "accounts" if projection is ACCOUNTS else projection.path
            if path and projection.customers:
                rows = await rows_of_customer(query, projection, customer)
                refs += [f"{path}/{row.get('account_id', row['id'])}" for row in rows[:EXPLAINABLE_MAX]]
        if refs or await is_known(query.connection, query.ledger, customer):
            found[customer] = refs
    customer = require_single(list(found), name)
    return {"customer": customer, "explainable": found[customer]}


def explanation_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Write an explanation as lines of text."""
    if "explainable" in answer:
        yield f"Customer {answer['customer']}. " + (
            "A customer as a whole cannot be explained, but these can:"
            if answer["explainable"]
            else "There is nothing to explain."
        )
        yield from (f"    loyalty explain {ref}" for ref in answer["explainable"])
        return
    yield from _summary_line(answer)
    for step in answer["steps"]:
        yield ""
        yield _event_line(step)
        if "failure" in step:
            yield f"    cannot be folded, so all later facts wait: {step['failure']}"
            continue
        yield f"    {step['rule']['sentence']}"
        yield from _balance_lines(step) if "postings" in step else _change_lines(step)
    if answer["next_step"] is not None:
        yield ""
        yield f"Only the first {STEPS_MAX:,} steps are shown; the HTTP API returns all of them in pages."


def _summary_line(answer: Mapping[str, Any]) -> Iterator[str]:
    if "lot" in answer:
        lot = answer["lot"]
        lapses = f"lapses after {lot['expires_on']}" if lot["expires_on"] else "never lapses"
        left = f"{_format_value(lot['remaining'])} of {_format_value(lot['points'])} points left"
        yield f"Lot {lot['id']}: {left}; {lapses}; {lot['status']}."
    elif "account" in answer:
        account = answer["account"]
        available = f"{_format_value(account['available'])} {account['unit']} available"
        yield f"Account {account['id']} at {_format_value(account['at'])}: {available}."
        claimed = account["claimed"]
        if claimed is not None:
            yield f"The source last claimed {_format_value(claimed)}; drift {_format_value(account['drift'])}."
    else:
        state = {name: value for name, value in answer.items() if not isinstance(value, list | dict)}
        del state["id"], state["next_step"]
        yield f"{answer['id']}: {_format_fields(state)}"


def _event_line(step: Mapping[str, Any]) -> str:
    event = step.get("event")
    when = _format_value(step["occurred_at"])
    if step.get("untimed"):
        when = f"(time unknown; recorded {_format_value(event['recorded_at'] if event else step['occurred_at'])})"
    what = f"{when}  {step.get('kind') or step['fact']}"
    return f"{what}, reported at position {event['position']} by {event['source']} {event['kind']}" if event else what


def _balance_lines(step: Mapping[str, Any]) -> Iterator[str]:
    """Write the effect of a statement line on the balance. Unseen points come first, then the line's own points."""
    claimed = (
        ""
        if step["claimed"] is None
        else f"; claimed {_format_value(step['claimed'])}, drift {_format_value(step['drift'])}"
    )
    points, unseen = step["points"], _moved_points(step, "unseen", "available")
    expired = _moved_points(step, "lapsed", "expired")
    if unseen:
        before = step["balance"] - points
        balance = _format_value(before + unseen)
        yield f"    {_format_signed(unseen)} of unseen points, which no event reported, make {balance}"
        points -= unseen
    if expired:
        yield f"    {_format_value(expired)} of them had lapsed before, so the balance does not change"
    yield f"    {_format_signed(points)} makes {_format_value(step['balance'])}{claimed}"
    for lot in step["lots"]:
        lapses = f"lapses after {lot['expires_on']}" if lot["expires_on"] else "without an expiry day"
        left = f"{_format_value(lot['remaining'])} of {_format_value(lot['points'])} left"
        yield f"    lot {lot['id']} ({lot['origin']}, {lapses}): {_lot_change(step, lot)}, {left}"


def _moved_points(step: Mapping[str, Any], source: str, target: str) -> Decimal:
    """Sum the points that a step moved from one class to another within lots."""
    return sum(
        (
            posting["points"]
            for posting in step["postings"]
            if posting["from"] == source and posting["to"] == target and posting["lot"]
        ),
        Decimal(0),
    )


def _lot_change(step: Mapping[str, Any], lot: Mapping[str, Any]) -> str:
    """Write a step's effect on one lot: points added and points taken, separately."""
    postings = [posting for posting in step["postings"] if posting["lot"] == lot["id"]]
    added = sum((posting["points"] for posting in postings if posting["to"] == "available"), Decimal(0))
    taken = sum((posting["points"] for posting in postings if posting["from"] == "available"), Decimal(0))
    expired = _moved_points({"postings": postings}, "lapsed", "expired")
    if added and taken:
        return f"{_format_signed(added)} -{_format_value(taken)}"
    return f"{_format_value(expired)} expired" if expired and not lot["change"] else _format_signed(lot["change"])


def _change_lines(step: Mapping[str, Any]) -> Iterator[str]:
    for name, change in step["changed"].items():
        before = "" if change["before"] is None else f" (was {_format_value(change['before'])})"
        yield f"    {name}: {_format_value(change['after'])}{before}"


def _format_fields(state: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_format_value(value)}" for name, value in state.items() if value is not None)


def _format_signed(points: Decimal) -> str:
    return f"+{format_decimal(points)}" if points >= 0 else format_decimal(points)


def _format_value(value: Any) -> str:
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return str(value)
