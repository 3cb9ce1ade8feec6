"""Reads the evidence for causes of drift, for a page of accounts at once. The rows read for each account are limited.

Statement lines are numbered without gaps in order of occurrence. So the first line after a time is found by bisecting
the line numbers. No index on times is needed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ledger.database import Connection
from ledger.errors import Unreadable
from ledger.parsing import parse_json
from ledger.vendors.fields import squeeze
from projections.accounts.account import Posting
from service.reconciliation.drift_steps import (
    Evidence,
    LineEvidence,
    LotEvidence,
    TransferEvidence,
    UnreadEvidence,
    positions_of,
)

LINES_BEFORE = 20
LINES_MAX = 120  # of one account
SIBLINGS_MAX = 5  # further programmes of one holder
LOTS_MAX = 100
TRANSFERS_MAX = 1_000
UNREAD_LOOKED_AT_MAX = 1_000  # between two claims
UNREAD_PER_ACCOUNT_MAX = 5
BODY_BYTES_MAX = 64 * 1024
POSITIONS_AROUND = 1_000  # events may be recorded out of order by this many positions

LINES = """
    WITH RECURSIVE asked AS (
        SELECT n, account_id, at FROM unnest($2::text[], $3::timestamptz[]) WITH ORDINALITY AS a (account_id, at, n)
    ),
    halved AS (
        SELECT a.n, a.account_id, a.at, 0 AS low,
               coalesce((SELECT max(s.line) FROM statement s
                          WHERE s.ledger_id = $1 AND s.account_id = a.account_id), 0) + 1 AS high
          FROM asked a
        UNION ALL
        SELECT h.n, h.account_id, h.at, CASE WHEN s.occurred_at < h.at THEN s.line ELSE h.low END,
               CASE WHEN s.occurred_at < h.at THEN h.high ELSE s.line END
          FROM halved h
          JOIN statement s ON s.ledger_id = $1 AND s.account_id = h.account_id AND s.line = (h.low + h.high) / 2
         WHERE h.high - h.low > 1
    ),
    found AS (SELECT n, account_id, high FROM halved WHERE high - low = 1)
    SELECT f.n, s.line, s.occurred_at, s.kind, s.points, s.claimed, s.drift, s.reference, s.untied, s.postings,
           s.position
      FROM found f CROSS JOIN LATERAL (
           SELECT * FROM statement s
            WHERE s.ledger_id = $1 AND s.account_id = f.account_id AND s.line > f.high - $4
            ORDER BY s.line LIMIT $5) s
     ORDER BY f.n, s.line
"""
SIBLINGS = """
    SELECT asked.n, one.account_id, one.programme
      FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS asked (account_id, subject, unit, n)
     CROSS JOIN LATERAL (
           SELECT a.account_id, a.programme FROM accounts a
            WHERE a.ledger_id = $1 AND a.subject = asked.subject AND a.unit = asked.unit
              AND a.account_id <> asked.account_id
            ORDER BY a.account_id LIMIT $5) one
"""
ADJUSTED = """
    SELECT account_id, adjustment, adopted, reversed_at IS NOT NULL AS reversed FROM adjustments
     WHERE ledger_id = $1 AND account_id = ANY ($2) AND (adopted OR reversed_at IS NOT NULL)
"""
LOTS = """
    SELECT asked.n, one.lot_id, one.remaining, one.expires_on
      FROM unnest($2::text[]) WITH ORDINALITY AS asked (account_id, n)
     CROSS JOIN LATERAL (
           SELECT l.lot_id, l.remaining, l.expires_on FROM lots l
            WHERE l.ledger_id = $1 AND l.account_id = asked.account_id
            ORDER BY l.remaining DESC LIMIT $3) one
"""
HALF_TRANSFERS = """
    SELECT subject, sender, receiver, status, programme, unit, points, last_position FROM transfers
     WHERE ledger_id = $1 AND status <> 'completed' AND (sender = ANY ($2) OR receiver = ANY ($2))
     ORDER BY subject LIMIT $3
