"""Redemptions: their details, and their reversals, which give points back to the lots that paid.

See docs/domain.md §4.2, traps 5 and 6. The row of a redemption follows the account's arithmetic:

1. A repeated report counts once. A reversal gives back at most the rest.
2. After a merge, the redemption is a row of the survivor's account.
3. A reversal may come before its redemption, or alone. The row then has no points yet.
"""

from bisect import insort
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from ledger.facts import Occurrence
from ledger.facts.accounts import Redeemed, RedemptionReversed
from projections.accounts.account import DEBT, ZERO, Account, Debit, LotSortKey, LotUse, Orphan, RedemptionDetails
from projections.accounts.lapses import has_lapsed
from projections.accounts.lots import count_use, credit, post, return_to_lot, settle_debt

DEBT_SORT_KEY: LotSortKey = (0, datetime.min, "")


def keep_details(debit: Debit, fact: Redeemed, occurrence: Occurrence) -> None:
    """Keep the details of a redemption. The first report of it counts."""
    if debit.details is None:
        debit.details = RedemptionDetails(
            redeemed_at=occurrence.occurred_at,
            position=occurrence.position,
            value=fact.value,
            value_of_all=fact.value_of_all,
            ratio=fact.ratio,
            bill_number=fact.bill_number,
            request=fact.request,
            by_group=fact.by_group,
            has_notes=fact.has_notes,
        )


def keep_reversal(debit: Debit, lapsed: Decimal, occurrence: Occurrence) -> None:
    """Keep the time of a reversal, and the points that lapsed again."""
    if debit.details is not None:
        lapsed_again = debit.details.lapsed_again + lapsed
        debit.details = replace(debit.details, reversed_at=occurrence.occurred_at, lapsed_again=lapsed_again)


def restore_redemption(account: Account, fact: RedemptionReversed, occurrence: Occurrence) -> None:
    """Return spent points to the lots that paid the redemption.

    1. Points of lapsed lots lapse again at once (trap 5), unless the programme's terms state another policy.
    2. If the vendor states a split into available and expired points, the split is used.
    3. No more is given back than the redemption still has. A larger reversal makes the account contested.
    4. A reversal before its redemption becomes a lot of its own. That redemption uses this lot first.
    """
    entry = account.debits.get(fact.redemption)
    if entry is None:
        _keep_as_orphan(account, fact, occurrence)
        return
    reversible = entry.points - entry.reversed
    points = min(fact.points, reversible)
    if points < fact.points:
        account.contested = True
    entry.reversed += points
    expired = fact.expired
    if expired is None and fact.available is not None:
        expired = max(ZERO, fact.points - fact.available)
    expired = None if expired is None else min(expired, points)
    lapsed_before = _lapsed_points(account)
    undo_debit(account, occurrence, entry, points, expired)
    keep_reversal(entry, _lapsed_points(account) - lapsed_before, occurrence)


def _lapsed_points(account: Account) -> Decimal:
    return account.classes.get("expired", ZERO) + account.classes.get("lapsed", ZERO)


def divide_by_account(accounts: Iterable[Account], fact: RedemptionReversed) -> list[RedemptionReversed] | None:
    """Divide a reversal without a programme over the accounts that paid for its redemption, in turn.

    None if no account paid. With several accounts the vendor's split is dropped; the lots decide which points had
    lapsed.
    """
    paid = [account for account in accounts if fact.redemption in account.debits]
    points, reversals = fact.points, list[RedemptionReversed]()
    for number, account in enumerate(paid, 1):
        entry = account.debits[fact.redemption]
        share = points if number == len(paid) else min(points, entry.points - entry.reversed)
        points -= share
        if share:
            reversals.append(replace(fact, programme=account.programme, points=share))
    if not paid:
        return None
    return (
        reversals
        if len(reversals) == 1
        else [replace(reversal, available=None, expired=None) for reversal in reversals]
    )


