"""Matches the entries of one account: first by reference, then by amount and day, then by amount within some days.

Each entry is matched at most once. The result does not depend on the order of the entries. A reference known on both
sides is the stronger evidence: if the amounts then differ, that is a difference, and neither entry is matched with
another. Pure.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from ledger.facts.fact import unquote_id


class StatementEntry(NamedTuple):
    """One entry of either side. `number` is its line on that side."""

    number: int
    day: date
    points: Decimal
    reference: str | None
    kind: str | None = None
    position: int | None = None


class EntryPair(NamedTuple):
    """Two matching entries, and the criterion of the match. One side is None for an entry without a match."""

    theirs: StatementEntry | None
    ours: StatementEntry | None
    by: str  # reference, day or days; leftover without a match


def match_entries(theirs: Sequence[StatementEntry], ours: Sequence[StatementEntry], days: int) -> list[EntryPair]:
    """Match entries. Unmatched entries come last, each alone."""
    left = {entry.number: entry for entry in sorted(theirs, key=_order)}
    right = {entry.number: entry for entry in sorted(ours, key=_order)}
    pairs: list[EntryPair] = []

    def take(one: StatementEntry, other: StatementEntry, by: str) -> None:
        pairs.append(EntryPair(one, other, by))
        del left[one.number], right[other.number]

    for one, other in _by_reference(list(left.values()), list(right.values())):
        take(one, other, "reference")
    for one, other in _by_amount(list(left.values()), list(right.values()), 0):
        take(one, other, "day")
    for one, other in _by_amount(list(left.values()), list(right.values()), days):
        take(one, other, "days")
    pairs += [EntryPair(entry, None, "leftover") for entry in left.values()]
    pairs += [EntryPair(None, entry, "leftover") for entry in right.values()]
    return pairs


def _order(entry: StatementEntry) -> tuple[date, int]:
    return (entry.day, entry.number)


def _by_reference(
    theirs: Sequence[StatementEntry], ours: Sequence[StatementEntry]
) -> Iterator[tuple[StatementEntry, StatementEntry]]:
    """Match entries with the same reference. If several have it, equal amounts come first."""
    by_name: dict[str, list[StatementEntry]] = defaultdict(list)
    for entry in ours:
        for name in reference_names(entry.reference):
            by_name[name].append(entry)
    taken: set[int] = set()
    met: set[int] = set()
    for equal in (True, False):
        for one in theirs:
            if one.number in met or one.reference is None:
                continue
            for other in by_name.get(one.reference.strip(), ()):
                if other.number not in taken and (not equal or other.points == one.points):
                    taken.add(other.number)
                    met.add(one.number)
                    yield one, other
                    break


def reference_names(reference: str | None) -> set[str]:
    """Return the names by which others may call one of our references: the whole reference, and the vendor's own id."""
    if not reference:
        return set()
    return {reference, unquote_id(reference.rpartition(":")[2])}


def _by_amount(
    theirs: Sequence[StatementEntry], ours: Sequence[StatementEntry], days: int
) -> Iterator[tuple[StatementEntry, StatementEntry]]:
    """Match equal amounts at most `days` apart: the nearest first, then the earliest."""
    by_amount: dict[Decimal, list[StatementEntry]] = defaultdict(list)
    for entry in ours:
        by_amount[entry.points].append(entry)
    near = [
        (abs((one.day - other.day).days), one.day, one.number, other.number, one, other)
        for one in theirs
        for other in by_amount.get(one.points, ())
        if abs((one.day - other.day).days) <= days
    ]
    taken: set[tuple[str, int]] = set()
    for _, _, _, _, one, other in sorted(near, key=lambda pair: pair[:4]):
        if ("theirs", one.number) not in taken and ("ours", other.number) not in taken:
            taken |= {("theirs", one.number), ("ours", other.number)}
            yield one, other
