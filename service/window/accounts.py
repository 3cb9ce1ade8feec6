"""Accounts, their lots and their statement: now, at a time, and as we knew it at a position.

What may be spent is arithmetic on lots and a time: a lot counts until its day is over, whether or not anything runs.
For a time after the account's last fact the stored rows answer; for an earlier time, or an earlier knowledge, the facts
are folded on the spot.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from ledger.errors import SubjectUnknown
from projections.accounts import ACCOUNTS
from projections.advance import read_group
from projections.joined import groups_of
from projections.programmes import read_terms
from projections.projection import fold
from service.answers import answer, decode_cursor, encode_cursor, page, read_int, read_time
from service.window.reading import Reader, candidates, limit_of, only, reach, reader
from service.window.subjects import shown

ACCOUNT = "SELECT * FROM accounts WHERE ledger_id = $1 AND account_id = ANY ($2)"

# All of an answer in one statement: each round trip would cost as much again.
ACCOUNT_NOW = """
    SELECT a.*, ARRAY(SELECT l FROM lots l
                       WHERE l.ledger_id = a.ledger_id AND l.account_id = a.account_id AND l.remaining > 0
                       ORDER BY l.expires_on NULLS LAST, l.earned_at, l.lot_id) AS open_lots,
           (SELECT position FROM checkpoints c WHERE c.ledger_id = $1) AS as_of_position,
           (SELECT max(position) FROM ledger.events e WHERE e.ledger_id = $1) AS tail
      FROM accounts a
     WHERE a.ledger_id = $1 AND a.account_id = $2
"""
OPEN_LOTS = """
    SELECT * FROM lots WHERE ledger_id = $1 AND account_id = ANY ($2) AND remaining > 0
     ORDER BY account_id, expires_on NULLS LAST, earned_at, lot_id
"""
LOTS = """
    SELECT * FROM lots WHERE ledger_id = $1 AND account_id = $2 AND lot_id > $3 ORDER BY lot_id LIMIT $4
"""
STATEMENT = """
    SELECT * FROM statement WHERE ledger_id = $1 AND account_id = $2 AND line > $3 ORDER BY line LIMIT $4
"""
ZERO = Decimal(0)


class View(NamedTuple):
    """One account as of a time: its row, and its lots with something remaining, in the order of use."""

    row: Mapping[str, Any]
    lots: Sequence[Mapping[str, Any]]
    at: datetime


def at_of(request: web.Request) -> datetime:
    """Read ?at=, now if it is not given."""
    return read_time(request.query.get("at"), "at") or datetime.now(UTC)


async def get_account(request: web.Request) -> web.Response:
    """GET /v1/accounts/{id}: what is available at ?at= (default now) as known at ?as_of_position= (default all)."""
    name = request.match_info["id"]
    async with reader(request) as read:
        row = await read.connection.fetchrow(ACCOUNT_NOW, read.ledger.ledger_id, name)
        if row is None:  # a bare id, or another spelling
            found = await find_account(read, name)
            row = await read.connection.fetchrow(ACCOUNT_NOW, read.ledger.ledger_id, found["account_id"])
        if row is None:  # merged away in this moment
            raise SubjectUnknown(name)
        account = dict(row)
        lots, position, tail = (account.pop(beside) for beside in ("open_lots", "as_of_position", "tail"))
        if _is_past(request, account):
            view = await _folded_view(read, request, account, all_lots=False)
        else:
            view = View(account, lots, at_of(request))
        reached = {"as_of_position": position, "events_behind": tail - position}
        return answer({**shown_account(view), **reached, **_known(request)})


async def get_lots(request: web.Request) -> web.Response:
    """GET /v1/accounts/{id}/lots: every lot, used ones too, with its state at ?at=."""
    at = at_of(request)
    async with reader(request) as read:
        account = await find_account(read, request.match_info["id"])
        if _is_past(request, account):
            view = await _folded_view(read, request, account, all_lots=True)
            return page([shown_lot(lot, at) for lot in view.lots], None, **await reach(read), **_known(request))
        after = decode_cursor(request.query.get("cursor")) or [""]
        limit = limit_of(request)
        rows = await read.connection.fetch(LOTS, read.ledger.ledger_id, account["account_id"], str(after[0]), limit)
        cursor = encode_cursor(rows[-1]["lot_id"]) if len(rows) == limit else None
        return page([shown_lot(row, at) for row in rows], cursor, **await reach(read))


async def get_statement(request: web.Request) -> web.Response:
    """GET /v1/accounts/{id}/statement: one line a fact or lapse, oldest first, with the balance after it."""
    at = at_of(request)
    async with reader(request) as read:
        account = await find_account(read, request.match_info["id"])
        after = decode_cursor(request.query.get("cursor")) or [0]
        limit = limit_of(request)
        rows = await read.connection.fetch(
            STATEMENT, read.ledger.ledger_id, account["account_id"], int(after[0]), limit
        )
        lines = [shown_line(row) for row in rows]
        cursor = encode_cursor(rows[-1]["line"]) if len(rows) == limit else None
        if cursor is None:
            lots = await read.connection.fetch(OPEN_LOTS, read.ledger.ledger_id, [account["account_id"]])
            lines += lapses_since(account, lots, at)
        return page(lines, cursor, **await reach(read))


async def find_account(read: Reader, name: str) -> Mapping[str, Any]:
    """Find an account's row by its id. Raises SubjectUnknown."""
    refs = await candidates(read, name)
    rows = await read.connection.fetch(ACCOUNT, read.ledger.ledger_id, refs)
    only([row["account_id"] for row in rows], name)
    return dict(rows[0])


