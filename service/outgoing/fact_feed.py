"""The feed of one ledger: the messages about a range of positions, in order.

The ledger is its own outbox: positions are dense and in the order of commits, so "everything after n" misses nothing.
The facts are those of the active generation. Their positions and ordinals are those of every other generation too, so a
promotion repeats nothing and leaves nothing out.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from ledger.database import Connection
from ledger.intake.identify import KEY_BYTES
from projections.engine.store import read_checkpoint
from service.outgoing.endpoints import Endpoint
from service.outgoing.message_types import FACT_RECORDED, FACT_RETRACTED
from service.outgoing.messages import FACTS, RETRACTIONS, FeedCursor, Message, sequence_of

POSITIONS_PER_READ_MAX = 1_000
FACTS_PER_READ_MAX = 12_000  # more than one event may give, so that a read always ends an event

# Facts that were taken back later were recorded all the same: `withdrawn` has them.
READ_RECORDED = """
    SELECT position, ordinal, subject_kind, subject, kind, occurred_at, untimed, body FROM facts
     WHERE ledger_id = $1 AND position > $2 AND position <= $3
     UNION ALL
    SELECT position, ordinal, subject_kind, subject, kind, occurred_at, untimed, body FROM withdrawn
     WHERE ledger_id = $1 AND position > $2 AND position <= $3
     ORDER BY position, ordinal LIMIT $4
"""
# An event in conflict has a longer key. Only such events take facts back.
HAS_CONFLICTS = """
    SELECT EXISTS (SELECT FROM ledger.events
                    WHERE ledger_id = $1 AND position > $2 AND position <= $3 AND octet_length(event_key) > $4)
"""
READ_RETRACTED = """
    SELECT position, ordinal, subject_kind, subject, kind, occurred_at, untimed, body, until_position FROM withdrawn
     WHERE ledger_id = $1 AND until_position > $2 AND until_position <= $3
     ORDER BY until_position, position, ordinal
"""
RECORDED_AT = "SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = $2"


class FeedPage(NamedTuple):
    """Messages of a range of positions. `end` is the cursor after the range; it also passes events without messages."""

    messages: Sequence[Message]
    end: FeedCursor


async def read_page(connection: Connection, endpoint: Endpoint, after: FeedCursor) -> FeedPage:
    """Read the next messages of an endpoint. Without new events, the page is empty and ends at `after`."""
    ledger_id = endpoint.ledger.ledger_id
    checkpoint = await read_checkpoint(connection, ledger_id)
    upto = min(checkpoint, after.position + POSITIONS_PER_READ_MAX)
    if upto <= after.position:
        return FeedPage((), after)
    rows = await connection.fetch(READ_RECORDED, ledger_id, after.position, upto, FACTS_PER_READ_MAX)
    if len(rows) == FACTS_PER_READ_MAX:
        upto = rows[-1]["position"] - 1  # facts of the last event may be missing
    messages: list[Message] = []
    if FACT_RECORDED in endpoint.types:
        messages += _recorded(row for row in rows if row["position"] <= upto and _is_wanted(endpoint, row))
    if FACT_RETRACTED in endpoint.types:
        messages += await _read_retracted(connection, endpoint, after.position, upto)
    return FeedPage(in_feed_order(messages, after), FeedCursor(upto))


def in_feed_order(messages: Iterable[Message], after: FeedCursor) -> list[Message]:
    """Return messages by sequence, each with its cursor. Those that `after` has passed are left out."""
    ordered: list[Message] = []
    position, ordinal = after.position, 0
    for message in sorted(messages, key=lambda message: message.sequence or ""):
        assert message.cursor is not None
        at = message.cursor.position
        position, ordinal = at, (ordinal + 1 if at == position else 1)
        ordered.append(message._replace(cursor=FeedCursor(at - 1, ordinal)))
    skipped = after.ordinal if ordered and ordered[0].cursor == FeedCursor(after.position, 1) else 0
    return ordered[skipped:]


def _is_wanted(endpoint: Endpoint, row: Any) -> bool:
    return not endpoint.kinds or row["kind"] in endpoint.kinds


def _recorded(rows: Iterable[Any]) -> list[Message]:
    return [
        Message(
            FeedCursor(row["position"]),
            f"{row['position']}/{row['ordinal']}",
            FACT_RECORDED,
            f"{row['subject_kind']}/{row['subject']}",
            row["occurred_at"],
            sequence_of(row["position"], FACTS, row["ordinal"]),
            orjson.dumps(fact_data(row), option=orjson.OPT_UTC_Z),
        )
        for row in rows
    ]


def fact_data(row: Any) -> dict[str, Any]:
    """Return a fact as messages show it. `row` has the columns of READ_RECORDED."""
    return {
        "position": row["position"],
        "ordinal": row["ordinal"],
        "fact": row["kind"],
        "subject_kind": row["subject_kind"],
        "subject": row["subject"],
        "occurred_at": row["occurred_at"],
        "untimed": row["untimed"],
        "fields": orjson.Fragment(row["body"]),
    }


async def _read_retracted(connection: Connection, endpoint: Endpoint, after: int, upto: int) -> list[Message]:
    ledger_id = endpoint.ledger.ledger_id
    if not await connection.fetchval(HAS_CONFLICTS, ledger_id, after, upto, KEY_BYTES):
        return []
    rows = await connection.fetch(READ_RETRACTED, ledger_id, after, upto)
    messages, position, at, number = list[Message](), 0, datetime.min, 0
    for row in rows:
        if row["until_position"] != position:
            position, number = row["until_position"], 0
            at = await connection.fetchval(RECORDED_AT, ledger_id, position)
        number += 1
        if _is_wanted(endpoint, row):
            messages.append(_retracted(row, position, number, at))
    return messages


def _retracted(row: Any, position: int, number: int, at: datetime) -> Message:
    """Return the message that an event at `position` takes a fact back."""
    return Message(
        FeedCursor(position),
        f"{position}/{FACT_RETRACTED}/{row['position']}/{row['ordinal']}",
        FACT_RETRACTED,
        f"{row['subject_kind']}/{row['subject']}",
        at,
        sequence_of(position, RETRACTIONS, number),
        orjson.dumps({**fact_data(row), "retracted_by": position}, option=orjson.OPT_UTC_Z),
    )
