"""Facts, and the time and place of their occurrence.

A fact is the meaning of an event, about exactly one subject. It is in the past tense and never holds a personal value.
Points are exact decimals, times are aware UTC, ids are text. `rank` orders facts of the same instant by meaning.
"""

from datetime import datetime
from typing import ClassVar, NamedTuple

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one subject. `subject` identifies it within its `subject_kind`."""

    subject_kind: ClassVar[str]
    rank: ClassVar[int] = 50

    @property
    def subject(self) -> str:
        raise NotImplementedError

    @property
    def alias(self) -> str | None:
        """A second name of the subject, None if there is none. See projections/engine/groups.py."""
        return None

    @property
    def alias_only(self) -> bool:
        """True if `subject` was made from the alias, because the vendor reported no id."""
        return False


def quote_id(identifier: str) -> str:
    """Escape colons and percent signs in an id. Then ids joined by colons cannot be confused."""
    return identifier.replace("%", "%25").replace(":", "%3A") if ":" in identifier or "%" in identifier else identifier


def unquote_id(identifier: str) -> str:
    """Undo `quote_id`."""
    return identifier.replace("%3A", ":").replace("%25", "%")


class Occurrence(NamedTuple):
    """The time of a fact and its place in the ledger. Everything except `position` is independent of the order of
    arrival.
    """

    occurred_at: datetime
    event_tag: bytes  # made of the event's key and content; orders facts of equal times
    ordinal: int  # index of the fact within its event
    position: int  # position of the event in the ledger
    # The vendor states no time, or an impossible time, for example one after we recorded the event. Then `occurred_at`
    # is the recorded time, and invariant 5 does not cover the fact.
    untimed: bool = False


class RecordedFact(NamedTuple):
    """A fact with its occurrence."""

    fact: Fact
    occurrence: Occurrence
