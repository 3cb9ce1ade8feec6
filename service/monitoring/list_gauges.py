"""Read the gauges of open matters: lists of reconciliation, unread events, silent connections, the database's size.

These readings count rows, so they take longer than those of positions. They are made once a minute at most, within a
time limit. If it does not suffice for all ledgers, the next reading continues with the others.
"""

import time
from collections.abc import Sequence
from datetime import datetime

from ledger import clock
from ledger.database import Connection
from ledger.store.registry import Ledger, list_ledgers
from service.monitoring import samples
from service.monitoring.samples import CONNECTIONS_MAX, LEDGERS_MAX, Sample
from service.reconciliation.catalogue import LISTS, latest_start
from service.reconciliation.lists import ListQuery, ListTotals, OpenItem
from service.reconciliation.silence import SILENCE

READ_SECONDS_MAX = 20.0
PAIRS_PER_READ = 500
ITEMS_MAX = 10_000  # of the list of silent connections
UNITS_MAX = 20  # of a list, with a series of their own

DATABASE_SIZE = "SELECT pg_database_size(current_database())"
UNREAD = "SELECT source, unread, count(*) FROM unread WHERE ledger_id = $1 GROUP BY source, unread"
ENABLED_CONNECTIONS = """
    SELECT connection_id FROM ledger.connections WHERE ledger_id = $1 AND disabled_at IS NULL
     ORDER BY connection_id LIMIT $2
"""


async def read_list_gauges(
    connection: Connection, earlier: dict[str, list[Sample]], seconds_max: float = READ_SECONDS_MAX
) -> dict[str, list[Sample]]:
    """Read the gauges of open matters of the active generation, by ledger. The key "" has those of the database.

    Ledgers that are not in `earlier` are read first, then those read longest ago. Past the time limit the others keep
    their earlier samples. Raises an error of the driver.
    """
    ledgers = {ledger.name: ledger for ledger in (await list_ledgers(connection))[:LEDGERS_MAX]}
    known = [name for name in earlier if name in ledgers]
    order = [name for name in ledgers if name not in earlier] + known
    found = {name: earlier[name] for name in known}
    connections_left = CONNECTIONS_MAX - sum(one.family is samples.SILENT for some in found.values() for one in some)
    deadline = time.monotonic() + seconds_max
    for name in order:
        before = found.pop(name, [])
        connections_left += sum(one.family is samples.SILENT for one in before)
        found[name] = await read_ledger(connection, ledgers[name], clock.now(), connections_left)
        connections_left -= sum(one.family is samples.SILENT for one in found[name])
        if time.monotonic() > deadline:
            break
    found[""] = [Sample(samples.DATABASE_SIZE, (), await connection.fetchval(DATABASE_SIZE))]
    return found


async def read_ledger(
    connection: Connection, ledger: Ledger, at: datetime, connections_max: int = CONNECTIONS_MAX
) -> list[Sample]:
    """Read the gauges of one ledger at a time."""
    found: list[Sample] = []
    for name, open_list in LISTS.items():
        if open_list is not SILENCE:
            totals = await open_list.count(connection, ledger.ledger_id, latest_start(open_list, at, None))
            found += _list_samples(ledger.name, name, totals)
    silent = await _silent_items(connection, ledger.ledger_id, at)
    found += _list_samples(ledger.name, SILENCE.name, ListTotals(len(silent), len(silent) >= ITEMS_MAX, {}))
    rows = await connection.fetch(ENABLED_CONNECTIONS, ledger.ledger_id, max(0, connections_max))
    found += _silence_samples(ledger.name, [row["connection_id"] for row in rows], silent, at)
    found += [
        Sample(samples.UNREAD, (ledger.name, source, why), count)
        for source, why, count in await connection.fetch(UNREAD, ledger.ledger_id)
    ]
    return found


def _list_samples(ledger: str, name: str, totals: ListTotals) -> list[Sample]:
    stakes = sorted(totals.points.items())[:UNITS_MAX]
    return [
        Sample(samples.OPEN_ITEMS, (ledger, name), totals.items),
        *(Sample(samples.AT_STAKE, (ledger, name, unit), float(points)) for unit, points in stakes),
    ]


async def _silent_items(connection: Connection, ledger_id: int, at: datetime) -> list[OpenItem]:
    items: list[OpenItem] = []
    after = SILENCE.start
    while len(items) < ITEMS_MAX:
        page, following = await SILENCE.read(connection, ListQuery(ledger_id, at, at, PAIRS_PER_READ, after))
        items += page
        if following is None:
            break
        after = following
    return items


def _silence_samples(ledger: str, connections: Sequence[str], items: Sequence[OpenItem], at: datetime) -> list[Sample]:
    """Return the time of silence of each connection. A kind that still arrives, but seldom, counts as not silent."""
    seconds = dict.fromkeys(connections, 0.0)
    for item in items:
        connection_id = item.details["connection"]
        if connection_id in seconds and item.details["observed_since"] == 0 and item.since is not None:
            seconds[connection_id] = max(seconds[connection_id], (at - item.since).total_seconds())
    return [Sample(samples.SILENT, (ledger, connection_id), value) for connection_id, value in seconds.items()]
