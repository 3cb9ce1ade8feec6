"""Tell facts and fold them the way the engine does: in order, whatever order they were told in.

The fold is done twice, at once and fact by fact with the state written down in between, and must come out the same.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.facts import Fact, Occurrence, RecordedFact
from projections.definition import Projection, fold, key_of
from projections.engine.snapshots import decode_state, encode_state

FIRST_DAY = datetime(2024, 1, 1, 12, tzinfo=UTC)


def day(number: int) -> datetime:
    """Give noon of a day, the first being 1."""
    return FIRST_DAY + timedelta(days=number - 1)


def on(number: int, fact: Fact, position: int | None = None) -> RecordedFact:
    """Tell a fact as of a day; its event stands at this position, by default the number of the day."""
    return RecordedFact(
        fact, Occurrence(day(number), b"%08d%08d" % (number, number), 0, number if position is None else position)
    )


def rows_of(projection: Projection, *told: RecordedFact) -> dict[str, list[Any]]:
    """Fold facts of one subject and give its rows by table."""
    history = sorted(told, key=key_of)
    subjects = {fact.subject for fact, _ in history}
    assert len(subjects) == 1, "these facts are about several subjects"
    state = projection.start()
    for one in history:
        state = fold(projection, [one], decode_state(projection, encode_state(state)))
    assert state == fold(projection, history)
    tables = {name: list(rows) for name, rows in projection.rows(subjects.pop(), state).items()}
    for table in projection.tables:
        if table.grows:  # its rows leave the state as they are made
            continue
        assert all(len(row) == len(table.columns) for row in tables[table.name])
    return tables


def row_of(projection: Projection, *told: RecordedFact) -> Any:
    """Fold facts of one subject and give the one row of its first table."""
    (row,) = rows_of(projection, *told)[projection.tables[0].name]
    return row
