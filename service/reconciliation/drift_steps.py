"""Steps of the difference between an account's balance and the vendor's claims, found in the account's lines. Pure."""

from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from projections.accounts.lots import ZERO, Posting

ADJUSTMENTS = frozenset({"AdjustmentMade", "AdjustmentReversed"})


class LineEvidence(NamedTuple):
    """What the evidence needs of one line of a statement."""

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
        """Points of history that the line took for granted, because a debit or an expiry needed them."""
        return sum((points for source, _, points, lot in self.postings if source == "unseen" and lot), ZERO)

    @property
    def effect(self) -> Decimal:
        """By how much the vendor's event changes its balance, without what we took for granted."""
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
    """A transfer of which one half was told."""

    subject: str
    points: Decimal
    position: int
    to_us: bool  # the sender's half was told, and this customer is to receive


class UnreadEvidence(NamedTuple):
    """An event that could not be read and may concern the holder."""

    position: int
    kind: str
    names_holder: bool  # it names the customer; otherwise its body is closed to us


class Evidence(NamedTuple):
    """What the rows tell of one account in drift. `whole` is False where there are more lines than were read."""

    missing: Decimal
    drift: Decimal
    agreed_position: int | None
    lines: Sequence[LineEvidence]
    whole: bool = True
    adopted: Set[str] = frozenset()  # adjustments by which a claim was adopted, and which stand
    withdrawn: Set[str] = frozenset()  # adjustments that were reversed
    siblings: Sequence[tuple[str, LineEvidence]] = ()  # lines of the holder's other programmes: (programme, line)
    lots: Sequence[LotEvidence] = ()
    transfers: Sequence[TransferEvidence] = ()
    conflicts: Set[int] = frozenset()  # positions of events that were told with several contents
    unread: Sequence[UnreadEvidence] = ()


class DriftStep(NamedTuple):
    """By how much the vendor's balance moved away from ours between two claims, or since the last one."""

    amount: Decimal
    before: LineEvidence | None  # the claim before
    lines: Sequence[LineEvidence]  # after it, up to the claim or debit that shows the difference
    by: LineEvidence

    @property
    def is_claimed(self) -> bool:
        return self.by.claimed is not None


def find_steps(evidence: Evidence) -> list[DriftStep]:
    """Find the steps of the difference since the claims last agreed."""
    first = first_line_after_agreement(evidence)
    before = evidence.lines[first - 1] if first else None
    drift = unseen = adjusted = ZERO
    has_claim = before is not None and before.claimed is not None
    steps: list[DriftStep] = []
    since: list[LineEvidence] = []
    for line in evidence.lines[first:]:
        since.append(line)
        if line.kind in ADJUSTMENTS and line.reference in evidence.withdrawn & evidence.adopted:
            continue  # taken over and given back: as if it had never been
        if line.kind in ADJUSTMENTS and line.reference in evidence.adopted:  # it closed what was open, or overshot it
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
    """Give the index of the line after the claim with which everything last agreed; before the first claim if none
    ever did."""
    agreed = [
        index
        for index, line in enumerate(evidence.lines)
        if line.claimed is not None and line.position == evidence.agreed_position and not line.drift
    ]
    if agreed:
        return agreed[-1] + 1
    return next((index for index, line in enumerate(evidence.lines) if line.claimed is not None), 0)


def positions_of(lines: Iterable[LineEvidence]) -> list[int]:
    """Give the positions of the events behind some lines."""
    return sorted({line.position for line in lines if line.position is not None})