def undo_debit(
    account: Account, occurrence: Occurrence, entry: Debit, points: Decimal, expired: Decimal | None = None
) -> None:
    """Return points of a debit to its lots.

    `expired` of them lapse. If it is None, the points of lapsed lots lapse, or the programme's terms decide.
    """
    restored = list(_release_uses(account, entry, points))
    terms = account.terms.at(occurrence.occurred_at) if account.terms is not None else None
    policy = terms.reversal_after_expiry if terms is not None and expired is None else "lapse"
    if expired is None:
        lapsed = (use.points for use in restored if _has_lapsed(account, use, occurrence.occurred_at))
        expired = sum(lapsed, ZERO) if policy == "lapse" else ZERO
    grace_until = None
    if terms is not None and terms.reversal_after_expiry == "grace":
        today = occurrence.occurred_at.astimezone(ZoneInfo(terms.time_zone)).date()
        grace_until = today + timedelta(days=terms.reversal_grace_days)
    _return_uses(
        account, occurrence, entry, restored, expired, to_own_day=policy == "original", grace_until=grace_until
    )


def _release_uses(account: Account, entry: Debit, points: Decimal) -> Iterable[LotUse]:
    """Release points from a debit's uses and yield them: debt first, then lots in reverse order of use.

    The rest of the debit then has the uses that a smaller debit would have had.
    """

    def order(use: LotUse) -> tuple[bool, LotSortKey]:
        return (True, DEBT_SORT_KEY) if use.lot_id == DEBT else (False, account.lots[use.lot_id].sort_key())

    entry.uses.sort(key=order)
    while points:
        use = entry.uses.pop()
        part = min(use.points, points)
        if use.points > part:
            entry.uses.append(LotUse(use.lot_id, use.points - part))
        points -= part
        yield LotUse(use.lot_id, part)


def _has_lapsed(account: Account, use: LotUse, now: datetime) -> bool:
    return use.lot_id != DEBT and has_lapsed(account.lots[use.lot_id].lapses_at, now)


def _return_uses(
    account: Account,
    occurrence: Occurrence,
    entry: Debit,
    restored: list[LotUse],
    expired: Decimal,
    *,
    to_own_day: bool,
    grace_until: date | None,
) -> None:
    """Return released uses to their lots. `expired` of the points lapse, those of lapsed lots first; the rest becomes
    available.

    `to_own_day`: points of lapsed lots go back under their own day, as lapsed.
    """
    lot_uses = _settle_debt_uses(account, entry, restored)
    lot_uses.sort(key=lambda use: not _has_lapsed(account, use, occurrence.occurred_at))
    for index, use in enumerate(lot_uses):
        lapsing = min(use.points, expired)
        expired -= lapsing
        restored_points = use.points - lapsing
        lot = account.lots[use.lot_id]
        count_use(lot, -use.points, entry.to)
        if lapsing:
            lot.expired += lapsing
            post(account, entry.to, "available", lapsing, lot.lot_id)
            post(account, "available", "expired", lapsing, lot.lot_id)
        if restored_points and to_own_day and _has_lapsed(account, use, occurrence.occurred_at):
            post(account, entry.to, "lapsed", restored_points, lot.lot_id)
            if not lot.remaining:
                insort(account.lapsed, lot.sort_key())
            lot.remaining += restored_points
        elif restored_points and _has_lapsed(account, use, occurrence.occurred_at):
            # Lapsed points become a new lot, with days of grace or without a day.
            lot.expired += restored_points
            credit(
                account, occurrence, restored_points, source=entry.to, origin="reversal",
                index=index, expires_on=grace_until, apply_terms=False,
            )  # fmt: skip
        elif restored_points:
            post(account, entry.to, "available", restored_points, lot.lot_id)
            return_to_lot(account, lot, restored_points)
            settle_debt(account, lot)


def _settle_debt_uses(account: Account, entry: Debit, restored: Iterable[LotUse]) -> list[LotUse]:
    """Reduce the debt by the uses that were debt. Return the other uses, one for each lot."""
    by_lot: dict[str, Decimal] = {}
    for use in restored:
        if use.lot_id == DEBT:
            post(account, entry.to, "debt", use.points)
        else:
            by_lot[use.lot_id] = by_lot.get(use.lot_id, ZERO) + use.points
    return [LotUse(lot_id, points) for lot_id, points in by_lot.items()]


def _keep_as_orphan(account: Account, fact: RedemptionReversed, occurrence: Occurrence) -> None:
    available = fact.available if fact.available is not None else fact.points - (fact.expired or ZERO)
    expired = fact.expired if fact.expired is not None else fact.points - available
    orphan = account.orphans.setdefault(fact.redemption, Orphan())
    orphan.points += available + expired
    if available:
        lot = credit(account, occurrence, available, source="redeemed", origin="reversal", asserted=True)
        orphan.lots.append(lot.lot_id)
    if expired:
        post(account, "redeemed", "expired", expired)
