"""Rules of the accounts projection: each fact changes a holder's accounts and writes statement lines.

1. The subject is the holder. All accounts of a holder are folded together; ledger/facts/accounts.py gives the reasons.
2. A balance that a vendor states is a claim. Facts are taken in order of occurrence.
3. The first claim of an account asserts its *opening*: the points held before the first recorded event.
4. Each later claim is compared with our balance. The difference is the account's *drift*.
"""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from ledger.facts import Occurrence
from ledger.facts.accounts import (
    NO_PROGRAMME,
    AccountFact,
    Claim,
    Expired,
    ExpiryClaimed,
    ExpiryMoved,
    Issued,
    IssueReversed,
    PromisedConverted,
    Redeemed,
    RedemptionReversed,
    TransferReceived,
    TransferSent,
    TransferSettled,
    holder_of,
)
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed, Removed
from ledger.facts.holds import HoldCaptured, HoldRefundDue, HoldRefunded
from ledger.facts.merges import HolderMerged, HolderMergedAway, HolderUnmerged
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseKept, PromiseMade
from projections.accounts import (
    adjustments,
    changes,
    expiries,
    grants,
    holds,
    merges,
    promises,
    redemptions,
    rows,
    statement,
    tables,
    transfers,
    unmerges,
)
from projections.accounts.account import ZERO, Account
from projections.accounts.claims import adjust_opening, assert_opening, compare_claim
from projections.accounts.issue_reversals import reverse_issue
from projections.accounts.lots import debit
from projections.accounts.redemptions import divide_by_account, restore_redemption
from projections.accounts.state import (
    Wallet,
    account_of,
    accounts_of,
    attach_terms,
    survivor_of,
    write_lapses,
    write_line,
    write_repeated_report,
)
from projections.definition import Projection, Rows


class Effect(NamedTuple):
    """Effect of one kind of fact on an account.

    `expected` returns the expected change of the available points. `activity` is "earning", "spending" or None.
    """

    apply: Callable[[Account, Any, Occurrence], None]
    expected: Callable[[Any], Decimal]
    activity: str | None = None


def fold_fact(wallet: Wallet, fact: AccountFact, occurrence: Occurrence) -> None:
    """Fold one fact into its account, in this order:

    1. A repeated report of a counted change moves no points. Only a line is written.
    2. Lots that are due lapse.
    3. The vendor's first balance claim asserts an opening.
    4. The fact is applied.
    5. The claim is compared with the balance.
    6. The statement line is written.
    """
    earlier = changes.earlier_report(wallet.changes, fact, occurrence)
    if earlier is not None:
        write_repeated_report(wallet, fact, occurrence, earlier)
        return
    account = account_of(wallet, fact.holder, fact.programme, fact.unit, fact.customer)
    account.unit_name = fact.unit_name or account.unit_name
    if fact.holder not in wallet.survivors:
        account.card_code = fact.card_code or account.card_code
    changes.count_change(wallet.changes, fact, occurrence, account.account_id)
    write_lapses(wallet, account, occurrence.occurred_at)

    apply, expected, activity = EFFECTS[type(fact)]
    if activity is not None and account.terms is not None:
        expiries.restart_sliding_periods(account, activity, occurrence.occurred_at)
    claim = fact.claim
    first_claimed = claim.available if claim is not None and account.claimed is None else None
    if first_claimed is not None:
        assert_opening(wallet, account, occurrence, first_claimed, expected(fact))
    before = account.available
    if fact.holder in wallet.survivors:
        merges.apply_redirected(account, apply, fact, occurrence)
    else:
        apply(account, fact, occurrence)
    if first_claimed is not None:
        adjust_opening(account, first_claimed - account.available)
    compare_claim(account, claim, occurrence)
    points = account.available - before
    reference = statement.reference_of(fact)
    untied, account.untied = fact.untied or account.untied, None
    counted, account.counted_position = account.counted_position, None
    write_line(wallet, account, type(fact).__name__, occurrence, points, claim, reference, untied, counted=counted)


