"""Drift: the vendor's last claim minus our balance, since when it differs, and the points that are missing.

1. A debit beyond the known lots asserts unseen points. So a missing event may show there and not in the balance.
2. `missing` is therefore the drift plus the unseen points asserted since claims began.
3. Adopting the claim closes the matter but keeps its figures.
   Points adopted since the last claim are counted apart, so that reversing the adoption restores everything.
"""

from datetime import datetime
from decimal import Decimal

from ledger.facts import Occurrence
from projections.accounts.account import ZERO, Account

CLAIM_UNIT = Decimal("0.001")  # vendors state balances in three places (docs/domain.md §1.4)


def compare_balance(account: Account, claimed: Decimal, occurrence: Occurrence) -> None:
    """Compare a claimed balance with ours, and record the difference."""
    account.unseen_since -= account.accepted
    account.adopted = account.accepted = ZERO
    account.adopted_at, account.adopted_position = None, 0
    account.claimed, account.claimed_at = claimed, occurrence.occurred_at
    account.drift = claim_difference(claimed, account.available)
    if not account.drift and not account.unseen_since:
        account.drift_since = account.drift_position = None
        account.agreed_at, account.agreed_position = occurrence.occurred_at, occurrence.position
    elif account.drift_since is None:
        account.drift_since, account.drift_position = occurrence.occurred_at, occurrence.position


def claim_difference(claimed: Decimal, points: Decimal) -> Decimal:
    """Return a claimed figure minus ours, at the vendor's scale: less than CLAIM_UNIT is no difference."""
    found = claimed - points
    return found if abs(found) >= CLAIM_UNIT else ZERO


def count_adjustment(account: Account, points: Decimal, accepted: Decimal, occurrence: Occurrence) -> None:
    """Count the change by an adjustment, or by its reversal, against the last claim. Without a claim, do nothing."""
    if account.claimed is None:
        return
    account.drift -= points
    account.adopted += points
    account.accepted += accepted
    if not account.adopted and not account.accepted:
        account.adopted_at, account.adopted_position = None, 0
    elif account.adopted_at is None:
        account.adopted_at, account.adopted_position = occurrence.occurred_at, occurrence.position


def open_unseen(account: Account) -> Decimal:
    """Return the unseen points asserted since claims began, less those accepted by adopting a claim."""
    return account.unseen_since - account.accepted


def missing_points(account: Account) -> Decimal:
    """Return the points of the missing events. Above zero, those events would have added points."""
    return account.drift + open_unseen(account)


def first_sign(account: Account) -> tuple[datetime | None, int | None]:
    """Return time and position of the event that first shows missing points. (None, None) if nothing is missing."""
    if not account.drift and not open_unseen(account):
        return None, None
    if account.drift_since is not None:
        return account.drift_since, account.drift_position
    return account.adopted_at, account.adopted_position


def move_to_survivor(victim: Account, survivor: Account) -> None:
    """Move open drift to the survivor of a merge, because the survivor holds the points."""
    if not survivor.lines:  # opened by this merge: it continues the victim's claims
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
