"""Messages about changes of rows, such as `balance.changed`, for a range of positions.

How it works:

1. The subjects that the facts of the range touch are read with all their facts, as known at the end of the range.
2. Each is folded to the begin of the range, then event by event. The rows before and after an event are compared.
3. Some events change more than the facts they bring: a merge, a conflict, a policy, terms. Such an event is a range of
   its own, and the rows are folded as known before it and after it (projections/queries/as_of.py).

4. New terms of a programme may change every account of its organisation. Those are folded some hundreds at a time.

All ways give the rows as known at a position, which never change. So the borders of ranges change no message.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.errors import Unfoldable
from ledger.facts import RecordedFact
from projections.definition import FoldedSubject, Projection, fact_key, fold_facts, fold_until_failure, with_rows
from projections.engine.programme_terms import load_terms
from projections.programme_terms import Terms
from projections.queries.as_of import AsOf, group_by_root, load_known, load_related_facts
from service.formatting import encode_json
from service.outgoing.messages import CHANGES, ORDINALS_PER_GROUP, TERMS, FeedCursor, Message, sequence_of
from service.outgoing.watched_rows import WATCHES, Rows, Watch, rows_by_key

TERMS_SUBJECTS = "programme"
ORDINALS_PER_TYPE = 30_000
SUBJECTS_PER_READ = 500  # of those that new terms may change
CHANGES_BY_TERMS_MAX = ORDINALS_PER_GROUP - 1  # of one event; further ones are not announced

RECORDED_TIMES = "SELECT position, recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = ANY ($2)"

# Read from the facts, not from the rows: accounts may have been merged since.
SUBJECTS_OF_ORGANISATION = """
    SELECT DISTINCT subject FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject > $3 AND subject < $4 AND position < $5
     ORDER BY subject LIMIT $6
