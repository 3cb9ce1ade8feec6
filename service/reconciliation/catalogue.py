"""All lists of open matters. A new list is a value in a file of this folder, and a line below."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ledger.database import Connection
from service.reconciliation.balances import EARLY_EXPIRIES, EXPIRIES, PROMISES, SUMS
from service.reconciliation.drift import DRIFT
from service.reconciliation.flags import CONTESTED_LIST, DOUBTFUL_LIST, GAPS_LIST
from service.reconciliation.lists import ListTotals, OpenList
from service.reconciliation.merged_customers import MERGED_CUSTOMERS
from service.reconciliation.misdated import MISDATED
from service.reconciliation.obligations import REFUNDS, TRANSFERS
from service.reconciliation.reminders import REMINDERS
from service.reconciliation.reports import REPORTS, SHARED_REDEMPTIONS
from service.reconciliation.requests import REQUESTS
from service.reconciliation.rewards import REWARDS
from service.reconciliation.silence import SILENCE
from service.reconciliation.unread import CONFLICTS, PARKED, QUARANTINE, UNKNOWN

LISTS: Mapping[str, OpenList] = {
    one.name: one
    for one in (
        DRIFT,
        EXPIRIES,
        EARLY_EXPIRIES,
        PROMISES,
        TRANSFERS,
        REFUNDS,
        REWARDS,
        REQUESTS,
        SUMS,
        REPORTS,
        SHARED_REDEMPTIONS,
        MERGED_CUSTOMERS,
        MISDATED,
        CONTESTED_LIST,
        GAPS_LIST,
        DOUBTFUL_LIST,
        REMINDERS,
        CONFLICTS,
        QUARANTINE,
        UNKNOWN,
        PARKED,
        SILENCE,
    )
}


def latest_start(open_list: OpenList, at: datetime, grace: timedelta | None) -> datetime:
    """Return the latest time at which a matter may have begun to be listed at `at`. `grace` None means the list's own
    grace.
    """
    return at - (open_list.grace if grace is None else grace)


async def count_lists(
    connection: Connection, ledger_id: int, at: datetime, grace: timedelta | None
) -> dict[str, ListTotals]:
    """Count the open matters of every list."""
    return {
        name: await open_list.count(connection, ledger_id, latest_start(open_list, at, grace))
        for name, open_list in LISTS.items()
    }


def totals_json(totals: Mapping[str, ListTotals]) -> list[dict[str, Any]]:
    """Return the totals of all lists as JSON."""
    return [
        {
            "name": name,
            "title": LISTS[name].title,
            "open_count": total.items,
            "truncated": total.more,
            "points": total.points,
        }
        for name, total in totals.items()
    ]
