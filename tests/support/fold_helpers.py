"""Record facts, and fold them as the engine does: in the order of the fold, whatever the order of the arguments.

Each fold is done twice: at once, and fact by fact with the state encoded in between. Both must give the same result.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.facts import Fact, Occurrence, RecordedFact
from projections.definition import Projection, fact_key, fold
from projections.engine.snapshots import decode_state, encode_state

FIRST_DAY = datetime(2024, 1, 1, 12, tzinfo=UTC)


def day(number: int) -> datetime:
    """Return noon of a day. Day 1 is 1 January 2024."""
    return FIRST_DAY + timedelta(days=number - 1)


def on(number: int, fact: Fact, position: int | None = None) -> RecordedFact:
    """Record a fact as of a day. Its event has the given position, by default the number of the day."""
    return RecordedFact(
        fact, Occurrence(day(number), b"%08d%08d" % (number, number), 0, number if position is None else position)
    )


def rows_of(projection: Projection, *facts: RecordedFact) -> dict[str, list[Any]]:
    """Fold facts of one subject and return its rows by table."""
    history = sorted(facts, key=fact_key)
    subjects = {fact.subject for fact, _ in history}
    assert len(subjects) == 1, "these facts are about several subjects"
    state = projection.start()
    for fact in history:
        state = fold(projection, [fact], decode_state(projection, encode_state(state)))
    assert state == fold(projection, history)
    tables = {name: list(rows) for name, rows in projection.rows(subjects.pop(), state).items()}
    for table in projection.tables:
        if table.append_only:  # its rows leave the state as they are made
            continue
        assert all(len(row) == len(table.columns) for row in tables[table.name])
    return tables


def row_of(projection: Projection, *facts: RecordedFact) -> Any:
    """Fold facts of one subject and return the one row of its first table."""
    (row,) = rows_of(projection, *facts)[projection.tables[0].name]
    return row