"""

_log = logging.getLogger(__name__)


class FeedRange(NamedTuple):
    """The positions after `after` up to `upto`. `special` are those of conflicts and policies."""

    ledger_id: int
    after: int
    upto: int
    special: frozenset[int]


class TouchedFact(NamedTuple):
    """A fact of the range, as far as it decides which subjects are folded."""

    position: int
    subject_kind: str
    subject: str
    kind: str


class AnnouncedChange(NamedTuple):
    """The data of one announced change, and its place."""

    position: int
    watch: Watch
    key: str
    data: dict[str, Any]
    group: int = CHANGES  # of its sequence


async def read_changes(
    connection: Connection, feed_range: FeedRange, types: Iterable[str], touched: Sequence[TouchedFact]
) -> list[Message]:
    """Return the messages about changes by the events of a range. `touched` are the facts that these change."""
    watches = [WATCHES[name] for name in WATCHES if name in types]
    if not watches or not touched:
        return []
    ledger_id = feed_range.ledger_id
    special = feed_range.special | _special_positions(watches, touched)
    changes: list[AnnouncedChange] = []
    for first, last in _ranges(feed_range.after, feed_range.upto, special):
        facts = [one for one in touched if first <= one.position <= last]
        for watch in watches:
            programmes = {one.subject: one.kind for one in facts if one.subject_kind == TERMS_SUBJECTS}
            if first == last and programmes and watch.projection.attach_terms is not None:
                changes += await _compare_terms(connection, ledger_id, watch, first, programmes)
                continue
            by_position = _subjects_by_position(watch.projection, facts)
            if not by_position:
                continue
            compare = _compare_known if first == last and first in special else _compare_in_order
            changes += await compare(connection, ledger_id, watch, by_position, first - 1)
    return await _messages(connection, ledger_id, changes)


def _special_positions(watches: Sequence[Watch], touched: Sequence[TouchedFact]) -> frozenset[int]:
    """Return the positions of facts that merge subjects or set terms."""
    merging = {fact.__name__ for watch in watches for fact in watch.projection.merging_facts}
    special = (one.position for one in touched if one.kind in merging or one.subject_kind == TERMS_SUBJECTS)
    return frozenset(special)


def _ranges(after: int, upto: int, special: Set[int]) -> Iterator[tuple[int, int]]:
    """Divide the positions: each special one alone, and the ranges between them."""
    first = after + 1
    for position in sorted(special):
        if first < position:
            yield first, position - 1
        yield position, position
        first = position + 1
    if first <= upto:
        yield first, upto


def _subjects_by_position(projection: Projection, facts: Iterable[TouchedFact]) -> Mapping[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for one in facts:
        if one.subject_kind == projection.subject:
            found[one.position].add(one.subject)
    return found


async def _compare_known(
    connection: Connection, ledger_id: int, watch: Watch, by_position: Mapping[int, set[str]], before: int
) -> list[AnnouncedChange]:
    """Compare the rows as known before a special event and after it."""
    [(position, subjects)] = by_position.items()
    rows_before: Rows = {}
    rows: dict[str, Any] = {}
    facts: list[RecordedFact] = []
    asked = sorted(subjects)
    for known_at in (before, position):
        rows_before, rows = rows, {}
        for known in await load_known(connection, ledger_id, watch.projection, asked, AsOf(position=known_at)):
            folded = fold_until_failure(watch.projection, known.root, known.facts, known.terms)
            rows.update(rows_by_key(watch, known.root, folded.rows))
            facts += [one for one in known.facts if one.occurrence.position == position]
    return list(_differences(watch, position, rows_before, rows, facts))


async def _compare_terms(
    connection: Connection, ledger_id: int, watch: Watch, position: int, programmes: Mapping[str, str]
) -> list[AnnouncedChange]:
    """Compare the rows of all subjects that new terms may concern. `programmes` maps each to the kind of the fact."""
    changes: list[AnnouncedChange] = []
    organisations = {programme.rpartition(":")[0]: kind for programme, kind in programmes.items()}
    for organisation, kind in sorted(organisations.items()):
        last, beyond = f"{organisation}:", f"{organisation};"
        while len(changes) < CHANGES_BY_TERMS_MAX:
            asked = (ledger_id, watch.projection.subject, last, beyond, position, SUBJECTS_PER_READ)
            subjects = [row["subject"] for row in await connection.fetch(SUBJECTS_OF_ORGANISATION, *asked)]
            if not subjects:
                break
            last = subjects[-1]
            found = await _compare_known(connection, ledger_id, watch, {position: {*subjects}}, position - 1)
            changes += [one._replace(data={**one.data, "reason": kind}, group=TERMS) for one in found]
    if len(changes) > CHANGES_BY_TERMS_MAX:
        _log.warning("position %s changes more than %s balances; others are not announced", position, len(changes))
    return changes[:CHANGES_BY_TERMS_MAX]


async def _compare_in_order(
    connection: Connection, ledger_id: int, watch: Watch, by_position: Mapping[int, set[str]], before: int
) -> list[AnnouncedChange]:
    """Fold each touched subject event by event, and compare the rows before and after each."""
    projection, last = watch.projection, max(by_position)
    subjects = sorted(set().union(*by_position.values()))
    found = await load_related_facts(connection, ledger_id, projection, subjects, AsOf(position=last))
    terms = await load_terms(connection, ledger_id, projection, last)
    changes: list[AnnouncedChange] = []
    for known in group_by_root(projection, found, terms):
        new = sorted({one.occurrence.position for one in known.facts if one.occurrence.position > before})
        if not new:
            continue
        steps = _fold_in_order(projection, known.root, known.facts, new, terms)
        rows = rows_by_key(watch, known.root, next(steps).rows)
        for position, folded in zip(new, steps, strict=True):
            facts = [one for one in known.facts if one.occurrence.position == position]
            rows_after = rows_by_key(watch, known.root, folded.rows)
            changes += _differences(watch, position, rows, rows_after, facts)
            rows = rows_after
    return changes


def _fold_in_order(
    projection: Projection, root: str, facts: Sequence[RecordedFact], positions: Sequence[int], terms: Terms
) -> Iterator[FoldedSubject]:
    """Yield a subject as known before the first position, then as known at each. `facts` are in the order of the fold.

    A fact that comes last is folded onto the state. A late one makes the subject be folded from its start.
    """
    known = [one for one in facts if one.occurrence.position < positions[0]]
    folded = fold_until_failure(projection, root, known, terms)
    yield folded
    for position in positions:
        new = [one for one in facts if one.occurrence.position == position]
        is_last = folded.parked is None and fact_key(new[0]) > folded.last_fact
        try:
            if not is_last:
                raise Unfoldable(projection.name, "", "a late fact", position, 0)
            folded = with_rows(projection, fold_facts(projection, folded, new, terms), new)
        except Unfoldable:
            known = [one for one in facts if one.occurrence.position <= position]
            folded = fold_until_failure(projection, root, known, terms)
        yield folded


def _differences(
    watch: Watch, position: int, before: Rows, after: Rows, facts: Sequence[RecordedFact]
) -> Iterator[AnnouncedChange]:
    for key in sorted(before.keys() | after.keys()):
        data = watch.describe(before.get(key), after.get(key), facts)
        if data is not None:
            yield AnnouncedChange(position, watch, key, data)


async def _messages(connection: Connection, ledger_id: int, changes: Sequence[AnnouncedChange]) -> list[Message]:
    positions = sorted({one.position for one in changes})
    times = dict(await connection.fetch(RECORDED_TIMES, ledger_id, positions)) if positions else {}
    numbers: dict[tuple[int, str], int] = defaultdict(int)
    messages = []
    for one in sorted(changes, key=lambda one: (one.position, one.watch.type, one.key)):
        place = one.position, one.watch.type
        messages.append(_message(one, list(WATCHES).index(one.watch.type), numbers[place], times[one.position]))
        numbers[place] += 1
    return messages


def _message(change: AnnouncedChange, type_number: int, number: int, at: datetime) -> Message:
    position, watch, key, data, group = change
    ordinal = number if group == TERMS else type_number * ORDINALS_PER_TYPE + number
    return Message(
        FeedCursor(position),
        f"{position}/{watch.type}/{key}",
        watch.type,
        f"{watch.projection.subject}/{key}",
        at,
        sequence_of(position, group, ordinal),
        encode_json({"position": position, **data}).strip(),
    )
