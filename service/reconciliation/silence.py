"""Silent and slow connections: a kind of event used to arrive over a connection and has stopped or become rare.
Possible causes: the vendor has disabled the webhook, or one of many shops has lost its connection.

**Silent.** Only regular arrivals can be missed. A kind is regular in one of two cases: it had events on DAYS_ACTIVE_MIN
or more of the DAYS_LOOKED_AT days before the last event, or it had ten or more over a day. For frequent kinds the
longest pause among the last arrivals sets the allowed pause. An import of a few minutes sets none.

**Slow.** A kind is slow in one of two cases, if EXPECTED_MIN or more were expected:
- The last day brought at most a quarter of the quietest of the 28 days that ended a week ago (at least 7 days).
- The last week brought at most a quarter of the median of the four weeks before it (at least 2 weeks; of two middle
  weeks, the smaller).

So a Sunday is not listed, and a drop is listed after a day. After about three weeks the new level is expected. A day is
24 hours, counted back from the requested time.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ledger.database import Connection
from service.reconciliation.lists import Key, ListQuery, OpenItem, OpenList, count_by_reading, fill_pages, format_time

ARRIVALS_MIN = 10
DAYS_ACTIVE_MIN = 3
DAYS_LOOKED_AT = 14
PAUSE_MIN = timedelta(hours=1)
PAUSE_FACTOR = 3  # a pause this many times the longest one is silence
DAY = timedelta(days=1)
WEEK_DAYS = 7  # days
EXPECTED_MIN = 20  # a quarter of fewer may be chance
SLOW_FACTOR = 4  # times fewer than expected

# Pairs of connection and kind are found by skipping through the index. So the cost does not grow with the number of
# events. The days are found the same way.
ARRIVALS = """
    WITH RECURSIVE pairs AS (
        (SELECT connection_id, kind FROM ledger.events
          WHERE ledger_id = $1 AND (connection_id, kind) > ($2, $3) ORDER BY connection_id, kind LIMIT 1)
        UNION ALL
        SELECT following.connection_id, following.kind FROM pairs p CROSS JOIN LATERAL (
            SELECT e.connection_id, e.kind FROM ledger.events e
             WHERE e.ledger_id = $1 AND (e.connection_id, e.kind) > (p.connection_id, p.kind)
             ORDER BY e.connection_id, e.kind LIMIT 1) following
    ),
    looked_at AS (SELECT * FROM pairs LIMIT $4)
    SELECT s.connection_id, s.kind, c.source, c.disabled_at, seen.arrivals, seen.first_at, seen.last_at,
           seen.longest_pause, days.active_days, counted.by_day,
           (SELECT e.recorded_at FROM ledger.events e
             WHERE e.ledger_id = $1 AND e.connection_id = s.connection_id AND e.kind = s.kind
             ORDER BY e.recorded_at LIMIT 1) AS began_at,
           (SELECT max(e.position) FROM ledger.events e
             WHERE e.ledger_id = $1 AND e.connection_id = s.connection_id AND e.kind = s.kind
               AND e.recorded_at = seen.last_at) AS last_position
      FROM looked_at s
      LEFT JOIN ledger.connections c ON c.ledger_id = $1 AND c.connection_id = s.connection_id
      CROSS JOIN LATERAL (
           SELECT count(*) AS arrivals, min(recorded_at) AS first_at, max(recorded_at) AS last_at,
                  max(pause) AS longest_pause
             FROM (SELECT recorded_at, recorded_at - lag(recorded_at) OVER (ORDER BY recorded_at) AS pause
                     FROM (SELECT e.recorded_at FROM ledger.events e
                            WHERE e.ledger_id = $1 AND e.connection_id = s.connection_id AND e.kind = s.kind
                              AND e.recorded_at <= $5
                            ORDER BY e.recorded_at DESC LIMIT 1000) latest) paused) seen
      CROSS JOIN LATERAL (
           SELECT count(*) AS active_days FROM generate_series(1, 14) AS back
            WHERE EXISTS (SELECT FROM ledger.events e
                           WHERE e.ledger_id = $1 AND e.connection_id = s.connection_id AND e.kind = s.kind
                             AND e.recorded_at > seen.last_at - make_interval(days => back)
                             AND e.recorded_at <= seen.last_at - make_interval(days => back - 1))) days
      CROSS JOIN LATERAL (
           SELECT array_agg((SELECT count(*) FROM (
                      SELECT FROM ledger.events e
                       WHERE e.ledger_id = $1 AND e.connection_id = s.connection_id AND e.kind = s.kind
                         AND e.recorded_at > $5::timestamptz - make_interval(days => back)
                         AND e.recorded_at <= $5::timestamptz - make_interval(days => back - 1)
                       LIMIT 100000) one) ORDER BY back) AS by_day
             FROM generate_series(1, 35) AS back) counted
     ORDER BY s.connection_id, s.kind