def reverse_redemption(wallet: Wallet, fact: RedemptionReversed, occurrence: Occurrence) -> None:
    """Return spent points to the accounts that paid for the redemption.

    A reversal may name no programme. Then it applies to each account that paid for its redemption. If no such
    redemption is known, no balance changes and a line reports the points.
    """
    accounts = [
        account for account in accounts_of(wallet, survivor_of(wallet, fact.holder)) if account.unit == fact.unit
    ]
    earlier = changes.earlier_report(wallet.changes, fact, occurrence)
    if earlier is None and fact.points > _reversible_points(accounts, fact):
        earlier = changes.earlier_reversal(wallet.changes, fact, occurrence)
    if earlier is not None:
        write_repeated_report(wallet, fact, occurrence, earlier)
        return
    if fact.programme != NO_PROGRAMME:
        fold_fact(wallet, fact, occurrence)
        return
    account = accounts[0] if accounts else account_of(wallet, fact.holder, NO_PROGRAMME, fact.unit, fact.customer)
    reversals = divide_by_account(accounts, fact)
    changes.count_change(wallet.changes, fact, occurrence, account.account_id)
    for reversal in reversals or ():
        fold_fact(wallet, replace(reversal, change=None, also=()), occurrence)
    if reversals is None:
        write_line(wallet, account, "RedemptionReversed", occurrence, ZERO, None, fact.redemption, fact.points)


def _reversible_points(accounts: Iterable[Account], fact: RedemptionReversed) -> Decimal:
    """Return the points of a redemption that can still be given back. All points of the fact if none is known."""
    programmes = [account for account in accounts if fact.programme in (NO_PROGRAMME, account.programme)]
    debits = [account.debits[fact.redemption] for account in programmes if fact.redemption in account.debits]
    return sum((debit.points - debit.reversed for debit in debits), ZERO) if debits else fact.points


def redeem_points(account: Account, fact: Redeemed, occurrence: Occurrence) -> None:
    """Points were spent, from lots in the order of use."""
    debit(account, occurrence, fact.points, fact.redemption, "redeemed")
    redemptions.keep_details(account.debits[fact.redemption], fact, occurrence)


def remove_points(account: Account, fact: Removed, occurrence: Occurrence) -> None:
    """Points were removed by hand. Lots of the kind that the vendor names are used first, then others in the order of
    use.
    """
    lots = [account.lots[lot_id] for _, _, lot_id in account.open] if fact.origin is not None else []
    first = [lot.lot_id for lot in lots if (lot.origin == "promotional") is (fact.origin == "promotional")]
    name = f"removed~{occurrence.event_tag.hex()}.{occurrence.ordinal}"
    debit(account, occurrence, fact.points, name, "adjusted", first)


def no_change(_fact: Any) -> Decimal:
    return ZERO


# The expected change is needed for an account's first claim. The opening must exist before the fact is applied, so that
# it can pay a debit.
EFFECTS: dict[type[AccountFact], Effect] = {
    Issued: Effect(grants.issue, grants.granted_points, "earning"),
    PromisedConverted: Effect(grants.convert_promised, grants.granted_points, "earning"),
    Redeemed: Effect(redeem_points, lambda fact: -fact.points, "spending"),
    RedemptionReversed: Effect(
        restore_redemption,
        lambda fact: fact.available if fact.available is not None else fact.points - (fact.expired or ZERO),
    ),
    IssueReversed: Effect(
        reverse_issue, lambda fact: -(fact.points if fact.points is not None else fact.points_total or ZERO)
    ),
    TransferSent: Effect(transfers.send_points, lambda fact: -fact.points, "spending"),
    TransferReceived: Effect(transfers.receive_points, lambda fact: fact.points, "earning"),
    TransferSettled: Effect(transfers.settle_transfer, no_change),
    Expired: Effect(expiries.expire_points, no_change),
    ExpiryMoved: Effect(expiries.move_expiry, no_change),
    ExpiryClaimed: Effect(expiries.compare_reminder, no_change),
    PromiseMade: Effect(promises.make_promise, no_change),
    PromiseChanged: Effect(promises.change_promise, no_change),
    PromiseKept: Effect(promises.keep_promise, lambda fact: fact.points, "earning"),
    PromiseCancelled: Effect(promises.cancel_promise, no_change),
    HoldCaptured: Effect(holds.capture_hold, lambda fact: -fact.points, "spending"),
    HoldRefundDue: Effect(holds.release_hold, no_change),
    HoldRefunded: Effect(holds.refund_hold, no_change),
    Removed: Effect(remove_points, lambda fact: -fact.points),
    AdjustmentMade: Effect(adjustments.make_adjustment, no_change),
    AdjustmentReversed: Effect(adjustments.reverse_adjustment, no_change),
}


