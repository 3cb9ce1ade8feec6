"""Accounts: what a holder has, lot by lot, and the statement that explains it.

The subject is the holder: all of a holder's accounts are folded together (ledger/facts/accounts.py says why). Vendors'
snapshots are claims: the first one of an account, in order of occurrence, shows what it held before we listened (its
opening); each later one is compared, and what differs is its drift.
"""

from collections.abc import Callable, Iterator
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
    drift,
    expiries,
    holds,
    merges,
    promises,
    statement,
    tables,
    transfers,
    unmerges,
)
from projections.accounts.lots import ZERO, Account, credit, debit, post, take
from projections.accounts.reversals import restore, shares, take_back
from projections.accounts.state import (
    Wallet,
    account_of,
    held_by,
    lapse,
    survivor_of,
    under,
    write_line,
    write_report,
)
from projections.definition import Projection, Rows


class Effect(NamedTuple):
    """What a fact does to an account, by how much it is expected to change what is available, and which activity of
    the holder's it is: "earning", "spending" or none."""

    apply: Callable[[Account, Any, Occurrence], None]
    expected: Callable[[Any], Decimal]
    activity: str | None = None


def rule(wallet: Wallet, fact: AccountFact, occurrence: Occurrence) -> None:
    """Fold one fact: lapse what is due before it, assert an opening if the vendor claims a balance for the first time,
    apply it, compare the claim, and write the statement's line."""
    earlier = changes.earlier_report(wallet.changes, fact, occurrence)
    if earlier is not None:
        write_report(wallet, fact, occurrence, earlier)
        return
    account = account_of(wallet, fact.holder, fact.programme, fact.unit, fact.customer)
    changes.count(wallet.changes, fact, occurrence, account.account_id)
    lapse(wallet, account, occurrence.occurred_at)

    apply, expected, activity = EFFECTS[type(fact)]
    if activity is not None and account.terms is not None:
        expiries.slide(account, activity, occurrence.occurred_at)
    claim = fact.claim
    first_claimed = claim.available if claim is not None and account.claimed is None else None
    if first_claimed is not None:
        _open(wallet, account, occurrence, first_claimed - account.available - expected(fact))
    before = account.available
    if fact.holder in wallet.survivors:
        merges.apply_redirected(account, apply, fact, occurrence)
    else:
        apply(account, fact, occurrence)
    if first_claimed is not None:
        _adjust_opening(account, first_claimed - account.available)
    _compare(account, claim, occurrence)
    points = account.available - before
    reference = statement.reference_of(fact)
    untied, account.untied = fact.untied or account.untied, None
    counted, account.counted_position = account.counted_position, None
    write_line(wallet, account, type(fact).__name__, occurrence, points, claim, reference, untied, counted=counted)


def reverse_redemption(wallet: Wallet, fact: RedemptionReversed, occurrence: Occurrence) -> None:
    """Fold a reversal. One that names no programme belongs to the accounts that paid for its redemption; where that was
    not told, nobody knows whose points they are: they change no balance, and a line says so."""
    if fact.programme != NO_PROGRAMME:
        rule(wallet, fact, occurrence)
        return
    earlier = changes.earlier_report(wallet.changes, fact, occurrence)
    if earlier is not None:
        write_report(wallet, fact, occurrence, earlier)
        return
    accounts = [one for one in held_by(wallet, survivor_of(wallet, fact.holder)) if one.unit == fact.unit]
    account = accounts[0] if accounts else account_of(wallet, fact.holder, NO_PROGRAMME, fact.unit, fact.customer)
    found = shares(accounts, fact)
    changes.count(wallet.changes, fact, occurrence, account.account_id)
    for share in found or ():
        rule(wallet, replace(share, change=None, also=()), occurrence)
    if found is None:
        write_line(wallet, account, "RedemptionReversed", occurrence, ZERO, None, fact.redemption, fact.points)


def _open(wallet: Wallet, account: Account, occurrence: Occurrence, points: Decimal) -> None:
    """Assert what an account held before the first event that states a balance: a lot without a day, and a line."""
    if points > 0:
        before = account.available
        lot = credit(account, occurrence, points, source="opening", origin="opening", index=998, asserted=True)
        account.opening_lot = lot.lot_id
        write_line(wallet, account, "Opening", occurrence, account.available - before)