"""
# Events with the key of another event and different contents.
CONTESTED = """
    SELECT e.position FROM ledger.events e
     WHERE e.ledger_id = $1 AND e.position = ANY ($2)
       AND EXISTS (SELECT FROM ledger.events other
                    WHERE other.ledger_id = $1 AND other.position <> e.position
                      AND other.event_key >= substr(e.event_key, 1, 16)
                      AND other.event_key <= substr(e.event_key, 1, 16) || decode(repeat('ff', 16), 'hex'))
"""
# Unread events of the account's source and organisation that may have occurred between the claims. A body that cannot
# be read has no organisation and no time. So its position must lie between the claims.
UNREAD = """
    SELECT asked.n, one.position, one.kind, one.unread
      FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::timestamptz[])
           WITH ORDINALITY AS asked (source, org, low, high, low_at, high_at, n)
     CROSS JOIN LATERAL (
           SELECT u.position, u.kind, u.unread, u.source, e.org, e.occurred_at
             FROM (SELECT * FROM unread u
                    WHERE u.ledger_id = $1 AND u.position > asked.low - $8 AND u.position < asked.high + $8
                    ORDER BY u.position LIMIT $9) u
             JOIN ledger.events e ON e.ledger_id = $1 AND e.position = u.position) one
     WHERE one.source = asked.source
       AND CASE WHEN one.unread = 'quarantined' OR one.occurred_at IS NULL
                THEN one.position > asked.low AND one.position < asked.high
                ELSE one.occurred_at > asked.low_at AND one.occurred_at <= asked.high_at END
       AND (one.org = asked.org OR one.unread = 'quarantined')
     ORDER BY asked.n, one.position
"""
BODIES = """
    SELECT e.position, coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                             WHERE body.ledger_id = $1 AND body.position = e.delivery_position)) AS body
      FROM ledger.events e WHERE e.ledger_id = $1 AND e.position = ANY ($2)
"""


async def read_evidence(
    connection: Connection, ledger_id: int, accounts: Sequence[Mapping[str, Any]]
) -> list[Evidence]:
    """Read the evidence about accounts in drift. `accounts` are rows of the table of that name; the result has their
    order.
    """
    if not accounts:
        return []
    ids = [row["account_id"] for row in accounts]
    since = [row["agreed_at"] or row["drift_since"] for row in accounts]
    lines = await _lines(connection, ledger_id, ids, since)
    siblings = await _siblings(connection, ledger_id, accounts, since)
    marked = await connection.fetch(ADJUSTED, ledger_id, ids)
    lots: dict[int, list[LotEvidence]] = defaultdict(list)
    for row in await connection.fetch(LOTS, ledger_id, ids, LOTS_MAX):
        lots[row["n"] - 1].append(LotEvidence(row["lot_id"], row["remaining"], row["expires_on"]))
    customers = sorted({row["customer"] for row in accounts})
    half_transfers = await connection.fetch(HALF_TRANSFERS, ledger_id, customers, TRANSFERS_MAX)
    positions = positions_of(line for account_lines in lines.values() for line in account_lines)
    contested = {row["position"] for row in await connection.fetch(CONTESTED, ledger_id, positions)}
    unread = await _unread(connection, ledger_id, accounts)
    return [
        Evidence(
            missing=row["missing"],
            drift=row["drift"],
            agreed_position=row["agreed_position"],
            lines=lines[number],
            complete=len(lines[number]) < LINES_MAX and len(lots[number]) < LOTS_MAX,
            adopted={
                marked_row["adjustment"]
                for marked_row in marked
                if marked_row["account_id"] == row["account_id"] and marked_row["adopted"]
            },
            reversed={
                marked_row["adjustment"]
                for marked_row in marked
                if marked_row["account_id"] == row["account_id"] and marked_row["reversed"]
            },
            siblings=siblings[number],
            lots=lots[number],
            transfers=list(_transfers(row, half_transfers)),
            conflicts=contested,
            unread=unread[number],
        )
        for number, row in enumerate(accounts)
    ]


async def _lines(
    connection: Connection, ledger_id: int, accounts: Sequence[str], since: Sequence[datetime]
) -> dict[int, list[LineEvidence]]:
    """Read the lines of each account since a time, and LINES_BEFORE lines before it. Keys are indexes of `accounts`."""
    found: dict[int, list[LineEvidence]] = defaultdict(list)
    for row in await connection.fetch(LINES, ledger_id, accounts, since, LINES_BEFORE, LINES_MAX):
        number, *values = row
        line = LineEvidence(*values)
        found[number - 1].append(line._replace(postings=_POSTINGS.decode(row["postings"])))
    return found


async def _siblings(
    connection: Connection, ledger_id: int, accounts: Sequence[Mapping[str, Any]], since: Sequence[datetime]
) -> dict[int, list[tuple[str, LineEvidence]]]:
    """Read the lines of the holder's other programmes in the same unit, since the same time."""
    names = ([row[name] for row in accounts] for name in ("account_id", "subject", "unit"))
    of = await connection.fetch(SIBLINGS, ledger_id, *names, SIBLINGS_MAX)
    times = [since[row["n"] - 1] for row in of]
    lines = await _lines(connection, ledger_id, [row["account_id"] for row in of], times)
    found: dict[int, list[tuple[str, LineEvidence]]] = defaultdict(list)
    for number, row in enumerate(of):
        found[row["n"] - 1] += [(row["programme"], line) for line in lines[number]]
    return found