def merge_away(wallet: Wallet, fact: HolderMergedAway, occurrence: Occurrence) -> None:
    """Move all accounts of the merged customer to the survivor. Lots keep their days, and later facts go to the
    survivor.

    A merge that would form a cycle is not applied. The survivor's accounts are then contested.
    """
    if wallet.survivors.get(fact.holder) == fact.survivor:  # repeated report
        return
    victim, survivor = survivor_of(wallet, fact.holder), survivor_of(wallet, fact.survivor)
    if victim == survivor:
        for account in wallet.accounts.values():
            account.contested = True
        return
    for account in accounts_of(wallet, victim):
        target = account_of(wallet, survivor, account.programme, account.unit, None)
        for merged in (account, target):
            write_lapses(wallet, merged, occurrence.occurred_at)
        before, before_target = account.available, target.available
        merges.merge_account(account, target)
        write_line(wallet, account, "MergedAway", occurrence, account.available - before, None, survivor)
        write_line(wallet, target, "Merged", occurrence, target.available - before_target, None, victim)
    wallet.survivors[victim] = survivor


def unmerge(wallet: Wallet, fact: HolderUnmerged, occurrence: Occurrence) -> None:
    """Return to a holder the rest of its points. Later facts about it apply to its own accounts again.

    A holder that was not merged away is not changed.
    """
    survivor = survivor_of(wallet, fact.holder)
    if survivor == fact.holder:
        return
    holders = {victim for victim in wallet.survivors if fact.holder in _merge_path(wallet, victim)}
    del wallet.survivors[fact.holder]
    for account in accounts_of(wallet, survivor):
        target = account_of(wallet, fact.holder, account.programme, account.unit, None)
        for merged in (account, target):
            write_lapses(wallet, merged, occurrence.occurred_at)
        before, before_target = account.available, target.available
        unmerges.unmerge_account(account, target, holders, occurrence)
        write_line(wallet, account, "UnmergedAway", occurrence, account.available - before, None, fact.holder)
        write_line(wallet, target, "Unmerged", occurrence, target.available - before_target, None, survivor)


def _merge_path(wallet: Wallet, holder: str) -> Iterator[str]:
    """Yield a holder, then each holder that took over its accounts, in order."""
    yield holder
    while holder in wallet.survivors:
        holder = wallet.survivors[holder]
        yield holder


def compare_merged(wallet: Wallet, fact: HolderMerged, occurrence: Occurrence) -> None:
    """Compare the vendor's claims about the survivor after the merge, one programme after the other."""
    for claimed in fact.claims:
        account = account_of(wallet, fact.holder, claimed.programme, "points", None)
        write_lapses(wallet, account, occurrence.occurred_at)
        claim = Claim(claimed.available, claimed.lifetime, claimed.promised)
        if claim.available is not None and account.claimed is None:
            assert_opening(wallet, account, occurrence, claim.available, ZERO)
        compare_claim(account, claim, occurrence)
        write_line(wallet, account, "MergeClaimed", occurrence, ZERO, claim, fact.victim)


def wallet_rows(_holder: str, wallet: Wallet) -> Rows:
    accounts = wallet.accounts.values()
    return {
        "accounts": [rows.account_row(one, survivor_of(wallet, holder_of(one.account_id))) for one in accounts],
        "lots": [row for account in accounts for row in rows.lot_rows(account)],
        "adjustments": [row for account in accounts for row in rows.adjustment_rows(account)],
        "promises": [row for account in accounts for row in rows.promise_rows(account)],
        "redemptions": [row for account in accounts for row in rows.redemption_rows(account)],
        "reminders": [row for account in accounts for row in rows.reminder_rows(account)],
    }


def take_statement_lines(_holder: str, wallet: Wallet) -> Rows:
    """Return the new statement lines, and remove them from the state."""
    lines = list(wallet.lines)
    wallet.lines.clear()
    return {"statement": lines}


ACCOUNTS = Projection(
    name="accounts",
    version=13,
    subject="account",
    start=Wallet,
    on={
        **dict.fromkeys(EFFECTS, fold_fact),
        RedemptionReversed: reverse_redemption,
        HolderMergedAway: merge_away,
        HolderMerged: compare_merged,
        HolderUnmerged: unmerge,
    },
    rows=wallet_rows,
    tables=(
        *(tables.ACCOUNTS, tables.LOTS, tables.PROMISES, statement.STATEMENT, tables.ADJUSTMENTS, tables.REMINDERS),
        tables.REDEMPTIONS,
    ),
    take_rows=take_statement_lines,
    merging_facts={
        HolderMergedAway: lambda fact: (fact.holder, fact.survivor),
        HolderMerged: lambda fact: (fact.holder, fact.victim),
    },
    attach_terms=attach_terms,
    is_served=False,
)