def _adjust_opening(account: Account, difference: Decimal) -> None:
    """Correct the opening where the fact changed the balance by other than expected (a return of expired points)."""
    lot = account.lots.get(account.opening_lot or "")
    if lot is None or not difference or lot.remaining + difference < 0 or not lot.remaining:
        return
    post(account, "opening", "available", difference, lot.lot_id)
    lot.points += difference
    if difference < 0:
        take(account, lot, -difference)
    else:
        lot.remaining += difference


def _compare(account: Account, claim: Claim | None, occurrence: Occurrence) -> None:
    if claim is None:
        return
    if claim.lifetime is not None:
        if account.lifetime_opening is None:
            account.lifetime_opening = max(ZERO, claim.lifetime - account.lifetime)
        account.lifetime_claimed = claim.lifetime
    if claim.available is not None:
        drift.compare(account, claim.available, occurrence)


def issue(account: Account, fact: Issued, occurrence: Occurrence) -> None:
    for index, grant in enumerate(fact.grants):
        credit(
            account,
            occurrence,
            grant.points,
            source="issued",
            origin=grant.origin,
            index=index,
            expires_on=grant.expires_on,
            promotion=grant.promotion,
            bill=fact.bill,
            bill_number=fact.bill_number,
        )
        account.lifetime += grant.points
    for index, promised in enumerate(fact.promises):
        promises.promise(account, promised, occurrence, index, bill=fact.bill, bill_number=fact.bill_number)


def convert_promised(account: Account, fact: PromisedConverted, occurrence: Occurrence) -> None:
    total = sum((grant.points for grant in fact.grants), ZERO)
    bill = promises.convert(account, total, fact.bill_number)
    for index, grant in enumerate(fact.grants):
        credit(
            account,
            occurrence,
            grant.points,
            source="promised",
            origin=grant.origin,
            index=index,
            expires_on=grant.expires_on,
            promotion=grant.promotion,
            bill=bill,
            bill_number=fact.bill_number,
        )
    account.lifetime += total


def redeem(account: Account, fact: Redeemed, occurrence: Occurrence) -> None:
    debit(account, occurrence, fact.points, fact.redemption, "redeemed")


def remove(account: Account, fact: Removed, occurrence: Occurrence) -> None:
    """Points were taken away by hand: from lots of the kind that the vendor names, then from others, in the order of
    use."""
    lots = [account.lots[lot_id] for _, _, lot_id in account.open] if fact.origin is not None else []
    first = [lot.lot_id for lot in lots if (lot.origin == "promotional") is (fact.origin == "promotional")]
    name = f"removed~{occurrence.event_tag.hex()}.{occurrence.ordinal}"
    debit(account, occurrence, fact.points, name, "adjusted", first)


def none(_fact: Any) -> Decimal:
    return ZERO


def granted(fact: Issued | PromisedConverted) -> Decimal:
    return sum((grant.points for grant in fact.grants), ZERO)


# Each fact, what it does, and what it is expected to do to the balance: where a claim is the first of its account, the
# opening must be there before the fact is applied, so that a debit is paid by it.
EFFECTS: dict[type[AccountFact], Effect] = {
    Issued: Effect(issue, granted, "earning"),
    PromisedConverted: Effect(convert_promised, granted, "earning"),
    Redeemed: Effect(redeem, lambda fact: -fact.points, "spending"),
    RedemptionReversed: Effect(
        restore, lambda fact: fact.available if fact.available is not None else fact.points - (fact.expired or ZERO)
    ),
    IssueReversed: Effect(
        take_back, lambda fact: -(fact.points if fact.points is not None else fact.points_total or ZERO)
    ),
    TransferSent: Effect(transfers.send, lambda fact: -fact.points, "spending"),
    TransferReceived: Effect(transfers.receive, lambda fact: fact.points, "earning"),
    TransferSettled: Effect(transfers.settle, none),
    Expired: Effect(expiries.expire, none),
    ExpiryMoved: Effect(expiries.move, none),
    ExpiryClaimed: Effect(expiries.remember_claim, none),
    PromiseMade: Effect(promises.make, none),
    PromiseChanged: Effect(promises.change, none),
    PromiseKept: Effect(promises.keep, lambda fact: fact.points, "earning"),
    PromiseCancelled: Effect(promises.cancel, none),
    HoldCaptured: Effect(holds.capture, lambda fact: -fact.points, "spending"),
    HoldRefundDue: Effect(holds.owe, none),
    HoldRefunded: Effect(holds.refund, none),
    Removed: Effect(remove, lambda fact: -fact.points),
    AdjustmentMade: Effect(adjustments.make, none),
    AdjustmentReversed: Effect(adjustments.reverse, none),
}


