"""One account as of a time and a position.

Stored rows answer if they hold no later fact than the query asks for. Otherwise the facts are folded on the spot.
Spendable points are arithmetic on lots and a time: a lot counts until its day is over. No job has to run.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.errors import SubjectUnknown
from ledger.facts.accounts import account_id_of, holder_of
from projections.accounts import ACCOUNTS
from projections.accounts.account import Posting
from projections.accounts.lapses import has_lapsed
from projections.accounts.statement import Line, decode_postings
from projections.queries.as_of import AsOf, KnownSubject, fold_known, load_known
from projections.queries.holder_history import LotHistory, lapse_lines
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.listing.lists import ListRequest, RowList
from service.queries.references import expand_reference, require_single
from service.queries.subjects import row_json

ACCOUNT = "SELECT * FROM accounts WHERE ledger_id = $1 AND account_id = ANY ($2) ORDER BY account_id"
OPEN_LOTS = """
    SELECT * FROM lots WHERE ledger_id = $1 AND account_id = ANY ($2) AND remaining > 0
     ORDER BY account_id, expires_on NULLS LAST, earned_at, lot_id
"""
ACCOUNTS_OF_HOLDERS = """
    SELECT a.account_id, a.holder, a.programme, a.unit FROM unnest($2::text[]) AS asked (holder)
      JOIN accounts a ON a.ledger_id = $1 AND a.account_id > asked.holder || ':' AND a.account_id < asked.holder || ';'
"""
COLONS_PER_REFERENCE = 2  # source:org:id
ZERO = Decimal(0)


class AccountView(NamedTuple):
    """One account as of a time: its row and its lots in the order of use. A folded account has all lots, a stored one
    the open lots.
    """

    row: Mapping[str, Any]
    lots: Sequence[Mapping[str, Any]]
    at: datetime
    lines: Sequence[Line] | None = None  # of its statement; None for a stored row
    parked: Mapping[str, Any] | None = None  # the error and the position, if a fact could not be folded


async def find_account(query: QueryContext, name: str) -> Mapping[str, Any]:
    """Return the stored row of an account, found by its id or by the holder of a single account.

    A merged holder leads to the survivor's account. Raises SubjectUnknown, or RequestInvalid if several accounts match.
    """
    refs = await expand_reference(query, name)
    rows = await query.connection.fetch(ACCOUNT, query.ledger.ledger_id, refs)
    if not rows:
        holders = [ref for ref in refs if ref.count(":") == COLONS_PER_REFERENCE]
        accounts = await query.connection.fetch(ACCOUNTS_OF_HOLDERS, query.ledger.ledger_id, holders)
        rows = await query.connection.fetch(
            ACCOUNT, query.ledger.ledger_id, sorted({surviving_account_id(row) for row in accounts})
        )
    require_single(sorted(row["account_id"] for row in rows), name)
    return dict(rows[0])


async def is_account(query: QueryContext, name: str) -> bool:
    """Return True if the name is the id of an account, not of its holder."""
    return bool(await query.connection.fetch(ACCOUNT, query.ledger.ledger_id, await expand_reference(query, name)))


def surviving_account_id(row: Mapping[str, Any]) -> str:
    """Return the id of the account that holds these points now: the account itself, or the survivor's after a merge."""
    return account_id_of(row["holder"], row["programme"], row["unit"])


async def load_account(query: QueryContext, name: str, times: AsOfQuery) -> AccountView:
    """Return an account as of a time and a position.

    The result has the stored row and no lots if the row holds no later fact. Otherwise everything is folded on the
    spot. Raises SubjectUnknown.
    """
    if times.position is None:
        account = await find_account(query, name)
        if account["last_at"] <= times.at:
            return AccountView(account, (), times.at)
        name = account["account_id"]
    return await fold_account(query, name, times)


async def fold_account(query: QueryContext, name: str, times: AsOfQuery) -> AccountView:
    """Fold the facts of an account up to a time, as known at a position. Raises SubjectUnknown."""
    _, view = await fold_account_with_facts(query, name, times)
    return view