def _transfers(account: Mapping[str, Any], half_transfers: Iterable[Mapping[str, Any]]) -> Iterator[TransferEvidence]:
    """Yield transfers to or from an account's customer with only one reported half."""
    customer = account["customer"]
    for transfer in half_transfers:
        if transfer["unit"] != account["unit"]:
            continue
        to_us = transfer["status"] == "initiated" and transfer["receiver"] == customer
        from_us = transfer["status"] == "received-only" and transfer["sender"] == customer
        if to_us or from_us:
            yield TransferEvidence(transfer["subject"], transfer["points"], transfer["last_position"], to_us)


async def _unread(
    connection: Connection, ledger_id: int, accounts: Sequence[Mapping[str, Any]]
) -> dict[int, list[UnreadEvidence]]:
    """Find unread events between the claims of each account that may concern its holder. They name the holder or the
    customer by id, or their body cannot be read.
    """
    placed = [(number, row) for number, row in enumerate(accounts) if row["agreed_position"] is not None]
    asked = [
        (
            *row["subject"].split(":")[:2],
            *sorted((row["agreed_position"], row["drift_position"])),
            row["agreed_at"],
            row["drift_since"],
        )
        for _, row in placed
    ]
    found = await connection.fetch(
        UNREAD,
        ledger_id,
        *([one[column] for one in asked] for column in range(6)),
        POSITIONS_AROUND,
        UNREAD_LOOKED_AT_MAX,
    )
    near: dict[int, list[Any]] = defaultdict(list)
    for row in found:
        if len(near[row["n"] - 1]) < UNREAD_PER_ACCOUNT_MAX:
            near[row["n"] - 1].append(row)
    readable = {one["position"] for rows in near.values() for one in rows if one["unread"] != "quarantined"}
    bodies = {row["position"]: row["body"] for row in await connection.fetch(BODIES, ledger_id, sorted(readable))}
    unread: dict[int, list[UnreadEvidence]] = defaultdict(list)
    for place, rows in near.items():
        number, account = placed[place]
        ids = {account[name].rpartition(":")[2] for name in ("subject", "customer")}
        for one in rows:
            names_holder = body_names_id(bodies.get(one["position"]), ids)
            if names_holder or one["unread"] == "quarantined":
                unread[number].append(UnreadEvidence(one["position"], one["kind"], names_holder))
        unread[number].sort(key=lambda one: not one.names_holder)
    return unread


def body_names_id(body: bytes | None, ids: set[str]) -> bool:
    """Return True if a body holds one of the ids under a key for ids."""
    if body is None or len(body) > BODY_BYTES_MAX:
        return False
    try:
        document = parse_json(body).value
    except Unreadable:
        return False
    values: list[tuple[str, Any]] = [("", document)]
    while values:
        key, value = values.pop()
        if isinstance(value, dict):
            values += value.items()
        elif isinstance(value, list):
            values += ((key, one) for one in value)
        elif str(value) in ids and _is_id(key):
            return True
    return False


def _is_id(key: str) -> bool:
    name = squeeze(key).lower()
    return name.endswith("id") or name in ("customer", "user", "holder", "member", "customer_ref")


_POSTINGS: Any = msgspec.json.Decoder(list[Posting])
