"""Merge of two accounts: the victim's lots, promises and debt move to the survivor, with their days.

1. Each account keeps its own history: its classes and its statement lines.
2. Class "merged" holds the moved points. Both accounts still sum to zero, and their sum does not change.
3. The victim's lifetime keeps nothing that the victim had taken over from others.
   So a chain of merges gives the same result as merging each holder into the last survivor.
"""

from bisect import insort
from collections.abc import Callable
from typing import Any

from ledger.facts import Occurrence
from ledger.facts.accounts import AccountFact
from projections.accounts import drift
from projections.accounts.account import ZERO, Account, Debit, Lot, Orphan, PendingPromise
from projections.accounts.lots import post, settle_debt


def merge_account(victim: Account, survivor: Account) -> None:
    """Move everything that can still change from the victim to the survivor, and record the original holder."""
    holder = victim.account_id.rsplit(":", 2)[0]
    moved: list[Lot | Debit | PendingPromise] = [
        *victim.lots.values(),
        *victim.debits.values(),
        *victim.pending.values(),
    ]
    for item in moved:
        item.holder = item.holder or holder
    _move_points(victim, survivor)
    _move_debits(victim, survivor)
    survivor.lots |= victim.lots
    survivor.pending |= victim.pending
    survivor.adjustments = victim.adjustments | survivor.adjustments
    survivor.awaited += victim.awaited
    victim.lots, victim.pending, victim.adjustments, victim.awaited = {}, {}, {}, ZERO
    drift.move_to_survivor(victim, survivor)
    _move_early_expiry(victim, survivor)
    _add_returns(victim, survivor)
    _move_lifetime(victim, survivor, holder)
    for sort_key in list(survivor.open):
        if survivor.debt <= 0:
            break
        settle_debt(survivor, survivor.lots[sort_key[2]])


def _move_points(victim: Account, survivor: Account) -> None:
    for name, sort_keys, target in (
        ("available", victim.open, survivor.open),
        ("lapsed", victim.lapsed, survivor.lapsed),
    ):
        for sort_key in sort_keys:
            remaining = victim.lots[sort_key[2]].remaining
            post(victim, name, "merged", remaining, sort_key[2])
            post(survivor, "merged", name, remaining, sort_key[2])
            insort(target, sort_key)
        sort_keys.clear()
    for name in ("promised", "debt", "held", "in_transit"):
        points = victim.classes.get(name, ZERO)
        if points:
            post(victim, name, "merged", points)
            post(survivor, "merged", name, points)


def _move_debits(victim: Account, survivor: Account) -> None:
    for name, entry in victim.debits.items():
        merged_debit = survivor.debits.setdefault(name, entry)
        if merged_debit is not entry:
            merged_debit.points += entry.points
            merged_debit.reversed += entry.reversed
            merged_debit.uses += entry.uses
    for redemption, orphan in victim.orphans.items():
        merged = survivor.orphans.setdefault(redemption, Orphan())
        merged.points += orphan.points
        merged.lots += orphan.lots
    victim.debits, victim.orphans = {}, {}


def _move_early_expiry(victim: Account, survivor: Account) -> None:
    survivor.expired_early += victim.expired_early
    if survivor.expired_early_at is None:
        survivor.expired_early_at = victim.expired_early_at
        survivor.expired_early_position = victim.expired_early_position
    victim.expired_early, victim.expired_early_at, victim.expired_early_position = ZERO, None, 0


def _add_returns(victim: Account, survivor: Account) -> None:
    for bill, points in victim.bills_reversed.items():
        survivor.bills_reversed[bill] = survivor.bills_reversed.get(bill, ZERO) + points
    for bill, stretches in victim.returned.items():
        survivor.returned[bill] = [*survivor.returned.get(bill, ()), *stretches]


def _move_lifetime(victim: Account, survivor: Account, holder: str) -> None:
    lifetime = victim.lifetime + (victim.lifetime_opening or ZERO)
    survivor.lifetime += lifetime
    survivor.lifetime_of |= victim.lifetime_of
    own = lifetime - sum(victim.lifetime_of.values(), ZERO)
    survivor.lifetime_of[holder] = own
    victim.lifetime, victim.lifetime_of = own - (victim.lifetime_opening or ZERO), {}


def apply_redirected(
    account: Account, apply: Callable[[Account, Any, Occurrence], None], fact: AccountFact, occurrence: Occurrence
) -> None:
    """Apply a fact about a merged holder to the survivor's account. New lots, debits and promises record the holder."""
    lots, debits, pending = set(account.lots), set(account.debits), set(account.pending)
    lifetime = account.lifetime
    apply(account, fact, occurrence)
    made: list[Lot | Debit | PendingPromise] = [
        *(lot for name, lot in account.lots.items() if name not in lots),
        *(entry for name, entry in account.debits.items() if name not in debits),
        *(promise for name, promise in account.pending.items() if name not in pending),
    ]
    for item in made:
        item.holder = fact.holder
    if account.lifetime != lifetime:
        earned = account.lifetime - lifetime
        account.lifetime_of[fact.holder] = account.lifetime_of.get(fact.holder, ZERO) + earned
