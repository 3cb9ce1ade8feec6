"""Columns of rows of any projection: which are shown first, how each looks, and where its links lead."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache

from projections.definition import Projection
from projections.registry import PROJECTIONS
from projections.tables import Table, columns_of
from service.console.links import account_link, customer_link, link_of, subject_link
from service.console.tables import PageColumn, Row

COLUMNS_MAX = 9
PROJECTION_OF_TABLE: Mapping[str, Projection] = {table.name: one for one in PROJECTIONS for table in one.tables}
TABLES: Mapping[str, Table] = {table.name: table for one in PROJECTIONS for table in one.tables}
# The columns that matter first, by table. Other tables show their first columns.
CHOSEN: Mapping[str, tuple[str, ...]] = {
    "accounts": ("customer", "programme", "unit", "available", "promised", "claimed", "drift", "last_at"),
    "tiers": ("customer", "programme", "tier_name", "since", "until", "reason", "renewals"),
    "coupons": ("customer", "code", "status", "issued_at", "valid_until", "bill"),
    "order_items": ("customer", "description", "status", "points_paid", "hold", "refund", "refund_due"),
    "transfers": ("sender", "receiver", "status", "points", "unit", "initiated_at", "received_at"),
    "bills": ("customer", "number", "bill_type", "amount", "currency", "store", "entered_at"),
    "customers": ("status", "loyalty_type", "joined_at", "store", "merged_into", "merged_at", "erased_at"),
    "reward_redemptions": ("customer", "reward", "status", "points", "completed_at", "coupon_code"),
    "rewards": ("name", "programme", "reward_type", "enabled", "points_cost", "starts_at", "ends_at"),
    "lots": ("account", "points", "remaining", "status", "earned_at", "expires_on", "bill_number", "promotion"),
    "promises": ("account", "points", "remaining", "promised_at", "converts_on", "bill_number", "promotion"),
    "redemptions": ("account", "points", "reversed", "reversal", "value", "redeemed_at", "bill_number"),
    "badges": ("customer", "badge", "earned_count", "first_earned_at", "last_earned_at"),
}
HIDDEN = frozenset(("previous_owners", "last_position", "ledger_id"))
CUSTOMERS = frozenset(("customer", "sender", "receiver", "sent_to", "received_from", "merged_into", "inherited_from"))
SIDE_HIDDEN = frozenset(("ordinal", "id"))
SIGNED = frozenset(("drift", "missing"))
STATES = frozenset(("status", "state", "hold", "refund"))
KINDS = {bool: "flag", int: "number", Decimal: "points", datetime: "time", date: "day", list: "any"}


def row_table_columns(table: str, present: Iterable[str], *, without: str = "") -> list[PageColumn]:
    """Return the columns of a table's rows, the id first. `present` are the fields of the rows."""
    fields = set(present)
    return [column for column in _columns(table) if column.name in fields and column.name != without]


@cache
def _columns(table: str) -> tuple[PageColumn, ...]:
    projection = PROJECTION_OF_TABLE[table]
    types = {column.name: column.type for column in columns_of(TABLES[table].row)}
    names = CHOSEN.get(table) or tuple(name for name in types if name not in HIDDEN)[:COLUMNS_MAX]
    first = PageColumn("id", column_title(table.removesuffix("s")), "short", _link_of(table, projection))
    shown = [_column(name, types.get(name)) for name in names]
    if table == "accounts":  # the id of an account begins with the customer
        shown = [one._replace(kind="file") if one.name == "customer" else one for one in shown]
    return (first, *shown)


def side_table_columns(table: Table, rows: Sequence[Row]) -> list[PageColumn]:
    """Return the columns of further rows of an object, such as the intervals of a tier. Columns without any value are
    left out.
    """
    types = {column.name: column.type for column in columns_of(table.row)}
    filled = [name for name in types if any(row.get(name) not in (None, False, []) for row in rows)]
    return [_column(name, types[name]) for name in filled if name not in SIDE_HIDDEN and name not in HIDDEN]


def _column(name: str, of_type: object) -> PageColumn:
    if name in CUSTOMERS:
        return PageColumn(name, column_title(name), "short", lambda row: customer_link(row.get(name)))
    if name == "account":
        return PageColumn(name, column_title(name), "short", lambda row: account_link(row["account"]))
    if name == "position":
        return PageColumn(name, "Event", "event", link_of(name))
    if name in STATES:
        return PageColumn(name, column_title(name), "state")
    if name in SIGNED:
        return PageColumn(name, column_title(name), "signed")
    return PageColumn(name, column_title(name), KINDS.get(of_type, "any") if isinstance(of_type, type) else "any")


def _link_of(table: str, projection: Projection) -> Callable[[Row], str | None]:
    def link(row: Row) -> str | None:
        if table == "accounts":
            return account_link(row["id"])
        if TABLES[table] is not projection.tables[0]:  # a part of an account
            return account_link(row["account"])
        return subject_link(projection.path or projection.subject, row["id"])

    return link


def column_title(name: str) -> str:
    """Return the title of a column or a table, such as "Order items" for order_items."""
    return name.replace("_", " ").capitalize()
