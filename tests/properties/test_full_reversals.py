"""An operation and its full reversal leave every figure unchanged; only the history is longer."""

from collections import Counter
from decimal import Decimal
from typing import Any

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from ledger.facts import Fact, RecordedFact
from ledger.facts.accounts import Grant, Issued, IssueReversed, Promise, Redeemed, RedemptionReversed
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed
from ledger.facts.promises import PromiseCancelled, PromiseMade
from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import ZERO, Account
from projections.definition import fold
from projections.engine.snapshots import decode_state, encode_state
from tests.properties.test_reference import HOLDERS, PROGRAMME, Pair, Step, steps

EXAMPLES_MIN = 200
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
BILL = "of the act"


def figures(account: Account, before: Account) -> dict[str, Any]:
    """Return the figures of an account that existed before: lots, promises and debits."""
    places = (
        "available",
        "debt",
        "promised",
        "in_transit",
        "redeemed",
        "expired",
        "lapsed",
        "sent",
        "adjusted",
        "held",
    )
    lot_fields = ("points", "remaining", "redeemed", "sent", "removed", "expired", "returned", "expires_on", "bill")
    promise_fields = ("points", "remaining", "converted", "cancelled", "returned")
    return {
        **{name: account.classes.get(name, ZERO) for name in places},
        "lifetime": account.lifetime,
        "lots": {
            lot_id: [getattr(lot, field) for field in lot_fields]
            for lot_id, lot in account.lots.items()
            if lot_id in before.lots
        },
        "promises": {
            name: [getattr(one, field) for field in promise_fields]
            for name, one in account.pending.items()
            if name in before.pending
        },
        "debits": {
            name: (entry.points, entry.reversed, uses_of(entry.uses))
            for name, entry in account.debits.items()
            if name in before.debits
        },
        "open": account.open,
    }


def uses_of(uses: list[Any]) -> Counter[str]:
    total: Counter[str] = Counter()
    for use in uses:
        total[use.lot_id] += use.points
    return total


def operation_of(kind: str, points: Decimal, account: dict[str, Any]) -> tuple[Fact, Fact]:
    """Return an operation and its full reversal."""
    match kind:
        case "issue":
            bought = Issued(grants=(Grant(points), Grant(points, origin="promotional")), bill=BILL, **account)
            return bought, IssueReversed(points=2 * points, promised=ZERO, bill=BILL, **account)
        case "promise":
            promised = Issued(promises=(Promise(points),), bill=BILL, **account)
            return promised, IssueReversed(points=ZERO, promised=points, bill=BILL, **account)
        case "redeem":
            spent = Redeemed(points=points, redemption=BILL, **account)
            return spent, RedemptionReversed(points=points, redemption=BILL, **account)
        case "promise by name":
            made = PromiseMade(promise=BILL, points=points, **account)
            return made, PromiseCancelled(promise=BILL, points=points, **account)
        case _:
            signed = points if kind == "add" else -points
            adjusted = AdjustmentMade(adjustment=BILL, points=signed, **account)
            return adjusted, AdjustmentReversed(adjustment=BILL, **account)


@settings(max_examples=max(EXAMPLES_MIN, settings().max_examples), phases=PHASES)
@given(
    history=st.lists(steps, min_size=10, max_size=30),
    kind=st.sampled_from(["issue", "promise", "redeem", "promise by name", "add", "take away"]),
    points=st.integers(1, 15),
)
def test_an_operation_and_its_full_reversal_leave_every_figure_as_it_was(
    history: list[Step], kind: str, points: int
) -> None:
    pair = Pair()
    for step in history:
        pair.apply(step)
    assume(pair.wallet is not None)
    holder = HOLDERS[pair.survivor if pair.survivor is not None else history[-1].holder]
    account_id = f"{holder}:{PROGRAMME}:points"
    wallet = copy_wallet(pair.wallet)
    assume(account_id in wallet.accounts)
    before = copy_wallet(pair.wallet).accounts[account_id]
    assume(kind != "redeem" or before.available >= points)  # more would prove unseen points
    assume(kind != "promise" or not before.awaited)  # a late promise of points converted already

    for fact in operation_of(kind, Decimal(points), {"holder": holder, "programme": PROGRAMME}):
        pair.number += 1
        wallet = fold(ACCOUNTS, [RecordedFact(fact, pair.occurrence())], wallet)

    # Time also passes without the operation: lots that lapsed before it would have lapsed anyway.
    nothing = Issued(holder=holder, programme=PROGRAMME)
    without = fold(ACCOUNTS, [RecordedFact(nothing, pair.occurrence())], copy_wallet(pair.wallet))
    assert figures(wallet.accounts[account_id], before) == figures(without.accounts[account_id], before)


def copy_wallet(wallet: Wallet | None) -> Wallet:
    """Copy a wallet."""
    assert wallet is not None
    copy = decode_state(ACCOUNTS, encode_state(wallet))
    assert isinstance(copy, Wallet)
    return copy
