"""The changes of rows that are announced, and the data of each announcement. Pure.

A change is the difference between a row as known before an event and as known after it. So it follows from the ledger
and the rules alone, in whatever order events arrived, and whichever generation is active.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.facts import RecordedFact, kind_of
from projections.accounts import ACCOUNTS
from projections.accounts.tables import AccountRow
from projections.definition import Projection
from projections.order_items import ORDER_ITEMS, OrderItemRow
from projections.tiers import TIERS
from projections.tiers.tables import TierRow
from service.outgoing.message_types import BALANCE_CHANGED, ORDER_ITEM_FAILED, TIER_CHANGED

NOTHING = Decimal(0)
Rows = Mapping[str, Any]  # rows of the watched table, by the key of a row
Data = dict[str, Any]


class Watch(NamedTuple):
    """One announced change of the rows of a projection. `describe` returns None if the change is not announced.

    `describe` takes the row before, the row after, and the facts of the event; a row is None if there is none.
    """

    type: str
    projection: Projection
    table: str
    key: str | None  # column that names a row among the rows of its subject; None if it has one row
    describe: Callable[[Any, Any, Sequence[RecordedFact]], Data | None]


def rows_by_key(watch: Watch, subject: str, rows: Mapping[str, Sequence[Any]]) -> Rows:
    """Return the rows of one folded subject by their key."""
    found = rows.get(watch.table, ())
    if watch.key is None:
        return {subject: found[0]} if found else {}
    return {getattr(row, watch.key): row for row in found}


def balance_change(before: AccountRow | None, after: AccountRow | None, facts: Sequence[RecordedFact]) -> Data | None:
    """Describe a change of the available points of an account."""
    old = NOTHING if before is None else before.available
    new = NOTHING if after is None else after.available
    row = after or before
    if old == new or row is None:
        return None
    return {
        "account": row.account_id,
        "holder": row.holder,
        "customer": row.customer,
        "programme": row.programme,
        "unit": row.unit,
        "before": old,
        "after": new,
        "reason": _reason(row.account_id, facts),
    }


def _reason(account_id: str, facts: Sequence[RecordedFact]) -> str:
    """Return the kind of the fact that names the account; without one, that of the first fact."""
    named = [one.fact for one in facts if getattr(one.fact, "account_id", None) == account_id]
    return kind_of(named[0] if named else facts[0].fact) if facts else "retracted"


def tier_change(before: TierRow | None, after: TierRow | None, facts: Sequence[RecordedFact]) -> Data | None:
    """Describe a change of the tier of a membership."""
    old = None if before is None else before.tier
    new = None if after is None else after.tier
    row = after or before
    if old == new or row is None:
        return None
    return {
        "customer": row.customer,
        "programme": row.programme,
        "before": old,
        "after": new,
        "tier_name": None if after is None else after.tier_name,
        "since": None if after is None else after.since,
        "until": None if after is None else after.until,
        "reason": kind_of(facts[0].fact) if facts else "retracted",
    }


def order_item_failure(
    before: OrderItemRow | None, after: OrderItemRow | None, _: Sequence[RecordedFact]
) -> Data | None:
    """Describe an order item that did not arrive, when points of it become due to the customer."""
    was_due = before is not None and before.refund_due > NOTHING
    if after is None or was_due or after.refund_due <= NOTHING:
        return None
    return {
        "customer": after.customer,
        "order": after.order_id,
        "status": after.status,
        "points_paid": after.points_paid,
        "refund_due": after.refund_due,
    }


WATCHES: Mapping[str, Watch] = {
    one.type: one
    for one in (
        Watch(BALANCE_CHANGED, ACCOUNTS, "accounts", "account_id", balance_change),
        Watch(TIER_CHANGED, TIERS, "tiers", None, tier_change),
        Watch(ORDER_ITEM_FAILED, ORDER_ITEMS, "order_items", None, order_item_failure),
    )
}
