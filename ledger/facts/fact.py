"""What a fact is, and when it happened.

A fact is what an event means, about exactly one subject; it is past tense and never carries a personal value. Points
are exact decimals, times aware UTC, ids text. `rank` orders facts of the same instant by meaning.
"""

from datetime import datetime
from typing import ClassVar, NamedTuple

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is so about one subject; `subject` names it within its `subject_kind`."""

    subject_kind: ClassVar[str]
    rank: ClassVar[int] = 50

    @property
    def subject(self) -> str:
        raise NotImplementedError

    @property
    def alias(self) -> str | None:
        """Another name of the subject; None if there is none. See projections/engine/groups.py."""
        return None

    @property
    def alias_only(self) -> bool:
        """True if the subject is named by its alias, because nothing better was told."""
        return False


def quote_id(identifier: str) -> str:
    """Write an id so that it may stand between colons: ids made of several can then not be taken for others."""
    return identifier.replace("%", "%25").replace(":", "%3A") if ":" in identifier or "%" in identifier else identifier


def unquote_id(identifier: str) -> str:
    """Read back what `quoted` wrote."""
    return identifier.replace("%3A", ":").replace("%25", "%")


class Occurrence(NamedTuple):
    """When a fact happened and where it was told. All but `position` is the same in whatever order events arrive."""

    occurred_at: datetime
    tag: bytes  # names the event by its key and content, so that equal times still have one order
    ordinal: int  # which fact of its event
    position: int  # the event's place in the ledger
    # The vendor gives no time, or one that cannot be true, such as one after we recorded the event: `occurred_at` is
    # when we recorded it, and law 5 exempts it.
    untimed: bool = False


class RecordedFact(NamedTuple):
    """One fact with its occurrence."""

    fact: Fact
    occurrence: Occurrence
