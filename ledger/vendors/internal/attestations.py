"""Attestations as we write them into the ledger: what the views came to at a position. They change no view."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.facts import Fact
from ledger.vendors.fields import StrictModel
from ledger.vendors.vendor import EventContext, EventType


class RuleVersions(StrictModel):
    """By which rules: the version of each projection, and a hash of the code that reads and folds."""

    projections: Mapping[str, int]
    code: str


class AttestationPayload(StrictModel):
    """The digest of every table, and the sum of all postings by unit and class, over the events up to a position."""

    position: int
    digests: Mapping[str, str]
    trial_balance: Mapping[str, Mapping[str, str]]
    rules: RuleVersions


def attested(_event: AttestationPayload, _context: EventContext) -> Sequence[Fact]:
    """It says what is, and makes nothing so."""
    return []


KINDS: dict[str, EventType[Any]] = {"attested": EventType(AttestationPayload, attested)}
