"""Drift: by how much the vendor's claims differ from what we hold, since which claim, and what must have been missed.

A debit beyond the lots we know asserts history that we have not seen, so a missing event may hide there instead of in
the balance. `missing` therefore is both together: the drift, and what was asserted since claims began. Adopting the
claim closes the matter without forgetting it: what was adopted since the last claim is kept apart, so that reversing
the adoption brings everything back as it was.
"""

from datetime import datetime
from decimal import Decimal

from ledger.facts import Occurrence
from projections.accounts.lots import ZERO, Account


def compare(account: Account, claimed: Decimal, occurrence: Occurrence) -> None:
    """Compare what the vendor claims to be available with what is."""
    account.unseen_since -= account.accepted
    account.adopted = account.accepted = ZERO
    account.adopted_at, account.adopted_position = None, 0
    account.claimed, account.claimed_at = claimed, occurrence.occurred_at
    account.drift = claimed - account.available
    if not account.drift and not account.unseen_since:
        account.drift_since = account.drift_position = None
        account.agreed_at, account.agreed_position = occurrence.occurred_at, occurrence.position
    elif account.drift_since is None:
        account.drift_since, account.drift_position = occurrence.occurred_at, occurrence.position


def adopt(account: Account, points: Decimal, accepted: Decimal, occurrence: Occurrence) -> None:
    """Count what an adjustment changed, or its reversal changed back, against the last claim; without one, nothing."""
    if account.claimed is None:
        return
    account.drift -= points
    account.adopted += points
    account.accepted += accepted
    if not account.adopted and not account.accepted:
        account.adopted_at, account.adopted_position = None, 0
    elif account.adopted_at is None:
        account.adopted_at, account.adopted_position = occurrence.occurred_at, occurrence.position


def unseen(account: Account) -> Decimal:
    """Give what was asserted since claims began, and has not been accepted by adopting one."""
    return account.unseen_since - account.accepted


def missing(account: Account) -> Decimal:
    """Give the points of the events that must have been missed: above zero they would have added points."""
    return account.drift + unseen(account)


def since(account: Account) -> tuple[datetime | None, int | None]:
    """Say which event first shows that something is missing: when it happened and its position; None if nothing is."""
    if not account.drift and not unseen(account):
        return None, None
    if account.drift_since is not None:
        return account.drift_since, account.drift_position
    return account.adopted_at, account.adopted_position


def move(victim: Account, survivor: Account) -> None:
    """Hand what is open over by a merge: who holds the points has the drift, too."""
    if not survivor.lines:  # opened by the merge: its claims go on where the victim's end
        survivor.claimed, survivor.claimed_at = victim.claimed, victim.claimed_at
        survivor.agreed_at, survivor.agreed_position = victim.agreed_at, victim.agreed_position
    survivor.drift += victim.drift
    survivor.adopted += victim.adopted
    survivor.accepted += victim.accepted
    survivor.unseen_since += victim.unseen_since
    if survivor.drift_since is None:
        survivor.drift_since, survivor.drift_position = victim.drift_since, victim.drift_position
    if survivor.adopted_at is None:
        survivor.adopted_at, survivor.adopted_position = victim.adopted_at, victim.adopted_position
    victim.drift = victim.adopted = victim.accepted = victim.unseen_since = ZERO
    victim.drift_since = victim.drift_position = victim.adopted_at = None
