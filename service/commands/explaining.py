"""loyalty explain: why an account, a lot, a tier, a coupon, an order item is what it is, in words for people."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
import typer

from ledger import registry
from ledger.database import Connection
from ledger.errors import NotFound, RequestInvalid
from projections import generations
from projections.catalogue import PROJECTIONS
from projections.projector import catch_up
from service.answers import encode, plain
from service.commands.screen import AsJson, Data, InLedger, show, show_json
from service.place import Place, ask
from service.window.explaining import explained_account
from service.window.reading import Reader, Times, candidates, resolved
from service.window.steps import STEPS_MAX
from service.window.subjects import explained_subject

OPERATOR = "operator"
PATHS = {projection.path: projection for projection in PROJECTIONS if projection.path}

At = Annotated[str | None, typer.Option("--at", help="When it happened: a time with a zone; now by default.")]
AsOfPosition = Annotated[int | None, typer.Option(help="As known at this position; all by default.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="As known at this time, instead of a position.")]


def explain(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="As in the HTTP interface, such as accounts/ID, accounts/ID/lots/LOT, coupons/ID; or an ID alone.",
            show_default=False,
        ),
    ],
    ledger: InLedger,
    at: At = None,
    as_of_position: AsOfPosition = None,
    known_at: KnownAt = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say why something is what it is: every fact in order, the rule it was folded by, and the state after it."""
    given = {"at": at, "as_of_position": as_of_position, "known_at": known_at}
    query = {name: str(value) for name, value in given.items() if value is not None}

    async def work(_place: Place, connection: Connection) -> dict[str, Any]:
        found = await registry.find_ledger(connection, ledger)
        await generations.ensure_live(connection)
        await catch_up(connection, found.ledger_id)
        read = Reader(connection, found, OPERATOR)
        return await explained(read, ref, await resolved(read, query))

    answer = ask(data, work)
    if as_json:
        show_json(orjson.loads(encode(answer)))
    else:
        for line in told(answer):
            show(line)


async def explained(read: Reader, ref: str, times: Times) -> dict[str, Any]:
    """Find what a ref names and explain it. Raises SubjectUnknown, or RequestInvalid where it stands for several."""
    path, _, name = ref.partition("/")
    page = (0, STEPS_MAX)
    if path == "accounts":
        account, _, lot = name.partition("/lots/")
        return await explained_account(read, account, times, page, lot or None)
    if path in PATHS:
        return await explained_subject(read, PATHS[path], await candidates(read, name), name, times, page)
    found: dict[str, dict[str, Any]] = {}
    for kind in ("accounts", *PATHS):
        try:
            found[kind] = await explained(read, f"{kind}/{ref}", times)
        except NotFound:
            continue
    if len(found) > 1:
        raise RequestInvalid(f"{ref} stands for several: {', '.join(f'{kind}/{ref}' for kind in found)}")
    if not found:
        return await explained(read, f"accounts/{ref}", times)  # which says that there is none
    return found.popitem()[1]


def told(answer: Mapping[str, Any]) -> Iterator[str]:
    """Word an explanation, line by line."""
    yield from _head(answer)
    for step in answer["steps"]:
        yield ""
        yield _cause(step)
        if "stuck" in step:
            yield f"    cannot be folded, so all after it waits: {step['stuck']}"
            continue
        yield f"    {step['rule']['says']} ({step['rule']['name']})"
        yield from _line(step) if "postings" in step else _row(step)
    if answer["next_step"] is not None:
        yield ""
        yield f"There is more than {STEPS_MAX:,} steps; the HTTP interface pages through all of them."


def _head(answer: Mapping[str, Any]) -> Iterator[str]:
    if "lot" in answer:
        lot = answer["lot"]
        lapses = f"lapses after {lot['expires_on']}" if lot["expires_on"] else "never lapses"
        left = f"{_said(lot['remaining'])} of {_said(lot['points'])} points left"
        yield f"Lot {lot['id']}: {left}; {lapses}; {lot['state']}."
    elif "account" in answer:
        account = answer["account"]
        available = f"{_said(account['available'])} {account['unit']} available"
        yield f"Account {account['id']} at {_said(account['at'])}: {available}."
        claimed = account["claimed"]
        if claimed is not None:
            yield f"The source last claimed {_said(claimed)}; drift {_said(account['drift'])}."
    else:
        state = {name: value for name, value in answer.items() if not isinstance(value, list | dict)}
        del state["id"], state["next_step"]
        yield f"{answer['id']}: {_fields(state)}"


def _cause(step: Mapping[str, Any]) -> str:
    event = step.get("event")
    what = f"{_said(step['occurred_at'])}  {step.get('kind') or step['fact']}"
    return f"{what}, told at position {event['position']} by {event['source']} {event['kind']}" if event else what


def _line(step: Mapping[str, Any]) -> Iterator[str]:
    claimed = "" if step["claimed"] is None else f"; claimed {_said(step['claimed'])}, drift {_said(step['drift'])}"
    yield f"    {_signed(step['points'])} makes {_said(step['balance'])}{claimed}"
    for lot in step["lots"]:
        lapses = f"lapses after {lot['expires_on']}" if lot["expires_on"] else "without a day"
        left = f"{_said(lot['remaining'])} of {_said(lot['points'])} left"
        yield f"    lot {lot['id']} ({lot['origin']}, {lapses}): {_signed(lot['change'])}, {left}"


def _row(step: Mapping[str, Any]) -> Iterator[str]:
    for name, change in step["changed"].items():
        before = "" if change["before"] is None else f" (was {_said(change['before'])})"
        yield f"    {name}: {_said(change['after'])}{before}"


def _fields(state: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_said(value)}" for name, value in state.items() if value is not None)


def _signed(points: Decimal) -> str:
    return f"+{plain(points)}" if points >= 0 else plain(points)


def _said(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return str(value)