async def fold_account_with_facts(query: QueryContext, name: str, times: AsOfQuery) -> tuple[KnownSubject, AccountView]:
    """Return the known facts of an account's holder, and the account folded from them. Raises SubjectUnknown."""
    refs = await expand_reference(query, name)
    holders = {ref: ref if ref.count(":") == COLONS_PER_REFERENCE else holder_of(ref) for ref in refs}
    as_of = AsOf(times.at, times.position)
    groups = await load_known(query.connection, query.ledger.ledger_id, ACCOUNTS, sorted(set(holders.values())), as_of)
    matches = {
        account_id: (group, view)
        for group in groups
        for account_id, view in fold_holder(group, times.at).items()
        if account_id in holders
    }
    if not matches:  # the name may be a holder with a single account
        views = {
            account_id: (group, view) for group in groups for account_id, view in fold_holder(group, times.at).items()
        }
        survivors = {
            surviving_account_id(view.row)
            for account_id, (_, view) in views.items()
            if holder_of(account_id) in holders
        }
        matches = {account_id: views[account_id] for account_id in survivors if account_id in views}
    if not matches:
        raise SubjectUnknown(name, "no event of it was known at that time")
    return matches[require_single(sorted(matches), name)]


def fold_holder(known: KnownSubject, at: datetime) -> dict[str, AccountView]:
    """Fold the facts of one holder, and of holders merged with it. Return each account by its id."""
    folded = fold_known(ACCOUNTS, known)
    lines = [Line(*row) for row in folded.rows["statement"]]
    views = {}
    for row in _row_dicts("accounts", folded.rows["accounts"], known.root):
        account_id = row["account_id"]
        lots = [lot for lot in _row_dicts("lots", folded.rows["lots"], known.root) if lot["account_id"] == account_id]
        lots.sort(key=lambda lot: (lot["expires_on"] is None, lot["expires_on"], lot["earned_at"], lot["lot_id"]))
        views[account_id] = AccountView(
            row,
            lots,
            at,
            [line for line in lines if line.account_id == account_id],
            {"reason": folded.parked, "position": folded.parked_position} if folded.parked else None,
        )
    return views


def _row_dicts(table_name: str, rows: Iterable[tuple[Any, ...]], subject: str) -> list[dict[str, Any]]:
    """Return folded rows in the form of table rows."""
    columns = next(table.columns for table in ACCOUNTS.tables if table.name == table_name)
    return [{"ledger_id": 0, "subject": subject, **dict(zip(columns, row, strict=True))} for row in rows]


def account_json(view: AccountView, lapses: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return an account as JSON. Lots that lapsed after its last fact are subtracted from the available points.

    `lapses` are the lines of these lapses, if the caller has them.
    """
    row, at = view.row, view.at
    live = [lot for lot in view.lots if not has_lapsed(lot["lapses_at"], at)]
    lapse_lines_since = lapses_since(row, view.lots, at) if lapses is None else lapses
    lapsed = -sum((line["points"] for line in lapse_lines_since), ZERO)
    available = row["available"] - lapsed
    dated = [lot for lot in live if lot["lapses_at"] is not None and lot["remaining"]]
    next_day = min((lot["expires_on"] for lot in dated), default=None)
    columns = row_json({**row, "ledger_id": 0})
    del columns["id"], columns["account_id"]
    return {
        "id": row["account_id"],
        **columns,
        "at": at,
        "available": available,
        "spendable": max(available, ZERO),
        "lapsed": row["lapsed"] + lapsed,
        "next_lapse": next_day
        and {
            "expires_on": next_day,
            "points": sum((lot["remaining"] for lot in dated if lot["expires_on"] == next_day), ZERO),
        },
        "lots": [lot_json(lot, at) for lot in live if lot["remaining"]],
        **({"parked": view.parked} if view.parked else {}),
    }


def lapses_since(account: Mapping[str, Any], lots: Iterable[Mapping[str, Any]], at: datetime) -> list[dict[str, Any]]:
    """Return statement lines for lots that lapsed after the last line. No event reports such a lapse."""
    dated = [LotHistory(*(lot[name] for name in LotHistory._fields)) for lot in lots]
    lines = lapse_lines(account["account_id"], account["available"], account["last_at"], dated, at)
    without_fact = {"line": None, "promised": account["promised"], "repeated": False, "counted_position": None}
    without_fact |= dict.fromkeys(("claimed", "drift", "untied", "report_excess"))
    return [
        {
            **_shown(line._asdict()),
            **without_fact,
            "postings": postings_json(decode_postings(line.postings)),
        }
        for line in lines
    ]


def lot_json(lot: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Return a lot as JSON. Its status is open, lapsed or used."""
    columns = _shown(lot)
    status = "used" if not lot["remaining"] else "lapsed" if has_lapsed(lot["lapses_at"], at) else "open"
    return {"id": columns.pop("lot_id"), **columns, "status": status}


def postings_json(postings: Iterable[Posting]) -> list[dict[str, Any]]:
    """Return postings as JSON: points from one class to another, and the lot."""
    return [{"from": source, "to": target, "points": points, "lot": lot} for source, target, points, lot in postings]


def statement_line_json(line: Mapping[str, Any]) -> dict[str, Any]:
    return {**_shown(line), "postings": postings_json(decode_postings(line["postings"]))}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("ledger_id", "subject", "account_id")}


