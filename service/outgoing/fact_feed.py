"""The feed of one ledger: the messages about a range of positions, in order.

The ledger is its own outbox: positions are dense and in the order of commits, so "everything after n" misses nothing.
The facts are those of the active generation. Their positions and ordinals are those of every other generation too, so a
promotion repeats nothing and leaves nothing out.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ledger.database import Connection
from ledger.store.registry import Ledger
from projections.engine.store import read_checkpoint
from service.outgoing.change_feed import FeedRange, TouchedFact, read_changes
from service.outgoing.conflict_feed import FactsChanged, follows_policies, read_facts_changed, read_special_events
from service.outgoing.fact_messages import (
    FeedFact,
    fact_of_recorded,
    fact_of_row,
    recorded_message,
    restored_messages,
    retracted_messages,
)
from service.outgoing.messages import FeedCursor, Message

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


class FeedSelection(Protocol):
    """The messages of one ledger that a reader wants: an endpoint, or a stream. Empty `kinds` means all."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def types(self) -> tuple[str, ...]: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...


class FeedPage(NamedTuple):
    """Messages of a range of positions. `end` is the cursor after the range; it also passes events without messages."""

    messages: Sequence[Message]
    end: FeedCursor


async def read_page(connection: Connection, selection: FeedSelection, after: FeedCursor) -> FeedPage:
    """Read the next messages of a reader. Without new events, the page is empty and ends at `after`."""
    ledger_id, first = selection.ledger.ledger_id, after.position
    upto = min(await read_checkpoint(connection, ledger_id), first + POSITIONS_PER_READ_MAX)
    special = await read_special_events(connection, ledger_id, first, upto) if upto > first else []
    policy = next((event.position for event in special if event.sets_policy), None)
    if policy is not None and not await follows_policies(connection, ledger_id):
        upto = policy - 1  # the rows will follow the policy within seconds
    if upto <= first:
        return FeedPage((), after)
    rows = await connection.fetch(READ_RECORDED, ledger_id, first, upto, FACTS_PER_READ_MAX)
    if len(rows) == FACTS_PER_READ_MAX:
        upto = rows[-1]["position"] - 1  # facts of the last event may be missing
    special = [event for event in special if event.position <= upto]
    special_positions = frozenset(event.position for event in special)
    facts = [fact_of_row(row) for row in rows if row["position"] <= upto]
    facts = [fact for fact in facts if fact.position not in special_positions]
    messages = [recorded_message(fact) for fact in facts if _is_wanted(selection, fact)]
    touched = [TouchedFact(fact.position, fact.subject_kind, fact.subject, fact.kind) for fact in facts]
    for changed in await read_facts_changed(connection, ledger_id, special):
        messages += _changed_messages(selection, changed)
        for fact, _ in (*changed.retracted, *changed.added):
            touched.append(TouchedFact(changed.event.position, fact.subject_kind, fact.subject, type(fact).__name__))
    messages = [one for one in messages if one.type in selection.types]
    feed_range = FeedRange(ledger_id, first, upto, special_positions)
    messages += await read_changes(connection, feed_range, selection.types, touched)
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


def _is_wanted(selection: FeedSelection, fact: FeedFact) -> bool:
    return not selection.kinds or fact.kind in selection.kinds


def _changed_messages(selection: FeedSelection, changed: FactsChanged) -> list[Message]:
    """Return the messages about the facts that a special event changes."""
    position, at = changed.event.position, changed.event.recorded_at
    retracted = [fact for fact in map(fact_of_recorded, changed.retracted) if _is_wanted(selection, fact)]
    added = [fact for fact in map(fact_of_recorded, changed.added) if _is_wanted(selection, fact)]
    return [
        *(recorded_message(fact) for fact in added if fact.position == position),
        *retracted_messages(retracted, position, at),
        *restored_messages([fact for fact in added if fact.position < position], position, at),
    ]
