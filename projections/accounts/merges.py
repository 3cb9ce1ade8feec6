"""What a merge does to two accounts: the victim's lots, promises and debt go over to the survivor's, days and all.

The history of each stays where it was told: classes and statement lines are the victim's own, and the class "merged"
holds what went over, so that both accounts go on summing to zero and the two together hold what they held. Of what a
victim had taken over from others its lifetime keeps nothing: a chain of merges comes to the same as each into the last.
"""

from bisect import insort
from collections.abc import Callable
from typing import Any

from ledger.facts import Occurrence
from ledger.facts.accounts import AccountFact
from projections.accounts import drift
from projections.accounts.lots import ZERO, Account, Debit, Lot, Orphan, Pending, post, settle


def move(victim: Account, survivor: Account) -> None:
    """Move everything that can still change from one account to the other. It is remembered whose it was."""
    holder = victim.account_id.rsplit(":", 2)[0]
    theirs: list[Lot | Debit | Pending] = [*victim.lots.values(), *victim.debits.values(), *victim.pending.values()]
    for one in theirs:
        one.holder = one.holder or holder
    for name, heirs in (("available", survivor.open), ("lapsed", survivor.lapsed)):
        places = victim.open if name == "available" else victim.lapsed
        for place in places:
            remaining = victim.lots[place[2]].remaining
            post(victim, name, "merged", remaining, place[2])
            post(survivor, "merged", name, remaining, place[2])
            insort(heirs, place)
        places.clear()
    for name in ("promised", "debt", "held", "in_transit"):
        points = victim.classes.get(name, ZERO)
        if points:
            post(victim, name, "merged", points)
            post(survivor, "merged", name, points)
    survivor.lots |= victim.lots
    for name, entry in victim.debits.items():
        same = survivor.debits.setdefault(name, entry)
        if same is not entry:
            same.points += entry.points
            same.reversed += entry.reversed
            same.uses += entry.uses
    for redemption, orphan in victim.orphans.items():
        both = survivor.orphans.setdefault(redemption, Orphan())
        both.points += orphan.points
        both.lots += orphan.lots
    survivor.pending |= victim.pending
    survivor.adjustments = victim.adjustments | survivor.adjustments
    drift.move(victim, survivor)
    survivor.awaited += victim.awaited
    survivor.expired_early += victim.expired_early
    if survivor.expired_early_at is None:
        survivor.expired_early_at, survivor.expired_early_position = (
            victim.expired_early_at,
            victim.expired_early_position,
        )
    victim.expired_early, victim.expired_early_at, victim.expired_early_position = ZERO, None, 0
    for bill, points in victim.bills_reversed.items():
        survivor.bills_reversed[bill] = survivor.bills_reversed.get(bill, ZERO) + points
    for bill, stretches in victim.returned.items():
        survivor.returned[bill] = [*survivor.returned.get(bill, ()), *stretches]
    lifetime = victim.lifetime + (victim.lifetime_opening or ZERO)
    survivor.lifetime += lifetime
    survivor.lifetime_of |= victim.lifetime_of
    own = lifetime - sum(victim.lifetime_of.values(), ZERO)
    survivor.lifetime_of[holder] = own
    victim.lifetime, victim.lifetime_of = own - (victim.lifetime_opening or ZERO), {}
    victim.lots, victim.debits, victim.orphans, victim.pending, victim.awaited = {}, {}, {}, {}, ZERO
    victim.adjustments = {}
    for place in list(survivor.open):
        if survivor.debt <= 0:
            break
        settle(survivor, survivor.lots[place[2]])


def apply_redirected(
    account: Account, apply: Callable[[Account, Any, Occurrence], None], fact: AccountFact, occurrence: Occurrence
) -> None:
    """Apply a fact about a holder who was merged away; what it makes is remembered as that holder's."""
    lots, debits, pending = set(account.lots), set(account.debits), set(account.pending)
    lifetime = account.lifetime
    apply(account, fact, occurrence)
    made: list[Lot | Debit | Pending] = [
        *(lot for name, lot in account.lots.items() if name not in lots),
        *(entry for name, entry in account.debits.items() if name not in debits),
        *(one for name, one in account.pending.items() if name not in pending),
    ]
    for one in made:
        one.holder = fact.holder
    if account.lifetime != lifetime:
        earned = account.lifetime - lifetime
        account.lifetime_of[fact.holder] = account.lifetime_of.get(fact.holder, ZERO) + earned