def _is_past(request: web.Request, account: Mapping[str, Any]) -> bool:
    """Say whether the stored rows know more than is asked for."""
    return "as_of_position" in request.query or account["last_at"] > at_of(request)


async def _folded_view(read: Reader, request: web.Request, account: Mapping[str, Any], *, all_lots: bool) -> View:
    """Fold the holder's facts that had happened by ?at= and were known by ?as_of_position=."""
    at = at_of(request)
    known = read_int(request.query.get("as_of_position"), "as_of_position", least=0, most=2**62)
    groups = await groups_of(read.connection, read.ledger.ledger_id, ACCOUNTS, [account["subject"]])
    members = groups.members.get(account["subject"], [account["subject"]])
    told = await read_group(read.connection, read.ledger.ledger_id, ACCOUNTS, members)
    chosen = [
        one for one in told if one.occurrence.occurred_at <= at and (known is None or one.occurrence.position <= known)
    ]
    terms = await read_terms(read.connection, read.ledger.ledger_id, *([] if known is None else [known]))
    folded = ACCOUNTS.rows(account["subject"], fold(ACCOUNTS, chosen, None, terms))
    for row in folded["accounts"]:
        if row.account_id == account["account_id"]:  # type: ignore[attr-defined]
            lots = [
                lot._asdict()  # type: ignore[attr-defined]
                for lot in folded["lots"]
                if lot.account_id == account["account_id"] and (all_lots or lot.remaining)  # type: ignore[attr-defined]
            ]
            lots.sort(key=lambda lot: (lot["expires_on"] is None, lot["expires_on"], lot["earned_at"], lot["lot_id"]))
            return View({**account, **row._asdict()}, lots, at)  # type: ignore[attr-defined]
    raise SubjectUnknown(account["account_id"], "nothing was known of it then")


def shown_account(view: View) -> dict[str, Any]:
    """Show an account: what lapsed since its last fact is taken off what was available then."""
    row, at = view.row, view.at
    live = [lot for lot in view.lots if lot["lapses_at"] is None or lot["lapses_at"] > at]
    lapsed = sum((lot["remaining"] for lot in lapsed_since(row, view.lots, at)), ZERO)
    available = row["available"] - lapsed
    dated = [lot for lot in live if lot["lapses_at"] is not None]
    next_day = min((lot["expires_on"] for lot in dated), default=None)
    columns = shown({**row, "ledger_id": 0})
    del columns["id"], columns["account_id"]
    return {
        "id": row["account_id"],
        **columns,
        "holder": row["subject"],
        "at": at,
        "available": available,
        "spendable": max(available, ZERO),
        "lapsed": row["lapsed"] + lapsed,
        "next_lapse": next_day
        and {
            "expires_on": next_day,
            "points": sum((lot["remaining"] for lot in dated if lot["expires_on"] == next_day), ZERO),
        },
        "lots": [shown_lot(lot, at) for lot in live],
    }


def lapsed_since(
    account: Mapping[str, Any], lots: Iterable[Mapping[str, Any]], at: datetime
) -> list[Mapping[str, Any]]:
    """Give the lots whose day has ended since the account's last fact, up to `at`."""
    return [
        lot
        for lot in lots
        if lot["lapses_at"] is not None and account["last_at"] < lot["lapses_at"] <= at and lot["remaining"]
    ]


def lapses_since(account: Mapping[str, Any], lots: Iterable[Mapping[str, Any]], at: datetime) -> list[dict[str, Any]]:
    """Give the statement's lines for lots that have lapsed since its last line: no event tells of them."""
    lines = []
    balance = account["available"]
    for lot in lapsed_since(account, lots, at):
        balance -= lot["remaining"]
        lines.append(
            {
                "line": None,
                "occurred_at": lot["lapses_at"],
                "kind": "Lapsed",
                "points": -lot["remaining"],
                "balance": balance,
                "promised": account["promised"],
                "reference": None,
                "postings": [["available", "lapsed", lot["remaining"], lot["lot_id"]]],
                "position": None,
            }
        )
    return lines


def shown_lot(lot: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Show a lot; its state at a time is open, lapsed or used."""
    columns = {key: value for key, value in dict(lot).items() if key not in ("ledger_id", "subject", "account_id")}
    lapsed = lot["lapses_at"] is not None and lot["lapses_at"] <= at
    state = "used" if not lot["remaining"] else "lapsed" if lapsed else "open"
    return {"id": columns.pop("lot_id"), **columns, "state": state}


def shown_line(line: Mapping[str, Any]) -> dict[str, Any]:
    columns = {key: value for key, value in dict(line).items() if key not in ("ledger_id", "subject", "account_id")}
    return {**columns, "postings": orjson.loads(columns["postings"])}


async def shown_account_rows(read: Reader, rows: Sequence[dict[str, Any]], at: datetime) -> list[dict[str, Any]]:
    """Show several accounts with their lots at a time not before their last facts; earlier facts are not undone."""
    ids = [row["account_id"] for row in rows]
    lots = await read.connection.fetch(OPEN_LOTS, read.ledger.ledger_id, ids)
    return [
        shown_account(
            View(
                {**row, "subject": row["id"], "ledger_id": 0},
                [lot for lot in lots if lot["account_id"] == row["account_id"]],
                at,
            )
        )
        for row in rows
    ]


def _known(request: web.Request) -> dict[str, int]:
    text = request.query.get("as_of_position")
    return {} if text is None else {"known_position": int(text)}


ROUTES = [
    web.get("/v1/accounts/{id}", get_account),
    web.get("/v1/accounts/{id}/lots", get_lots),
    web.get("/v1/accounts/{id}/statement", get_statement),
]
