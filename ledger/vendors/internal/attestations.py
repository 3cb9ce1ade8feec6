"""Internal events: attestations of the digests and totals of all projections at a position. They have no facts."""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.facts import Fact
from ledger.vendors.fields import StrictModel
from ledger.vendors.vendor import EventContext, EventType


class RuleVersions(StrictModel):
    """The version of each projection, and a hash of the code that interprets and folds."""

    projections: Mapping[str, int]
    code: str


class AttestationPayload(StrictModel):
    """The digest of each table, and the trial balance by unit and class, up to a position."""

    position: int
    digests: Mapping[str, str]
    trial_balance: Mapping[str, Mapping[str, str]]
    rules: RuleVersions


def attested(_event: AttestationPayload, _context: EventContext) -> Sequence[Fact]:
    """An attestation describes the state and changes nothing."""
    return []


KINDS: dict[str, EventType[Any]] = {"attested": EventType(AttestationPayload, attested)}