"""


def silence_item(row: Any, at: datetime) -> OpenItem | None:
    """Return the item of one kind over one connection. None if it is not silent or slow, or was never regular."""
    if row["arrivals"] < ARRIVALS_MIN:
        return None
    span: timedelta = row["last_at"] - row["first_at"]
    if span < DAY and row["active_days"] < DAYS_ACTIVE_MIN:
        return None
    if span >= DAY:
        allowed = max(PAUSE_MIN, PAUSE_FACTOR * row["longest_pause"])
    else:  # the last 1,000 arrivals are too close together to show a night
        allowed = DAY * math.ceil(DAYS_LOOKED_AT / row["active_days"])
    silent = at - row["last_at"]
    if silent <= allowed:
        return _slow(row, at)
    per_day = row["arrivals"] * DAY / max(span, timedelta(seconds=1))
    if row["disabled_at"] is not None:
        cause = f"The connection was disabled here at {format_time(row['disabled_at'])}."
    else:
        cause = "The cause is not known. Check the webhook's settings at the vendor, and its log of failed deliveries."
    return OpenItem(
        id=f"{row['connection_id']} {row['kind']}",
        amount=None,
        unit=None,
        position=row["last_position"],
        since=row["last_at"],
        cause=cause,
        details={
            "connection": row["connection_id"],
            "source": row["source"],
            "kind": row["kind"],
            "expected_per_day": round(per_day, 3),
            "observed_since": 0,
            "expected_since": round(per_day * (silent / DAY)),
            "last_at": row["last_at"],
        },
    )


def _slow(row: Any, at: datetime) -> OpenItem | None:
    """Return the item of a kind that still arrives. None if it arrives as often as before."""
    found = _observed_and_expected(row["by_day"], (at - row["began_at"]) // DAY)
    if found is None:
        return None
    days, observed, expected = found
    return OpenItem(
        id=f"{row['connection_id']} {row['kind']}",
        amount=None,
        unit=None,
        position=row["last_position"],
        since=at - days * DAY,
        cause=(
            f"{observed} arrived, {expected} were expected. The cause is not known. Check the webhook's settings "
            "at the "
            "vendor, and its log of failed deliveries."
        ),
        details={
            "connection": row["connection_id"],
            "source": row["source"],
            "kind": row["kind"],
            "expected_per_day": round(expected / days, 3),
            "observed_since": observed,
            "expected_since": expected,
            "last_at": row["last_at"],
        },
    )


def _observed_and_expected(by_day: Sequence[int], age_days: int) -> tuple[int, int, int] | None:
    """Return (days, observed, expected) of a drop, or None. The latest day is first in `by_day`. Days before the
    connection's age are not counted.
    """
    days = by_day[WEEK_DAYS : min(len(by_day), age_days)]
    full_weeks = min(len(by_day), age_days) // WEEK_DAYS
    weeks = sorted(sum(by_day[WEEK_DAYS * week : WEEK_DAYS * (week + 1)]) for week in range(1, full_weeks))
    for length, observed, expected in (
        (1, by_day[0], min(days) if len(days) >= WEEK_DAYS else 0),
        (WEEK_DAYS, sum(by_day[:WEEK_DAYS]), weeks[(len(weeks) - 1) // 2] if len(weeks) > 1 else 0),
    ):
        if expected >= EXPECTED_MIN and observed * SLOW_FACTOR <= expected:
            return length, observed, expected
    return None


async def read_silence(connection: Connection, query: ListQuery) -> tuple[list[OpenItem], Key | None]:
    """Check one page of pairs of connection and kind. The silent and slow ones are items."""
    rows = await connection.fetch(ARRIVALS, query.ledger_id, *query.after, query.limit, query.opened_by)
    found = [silence_item(row, query.opened_by) for row in rows if row["connection_id"] != "-"]
    after = (rows[-1]["connection_id"], rows[-1]["kind"]) if len(rows) == query.limit else None
    return [item for item in found if item is not None], after


SILENCE = OpenList(
    name="silence",
    title="Kinds of events that used to arrive over a connection and have stopped, or fell to a quarter or less",
    read=fill_pages(read_silence, lambda item: (item.details["connection"], item.details["kind"])),
    count=count_by_reading(read_silence, ("", "")),
    columns=("connection", "source", "kind", "expected_per_day", "observed_since", "expected_since", "last_at"),
    start=("", ""),
    statements=(ARRIVALS,),
)
