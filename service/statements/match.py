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
    untimed: bool = False  # of ours: the event states no time, and `day` is the day of recording


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

    def take(theirs_entry: StatementEntry, entry_ours: StatementEntry, by: str) -> None:
        pairs.append(EntryPair(theirs_entry, entry_ours, by))
        del left[theirs_entry.number], right[entry_ours.number]

    for entry_theirs, entry_ours in _by_reference(list(left.values()), list(right.values())):
        take(entry_theirs, entry_ours, "reference")
    for entry_theirs, entry_ours in _by_amount(list(left.values()), list(right.values()), 0):
        take(entry_theirs, entry_ours, "day")
    for entry_theirs, entry_ours in _by_amount(list(left.values()), list(right.values()), days):
        take(entry_theirs, entry_ours, "days")
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
        for entry_theirs in theirs:
            if entry_theirs.number in met or entry_theirs.reference is None:
                continue
            for entry_ours in by_name.get(entry_theirs.reference.strip(), ()):
                if entry_ours.number not in taken and (not equal or entry_ours.points == entry_theirs.points):
                    taken.add(entry_ours.number)
                    met.add(entry_theirs.number)
                    yield entry_theirs, entry_ours
                    break


def reference_names(reference: str | None) -> set[str]:
    """Return the names by which others may call one of our references: the whole reference, and the vendor's own id."""
    if not reference:
        return set()
    return {reference, unquote_id(reference.rpartition(":")[2])}


def _days_apart(theirs: StatementEntry, ours: StatementEntry, days: int) -> int:
    """Return the days between two entries, at most `days` + 1."""
    return min(abs((theirs.day - ours.day).days), days + 1)


def _by_amount(
    theirs: Sequence[StatementEntry], ours: Sequence[StatementEntry], days: int
) -> Iterator[tuple[StatementEntry, StatementEntry]]:
    """Match equal amounts at most `days` apart: the nearest first, then the earliest. An untimed entry matches any day,
    after all others.
    """
    by_amount: dict[Decimal, list[StatementEntry]] = defaultdict(list)
    for entry in ours:
        by_amount[entry.points].append(entry)
    near = [
        (apart, entry_theirs.day, entry_theirs.number, entry_ours.number, entry_theirs, entry_ours)
        for entry_theirs in theirs
        for entry_ours in by_amount.get(entry_theirs.points, ())
        if (apart := _days_apart(entry_theirs, entry_ours, days)) <= (days + 1 if days and entry_ours.untimed else days)
    ]
    taken: set[tuple[str, int]] = set()
    for _, _, _, _, entry_theirs, entry_ours in sorted(near, key=lambda pair: pair[:4]):
        if ("theirs", entry_theirs.number) not in taken and ("ours", entry_ours.number) not in taken:
            taken |= {("theirs", entry_theirs.number), ("ours", entry_ours.number)}
            yield entry_theirs, entry_ours