def merge_away(wallet: Wallet, fact: HolderMergedAway, occurrence: Occurrence) -> None:
    """Move all accounts of the victim, lots with their days, to the survivor. Later facts about the victim follow.

    A merge that would close a circle is not done: the survivor's accounts are then contested.
    """
    if wallet.survivors.get(fact.holder) == fact.survivor:  # reported before
        return
    victim, survivor = survivor_of(wallet, fact.holder), survivor_of(wallet, fact.survivor)
    if victim == survivor:
        for account in wallet.accounts.values():
            account.contested = True
        return
    for account in held_by(wallet, victim):
        heir = account_of(wallet, survivor, account.programme, account.unit, None)
        for one in (account, heir):
            lapse(wallet, one, occurrence.occurred_at)
        before, before_heir = account.available, heir.available
        merges.move(account, heir)
        write_line(wallet, account, "MergedAway", occurrence, account.available - before, None, survivor)
        write_line(wallet, heir, "Merged", occurrence, heir.available - before_heir, None, victim)
    wallet.survivors[victim] = survivor


def unmerge(wallet: Wallet, fact: HolderUnmerged, occurrence: Occurrence) -> None:
    """Give back to a holder what is left of theirs; facts about them are their own again. Of one who is not merged
    away nothing changes."""
    survivor = survivor_of(wallet, fact.holder)
    if survivor == fact.holder:
        return
    holders = {one for one in wallet.survivors if fact.holder in _ways(wallet, one)}
    del wallet.survivors[fact.holder]
    for account in held_by(wallet, survivor):
        heir = account_of(wallet, fact.holder, account.programme, account.unit, None)
        for one in (account, heir):
            lapse(wallet, one, occurrence.occurred_at)
        before, before_heir = account.available, heir.available
        unmerges.part(account, heir, holders, occurrence)
        write_line(wallet, account, "UnmergedAway", occurrence, account.available - before, None, fact.holder)
        write_line(wallet, heir, "Unmerged", occurrence, heir.available - before_heir, None, survivor)


def _ways(wallet: Wallet, holder: str) -> Iterator[str]:
    """Give a holder, and one after the other whoever took over their accounts."""
    yield holder
    while holder in wallet.survivors:
        holder = wallet.survivors[holder]
        yield holder


def compare_merged(wallet: Wallet, fact: HolderMerged, occurrence: Occurrence) -> None:
    """Compare what the vendor says the survivor holds after the merge, programme by programme."""
    for claimed in fact.claims:
        account = account_of(wallet, fact.holder, claimed.programme, "points", None)
        lapse(wallet, account, occurrence.occurred_at)
        claim = Claim(claimed.available, claimed.lifetime, claimed.promised)
        if claim.available is not None and account.claimed is None:
            _open(wallet, account, occurrence, claim.available - account.available)
        _compare(account, claim, occurrence)
        write_line(wallet, account, "MergeClaimed", occurrence, ZERO, claim, fact.victim)


def wallet_rows(_holder: str, wallet: Wallet) -> Rows:
    accounts = wallet.accounts.values()
    return {
        "accounts": [tables.account_row(one, survivor_of(wallet, holder_of(one.account_id))) for one in accounts],
        "lots": [row for account in accounts for row in tables.lot_rows(account)],
        "adjustments": [
            tables.adjustment_row(account, one) for account in accounts for one in account.adjustments.values()
        ],
        "promises": [tables.promise_row(account, one) for account in accounts for one in account.pending.values()],
        "reminders": [tables.reminder_row(account, one) for account in accounts for one in account.reminders.values()],
    }


def take_lines(_holder: str, wallet: Wallet) -> Rows:
    lines = list(wallet.lines)
    wallet.lines.clear()
    return {"statement": lines}


ACCOUNTS = Projection(
    name="accounts",
    version=9,
    subject="account",
    start=Wallet,
    on={
        **dict.fromkeys(EFFECTS, rule),
        RedemptionReversed: reverse_redemption,
        HolderMergedAway: merge_away,
        HolderMerged: compare_merged,
        HolderUnmerged: unmerge,
    },
    rows=wallet_rows,
    tables=(tables.ACCOUNTS, tables.LOTS, tables.PROMISES, statement.STATEMENT, tables.ADJUSTMENTS, tables.REMINDERS),
    lines=take_lines,
    joins={
        HolderMergedAway: lambda fact: (fact.holder, fact.survivor),
        HolderMerged: lambda fact: (fact.holder, fact.victim),
    },
    under=under,
)
