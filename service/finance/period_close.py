"""Closes a month, and reopens the last closed month. Each is an internal event."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ledger import clock
from ledger.database import Connection
from ledger.decimals import format_decimal
from ledger.errors import PeriodNotClosable
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from projections.accounts import ACCOUNTS
from projections.engine import store
from projections.engine.programme_terms import load_terms
from projections.queries.roll_forward import RollForwardQuery, last_instant
from service.finance.periods import closed_periods, month_bounds, read_liability
from service.operations.record import Planned, build_event, record_plan

PERIOD = "SELECT * FROM periods WHERE ledger_id = $1 AND subject = $2"


class PeriodChange(NamedTuple):
    """A month that is closed or reopened, and the position of the event; None in a dry run."""

    period: str
    position: int | None


async def close_period(connection: Connection, vault: Vault, ledger: Ledger, period: str, *, by: str) -> PeriodChange:
    """Close a month; see `plan_close`."""
    planned = await plan_close(connection, vault, ledger, period, by=by)
    return await record_plan(connection, vault, ledger, planned)


async def plan_close(
    connection: Connection, vault: Vault, ledger: Ledger, period: str, *, by: str
) -> Planned[PeriodChange]:
    """Plan to close a month ("2026-03") as its rows are known now.

    Raises PeriodNotClosable if the month is not over, or if it or a later month is closed.
    """
    first, last = month_bounds(period)
    ledger_id = ledger.ledger_id
    for closed_period in await closed_periods(connection, ledger_id):
        if closed_period.last_day >= first:
            raise PeriodNotClosable(f"{closed_period.period} is closed")
    known = await store.read_checkpoint(connection, ledger_id)
    done = await read_liability(connection, ledger_id, RollForwardQuery(first, last, monthly=True), None, now=known)
    terms = await load_terms(connection, ledger_id, ACCOUNTS, known)
    now = clock.now()
    zones = {"UTC", *(terms.zone(row.key.programme, now) for row in done.totals)}
    if any(last_instant(last, zone) >= now for zone in zones):
        raise PeriodNotClosable(f"{period} is not over")
    row = await connection.fetchrow(PERIOD, ledger_id, period)
    fields = {
        "period": period,
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "known_position": known,
        "totals": [
            {
                "programme": total.key.programme,
                "unit": total.key.unit,
                "opening": format_decimal(total.opening),
                "closing": format_decimal(total.closing),
            }
            for total in done.totals
        ],
        "by": by,
    }
    return _plan(vault, ledger, "periodClosed", period, row, fields)


async def reopen_period(connection: Connection, vault: Vault, ledger: Ledger, period: str, *, by: str) -> PeriodChange:
    """Reopen the last closed month; see `plan_reopening`."""
    planned = await plan_reopening(connection, vault, ledger, period, by=by)
    return await record_plan(connection, vault, ledger, planned)


async def plan_reopening(
    connection: Connection, vault: Vault, ledger: Ledger, period: str, *, by: str
) -> Planned[PeriodChange]:
    """Plan to reopen the last closed month. Raises PeriodNotClosable for any other month."""
    closed = await closed_periods(connection, ledger.ledger_id)
    if not closed or closed[-1].period != period:
        raise PeriodNotClosable(f"{period} is not the last closed period")
    row = await connection.fetchrow(PERIOD, ledger.ledger_id, period)
    return _plan(vault, ledger, "periodReopened", period, row, {"period": period, "by": by})


def _plan(
    vault: Vault, ledger: Ledger, kind: str, period: str, row: Any, fields: Mapping[str, Any]
) -> Planned[PeriodChange]:
    """Build an event with a key unique to the period and the number of its reopenings. Of two concurrent requests the
    second is a conflict.
    """
    times = row["reopenings"] if row is not None else 0
    return Planned(PeriodChange(period, None), build_event(vault, ledger, kind, f"{kind}-{period}-{times}", **fields))
