"""The result of comparing two generations: counts of differences, and the first of them with explanations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SUBJECTS_LISTED_MAX = 1_000


class Difference(NamedTuple):
    """One difference between two generations.

    Without a column, the whole row exists in only one of them. Without a subject, the whole column does.
    """

    ledger: str
    projection: str
    table: str
    subject_kind: str
    subject: str
    key: Mapping[str, Any]
    column: str | None
    old: Any
    new: Any
    expected: bool


@dataclass(slots=True)
class Comparison:
    """All differences between two generations. `places` counts all; `subjects` explains the first ones."""

    old: int | None
    new: int | None
    positions: dict[str, int] = field(default_factory=dict)  # by ledger
    rows: Counter[str] = field(default_factory=Counter)  # number of compared rows, by table
    differing: dict[str, list[str]] = field(default_factory=dict)  # tables, by ledger
    places: Counter[str] = field(default_factory=Counter)  # by table and column, "accounts.available"
    expected: int = 0
    unexpected: int = 0
    subjects: list[dict[str, Any]] = field(default_factory=list)
    new_tables: list[str] = field(default_factory=list)  # that the old generation does not have
    frozen: bool = False  # another version made the old generation's shared tables: not compared

    @property
    def has_room(self) -> bool:
        """Return True if the next subject will be listed with its explanation."""
        return len(self.subjects) < SUBJECTS_LISTED_MAX

    def take(self, differences: Sequence[Difference], explanation: Mapping[str, Any]) -> None:
        """Count the differences of one subject. List them with their explanation while there is room."""
        for difference in differences:
            self.places[f"{difference.table}.{difference.column or '(row)'}"] += 1
            self.expected += difference.expected
            self.unexpected += not difference.expected
            tables = self.differing.setdefault(difference.ledger, [])
            if difference.table not in tables:
                tables.append(difference.table)
        if self.has_room:
            first = differences[0]
            listed = [
                {
                    "table": difference.table,
                    "key": difference.key,
                    "column": difference.column,
                    "old": difference.old,
                    "new": difference.new,
                    "expected": difference.expected,
                }
                for difference in differences
            ]
            subject = {"ledger": first.ledger, "projection": first.projection, "subject": first.subject}
            self.subjects.append({**subject, "differences": listed, **explanation})

    def summary(self) -> dict[str, Any]:
        """Return the part that is stored with a generation: all but the subjects."""
        return {
            "with": self.old,
            "positions": self.positions,
            "rows": sum(self.rows.values()),
            "differing": self.differing,
            "places": dict(self.places),
            "expected": self.expected,
            "unexpected": self.unexpected,
            "new_tables": self.new_tables,
            "frozen": self.frozen,
        }
