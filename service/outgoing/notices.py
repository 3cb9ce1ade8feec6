"""Notices: messages that the clock causes, not an event. Each is sent once, and the table of notices remembers it.

- `points.will_lapse`: once for each lot and time of its lapse, when the time is `notice_days` away or less. New terms
  may change the time.
- `coupon.will_expire`: once for each coupon and end of its validity.
- `reconciliation.opened` and `.closed`: when a matter enters a list of open matters, and when it leaves it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ledger.database import Connection
from projections.engine.programme_terms import read_terms
from projections.engine.store import read_checkpoint
from projections.queries.validity_ends import OPEN_COUPONS, TimeZones, row_as_at
from service.formatting import encode_json
from service.outgoing.endpoints import Endpoint
from service.outgoing.message_types import (
    COUPON_WILL_EXPIRE,
    POINTS_WILL_LAPSE,
    RECONCILIATION_CLOSED,
    RECONCILIATION_OPENED,
)
from service.outgoing.messages import Message
from service.reconciliation.catalogue import LISTS
from service.reconciliation.lists import ListQuery, OpenItem

NOTICES_PER_READ_MAX = 1_000
MATTERS_PER_PAGE = 1_000
PAGES_PER_LIST_MAX = 100  # of a longer list, no further matter is announced, and none is announced as closed
OPENED_PER_READ_MAX = 5_000  # of one list; further ones follow with the next read

LAPSING_LOTS = """
    SELECT l.account_id, l.lot_id, l.programme, l.unit, l.remaining, l.expires_on, l.lapses_at,
           concat(l.account_id, '/', l.lot_id, '/', l.expires_on, '/',
                  extract(epoch FROM l.lapses_at)::bigint) AS noticed
      FROM lots l
     WHERE l.ledger_id = $1 AND l.remaining > 0 AND l.lapses_at IS NOT NULL AND l.lapses_at > $4 AND l.lapses_at <= $5
       AND NOT EXISTS (SELECT FROM outgoing.notices n
                        WHERE n.ledger_id = $1 AND n.endpoint_id = $2 AND n.type = $3
                          AND n.subject = concat(l.account_id, '/', l.lot_id, '/', l.expires_on, '/',
                                                 extract(epoch FROM l.lapses_at)::bigint))
     ORDER BY l.lapses_at, l.account_id, l.lot_id LIMIT $6
"""
EXPIRING_COUPONS = """
    SELECT c.subject AS id, c.customer, c.series, c.status, c.valid_until, c.valid_through, c.redemptions_left,
           c.subject || '/' || coalesce(c.valid_until::text, c.valid_through::text) AS noticed
      FROM coupons c
     WHERE c.ledger_id = $1 AND c.status = ANY ($7)
       AND (c.valid_until > $4 AND c.valid_until <= $5
            OR c.valid_until IS NULL AND c.valid_through BETWEEN $4::date - 1 AND $5::date + 1)
       AND NOT EXISTS (SELECT FROM outgoing.notices n
                        WHERE n.ledger_id = $1 AND n.endpoint_id = $2 AND n.type = $3
                          AND n.subject = c.subject || '/' || coalesce(c.valid_until::text, c.valid_through::text))
     ORDER BY c.subject LIMIT $6
