"""Balances that a vendor states: the first one asserts an opening, later ones are compared with ours."""

from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Claim
from projections.accounts import drift
from projections.accounts.account import ZERO, Account
from projections.accounts.lots import OPENING_INDEX, credit, post, take_from_lot
from projections.accounts.state import Wallet, write_line

ONE_POINT = Decimal(1)


def assert_opening(wallet: Wallet, account: Account, occurrence: Occurrence, claimed: Decimal, change: Decimal) -> None:
    """Assert the points held before the first claim: one lot without a day, and one statement line.

    `change` is the expected effect of the fact with the claim. Where the points of the account are whole numbers, less
    than one point proves no history. It stays a difference of the claim.
    """
    points = claimed - account.available - change
    if points < ONE_POINT and _is_whole(account.available) and _is_whole(change):
        return
    if points >= drift.CLAIM_UNIT:
        before = account.available
        lot = credit(
            account, occurrence, points, source="opening", origin="opening", index=OPENING_INDEX, asserted=True
        )
        account.opening_lot = lot.lot_id
        write_line(wallet, account, "Opening", occurrence, account.available - before)


def _is_whole(points: Decimal) -> bool:
    return not points % 1


def adjust_opening(account: Account, difference: Decimal) -> None:
    """Correct the opening if the fact changed the balance by another amount than expected.

    A return of expired points is an example.
    """
    lot = account.lots.get(account.opening_lot or "")
    if lot is None or not difference or lot.remaining + difference < 0 or not lot.remaining:
        return
    post(account, "opening", "available", difference, lot.lot_id)
    lot.points += difference
    if difference < 0:
        take_from_lot(account, lot, -difference)
    else:
        lot.remaining += difference


def compare_claim(account: Account, claim: Claim | None, occurrence: Occurrence) -> None:
    if claim is None:
        return
    if claim.lifetime is not None:
        if account.lifetime_opening is None:
            account.lifetime_opening = max(ZERO, claim.lifetime - account.lifetime)
        account.lifetime_claimed = claim.lifetime
    if claim.available is not None:
        drift.compare_balance(account, claim.available, occurrence)
