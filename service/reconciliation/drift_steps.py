"""Steps of the difference between an account's balance and the vendor's claims, found in the account's lines. Pure."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from projections.accounts.account import ZERO, Posting

ADJUSTMENTS = frozenset({"AdjustmentMade", "AdjustmentReversed"})


class LineEvidence(NamedTuple):
    """The values of one statement line that the evidence needs."""

    line: int
    occurred_at: datetime
    kind: str
    points: Decimal
    claimed: Decimal | None
    drift: Decimal | None
    reference: str | None
    untied: Decimal | None
    postings: Sequence[Posting]
    position: int | None

    @property
    def asserted(self) -> Decimal:
        """Unseen points that the line needed, because a debit or an expiry exceeded the known lots."""
        return sum((points for source, _, points, lot in self.postings if source == "unseen" and lot), ZERO)

    @property
    def effect(self) -> Decimal:
        """Change of the vendor's balance by the event, without unseen points."""
        unseen = sum(
            (points for source, to, points, _ in self.postings if (source, to) == ("unseen", "available")), ZERO
        )
        return self.points - unseen


class LotEvidence(NamedTuple):
    """A lot as it is now."""

    lot_id: str
    remaining: Decimal
    expires_on: Any


class TransferEvidence(NamedTuple):
    """A transfer with one reported half."""

    subject: str
    points: Decimal
    position: int
    to_us: bool  # the sender's half was reported, and this customer is the receiver


class UnreadEvidence(NamedTuple):
    """An event that could not be read and may concern the holder."""

    position: int
    kind: str
    names_holder: bool  # False if the body cannot be read


class Evidence(NamedTuple):
    """Evidence about one account in drift. `whole` is False if not all lines and lots were read."""

    missing: Decimal
    drift: Decimal
    agreed_position: int | None
    lines: Sequence[LineEvidence]
    complete: bool = True
    adopted: Set[str] = frozenset()  # adjustments that adopted a claim
    reversed: Set[str] = frozenset()  # adjustments that were reversed
    siblings: Sequence[tuple[str, LineEvidence]] = ()  # lines of the holder's other programmes: (programme, line)
    lots: Sequence[LotEvidence] = ()
    transfers: Sequence[TransferEvidence] = ()
    conflicts: Set[int] = frozenset()  # positions of events with several contents
    unread: Sequence[UnreadEvidence] = ()


class DriftStep(NamedTuple):
    """A change of the difference between the vendor's balance and ours: between two claims, or since the last claim."""

    amount: Decimal
    before: LineEvidence | None  # the claim before the step
    lines: Sequence[LineEvidence]  # the step's lines, up to the claim or debit that shows the difference
    by: LineEvidence

    @property
    def is_claimed(self) -> bool:
        return self.by.claimed is not None


def find_steps(evidence: Evidence) -> list[DriftStep]:
    """Find the steps of the difference since the last agreement."""
    first = first_line_after_agreement(evidence)
    before = evidence.lines[first - 1] if first else None
    drift = unseen = adjusted = ZERO
    has_claim = before is not None and before.claimed is not None
    steps: list[DriftStep] = []
    since: list[LineEvidence] = []
    for line in evidence.lines[first:]:
        since.append(line)
        if line.kind in ADJUSTMENTS and line.reference in evidence.reversed & evidence.adopted:
            continue  # adopted and reversed: no effect
        if line.kind in ADJUSTMENTS and line.reference in evidence.adopted:  # it closed the difference or more
            drift, unseen = drift - adjusted - line.points, ZERO
            steps = [DriftStep(drift, before, (line,), line)] if drift else []
            before, adjusted, since = line, ZERO, []
            continue
        if has_claim:
            unseen += line.asserted
            adjusted += line.points if line.kind in ADJUSTMENTS else ZERO
        if line.claimed is None or line.drift is None:
            continue
        amount = line.drift - drift + unseen
        if amount:
            steps.append(DriftStep(amount, before, tuple(since), line))
        drift, unseen, adjusted, before, has_claim = line.drift, ZERO, ZERO, line, True
        since = []
    if unseen - adjusted:
        shows = [line for line in since if line.asserted or line.kind in ADJUSTMENTS]
        steps.append(DriftStep(unseen - adjusted, before, tuple(since[: since.index(shows[-1]) + 1]), shows[-1]))
    return steps


def first_line_after_agreement(evidence: Evidence) -> int:
    """Return the index of the first line after the last claim that agreed. Without one, the index of the first
    claim."""
    agreed = [
        index
        for index, line in enumerate(evidence.lines)
        if line.claimed is not None and line.position == evidence.agreed_position and not line.drift
    ]
    if agreed:
        return agreed[-1] + 1
    return next((index for index, line in enumerate(evidence.lines) if line.claimed is not None), 0)


def positions_of(lines: Iterable[LineEvidence]) -> list[int]:
    """Return the sorted positions of the events of some lines."""
    return sorted({line.position for line in lines if line.position is not None})