"""
OPEN_MATTERS = "SELECT subject FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2 AND type = $3"
INSERT_NOTICES = """
    INSERT INTO outgoing.notices (ledger_id, endpoint_id, type, subject, due_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
"""
DELETE_NOTICES = """
    DELETE FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2 AND type = $3 AND subject = $4
"""
FORGET_PAST = "DELETE FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2 AND due_at < $3"


class Notice(NamedTuple):
    """One notice. `subject` is the key under which it is remembered, until `due_at`; None: until it is closed."""

    subject: str
    due_at: datetime | None
    message: Message


async def read_notices(connection: Connection, endpoint: Endpoint, now: datetime) -> list[Notice]:
    """Read the notices that an endpoint has not got yet, at most some thousands."""
    found: list[Notice] = []
    if POINTS_WILL_LAPSE in endpoint.types:
        found += await _read_lapsing_lots(connection, endpoint, now)
    if COUPON_WILL_EXPIRE in endpoint.types:
        found += await _read_expiring_coupons(connection, endpoint, now)
    if RECONCILIATION_OPENED in endpoint.types:
        found += await _read_matters(connection, endpoint, now)
    return found


async def remember_notices(connection: Connection, endpoint: Endpoint, sent: Sequence[Notice], now: datetime) -> None:
    """Remember notices that were sent. Those whose day is over are forgotten. Call inside a transaction."""
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    opened = [one for one in sent if one.message.type != RECONCILIATION_CLOSED]
    closed = [one for one in sent if one.message.type == RECONCILIATION_CLOSED]
    await connection.executemany(INSERT_NOTICES, [(*ids, one.message.type, one.subject, one.due_at) for one in opened])
    await connection.executemany(DELETE_NOTICES, [(*ids, RECONCILIATION_OPENED, one.subject) for one in closed])
    await connection.execute(FORGET_PAST, *ids, now)


def has_notices(endpoint: Endpoint) -> bool:
    """Return True if an endpoint asks for a type of notice."""
    return bool({POINTS_WILL_LAPSE, COUPON_WILL_EXPIRE, RECONCILIATION_OPENED} & {*endpoint.types})


async def _read_lapsing_lots(connection: Connection, endpoint: Endpoint, now: datetime) -> list[Notice]:
    rows = await connection.fetch(LAPSING_LOTS, *_asked(endpoint, POINTS_WILL_LAPSE, now), NOTICES_PER_READ_MAX)
    return [
        _notice(
            endpoint,
            POINTS_WILL_LAPSE,
            row["noticed"],
            row["lapses_at"],
            now,
            subject=f"account/{row['account_id']}",
            data={
                "account": row["account_id"],
                "lot": row["lot_id"],
                "programme": row["programme"],
                "unit": row["unit"],
                "points": row["remaining"],
                "expires_on": row["expires_on"],
                "lapses_at": row["lapses_at"],
                "notice_days": endpoint.notice_days,
            },
        )
        for row in rows
    ]


async def _read_expiring_coupons(connection: Connection, endpoint: Endpoint, now: datetime) -> list[Notice]:
    asked = _asked(endpoint, COUPON_WILL_EXPIRE, now)
    rows = await connection.fetch(EXPIRING_COUPONS, *asked, NOTICES_PER_READ_MAX, list(OPEN_COUPONS))
    zones = TimeZones(await read_terms(connection, endpoint.ledger.ledger_id)) if rows else None
    found = []
    for row in rows:
        assert zones is not None
        expires_at = row_as_at("coupons", dict(row), now, zones)["expires_at"]
        if not now < expires_at <= asked[-1]:
            continue
        data = {
            "coupon": row["id"],
            "customer": row["customer"],
            "series": row["series"],
            "status": row["status"],
            "redemptions_left": row["redemptions_left"],
            "expires_at": expires_at,
            "notice_days": endpoint.notice_days,
        }
        subject = f"coupon/{row['id']}"
        found.append(_notice(endpoint, COUPON_WILL_EXPIRE, row["noticed"], expires_at, now, subject=subject, data=data))
    return found


def _asked(endpoint: Endpoint, kind: str, now: datetime) -> tuple[int, str, str, datetime, datetime]:
    """Return the first parameters of a statement: ledger, endpoint, type, and the time between now and the notice."""
    until = now + timedelta(days=endpoint.notice_days)
    return endpoint.ledger.ledger_id, endpoint.endpoint_id, kind, now, until


def _notice(
    endpoint: Endpoint, kind: str, key: str, due_at: datetime, now: datetime, *, subject: str, data: Mapping[str, Any]
) -> Notice:
    identifier = f"{kind}/{endpoint.notice_days}/{key}"
    return Notice(key, due_at, Message(None, identifier, kind, subject, now, None, encode_json(data).strip()))


async def _read_matters(connection: Connection, endpoint: Endpoint, now: datetime) -> list[Notice]:
    """Compare the open matters of all lists with those that were announced.

    One snapshot: a matter that moves between two pages of its list would seem closed.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _compare_matters(connection, endpoint, now)


async def _compare_matters(connection: Connection, endpoint: Endpoint, now: datetime) -> list[Notice]:
    ledger_id = endpoint.ledger.ledger_id
    position = await read_checkpoint(connection, ledger_id)
    rows = await connection.fetch(OPEN_MATTERS, ledger_id, endpoint.endpoint_id, RECONCILIATION_OPENED)
    announced = {row["subject"] for row in rows}
    found: list[Notice] = []
    for name, open_list in LISTS.items():
        current: set[str] = set()
        opened: list[Notice] = []
        following = None
        query = ListQuery(ledger_id, now, now - open_list.grace, MATTERS_PER_PAGE, open_list.start)
        for _ in range(PAGES_PER_LIST_MAX):
            items, following = await open_list.read(connection, query)
            by_key = {f"{name}/{item.id}": item for item in items}
            current |= by_key.keys()
            opened += [
                _matter(RECONCILIATION_OPENED, key, position, now, _matter_data(name, item))
                for key, item in by_key.items()
                if key not in announced
            ]
            if following is None:
                break
            query = query._replace(after=following)
        found += opened[:OPENED_PER_READ_MAX]
        if following is None:
            gone = sorted(key for key in announced if key.startswith(f"{name}/") and key not in current)
            found += [
                _matter(RECONCILIATION_CLOSED, key, position, now, {"list": name, "item": key.partition("/")[2]})
                for key in gone
            ]
    return found


def _matter_data(name: str, item: OpenItem) -> dict[str, Any]:
    return {
        "list": name,
        "item": item.id,
        "points": item.amount,
        "unit": item.unit,
        "position": item.position,
        "since": item.since,
        "cause": item.cause,
    }


def _matter(kind: str, key: str, position: int, now: datetime, data: Mapping[str, Any]) -> Notice:
    message = Message(
        None, f"{kind}/{key}/{position}", kind, f"reconciliation/{key}", now, None, encode_json(data).strip()
    )
    return Notice(key, None, message)