async def show_accounts(query: QueryContext, rows: Sequence[Any], asked: ListRequest) -> list[dict[str, Any]]:
    """Return stored accounts as they are at the time of a list."""
    lots = await query.connection.fetch(OPEN_LOTS, query.ledger.ledger_id, [row["account_id"] for row in rows])
    lots_by_account: dict[str, list[Any]] = defaultdict(list)
    for lot in lots:
        lots_by_account[lot["account_id"]].append(lot)
    return [account_json(AccountView(dict(row), lots_by_account[row["account_id"]], asked.at)) for row in rows]


async def account_promises(query: QueryContext, name: str, times: AsOfQuery) -> tuple[str, list[dict[str, Any]] | None]:
    """Return the id of an account, and its promises as of a time, sorted by id. None if the stored rows hold them.

    Raises SubjectUnknown.
    """
    if times.position is None:
        account = await find_account(query, name)
        if account["last_at"] <= times.at:
            return account["account_id"], None
        name = account["account_id"]
    known, view = await fold_account_with_facts(query, name, times)
    account_id = view.row["account_id"]
    rows = _row_dicts("promises", fold_known(ACCOUNTS, known).rows["promises"], known.root)
    return account_id, sorted(
        (row for row in rows if row["account_id"] == account_id), key=lambda row: str(row["promise_id"])
    )


def show_known_accounts(_row_list: RowList, known: KnownSubject, asked: ListRequest) -> list[dict[str, Any]]:
    """Return the accounts of a holder as of an earlier time."""
    return [account_json(view) for view in fold_holder(known, asked.at).values()]


async def show_account_parts(
    _query: QueryContext, rows: Sequence[Any], asked: ListRequest, *, item: str
) -> list[dict[str, Any]]:
    """Return stored rows of a further table of accounts as they are at the time of a list."""
    return [part_json(dict(row), item, asked.at) for row in rows]


def show_known_account_parts(
    row_list: RowList, known: KnownSubject, asked: ListRequest, *, item: str
) -> list[dict[str, Any]]:
    """Return the rows of a further table of a holder's accounts as of an earlier time."""
    name = row_list.table.name
    rows = _row_dicts(name, fold_known(ACCOUNTS, known).rows[name], known.root)
    return [part_json(row, item, asked.at) for row in rows]


def part_json(row: Mapping[str, Any], item: str, at: datetime) -> dict[str, Any]:
    """Return a lot, a promise or a redemption as JSON, with its account. `item` is the column of its id."""
    shown = lot_json(row, at) if item == "lot_id" else _shown(row)
    return {"id": row[item], "account": row["account_id"], **{name: shown[name] for name in shown if name != item}}


async def account_rows_json(
    query: QueryContext, customer: str, rows: Sequence[dict[str, Any]], times: AsOfQuery
) -> list[dict[str, Any]]:
    """Return the accounts of a customer as JSON, as of a time and a position. `rows` are the customer's stored rows.

    Accounts that had another owner at that time are left out.
    """
    if times.position is None and all(row["last_at"] <= times.at for row in rows):
        ids = [row["account_id"] for row in rows]
        lots = await query.connection.fetch(OPEN_LOTS, query.ledger.ledger_id, ids)
        return [
            account_json(
                AccountView(
                    {**row, "subject": row["id"], "ledger_id": 0},
                    [lot for lot in lots if lot["account_id"] == row["account_id"]],
                    times.at,
                )
            )
            for row in rows
        ]
    holders = sorted({customer, *(holder_of(row["account_id"]) for row in rows)})
    as_of = AsOf(times.at, times.position)
    groups = await load_known(query.connection, query.ledger.ledger_id, ACCOUNTS, holders, as_of)
    views = [view for group in groups for view in fold_holder(group, times.at).values()]
    return [account_json(view) for view in views if view.row["customer"] == customer]
