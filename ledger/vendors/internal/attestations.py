"""Attestations as we write them into the ledger: what the views came to at a position. They change no view."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.facts import Fact
from ledger.vendors.fields import StrictShape
from ledger.vendors.vendor import EventContext, EventType


class Rules(StrictShape):
    """By which rules: the version of each projection, and a hash of the code that reads and folds."""

    projections: Mapping[str, int]
    code: str


class Attested(StrictShape):
    """The digest of every table, and the sum of all postings by unit and class, over the events up to a position."""

    position: int
    digests: Mapping[str, str]
    trial_balance: Mapping[str, Mapping[str, str]]
    rules: Rules


def attested(_event: Attested, _stamp: EventContext) -> Sequence[Fact]:
    """It says what is, and makes nothing so."""
    return []


KINDS: dict[str, EventType[Any]] = {"attested": EventType(Attested, attested)}
