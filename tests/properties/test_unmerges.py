"""Undo a merge: both holders get their points back, and both accounts balance, whatever happened in between."""

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from ledger.facts import Fact, RecordedFact
from ledger.facts.accounts import Issued
from ledger.facts.merges import HolderMergedAway, HolderUnmerged
from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import ZERO
from projections.definition import fold
from tests.properties.reference import Model
from tests.properties.test_conservation import check
from tests.properties.test_full_reversals import copy_wallet, figures
from tests.properties.test_reference import HOLDERS, PROGRAMME, STEPS_OF, Pair, Step, steps

EXAMPLES_MIN = 100
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
VICTIM, SURVIVOR = HOLDERS

# Each holder has redemptions and bills of their own: shared names stay together.
apart = steps.filter(lambda step: step.kind not in ("merge", "arrive")).map(
    lambda step: step._replace(name=step.name + 4 * step.holder)
)


def tell(pair: Pair, wallet: Wallet, fact: Fact) -> Wallet:
    pair.number += 1
    told: Wallet = fold(ACCOUNTS, [RecordedFact(fact, pair.occurrence())], wallet)
    return told


@settings(max_examples=max(EXAMPLES_MIN, settings().max_examples), phases=PHASES)
@given(history=st.lists(apart, min_size=5, max_size=25))
def test_a_merge_undone_at_once_gives_both_back_what_they_had(history: list[Step]) -> None:
    pair = Pair()
    for step in history:
        pair.apply(step)
    wallet = copy_wallet(pair.wallet)
    assume(len(wallet.accounts) == 2)
    # A merge settles debts, and a conversion that awaits its promise then belongs to no holder.
    assume(not any(account.debt or account.awaited for account in wallet.accounts.values()))
    for holder in HOLDERS:  # time passes for both
        wallet = tell(pair, wallet, Issued(holder=holder, programme=PROGRAMME))
    before = {name: figures(account, account) for name, account in copy_wallet(wallet).accounts.items()}

    merged = tell(pair, copy_wallet(wallet), HolderMergedAway(holder=VICTIM, survivor=SURVIVOR))
    parted = tell(pair, merged, HolderUnmerged(holder=VICTIM))

    for name, account in parted.accounts.items():
        check(account)
        assert account.classes.get("merged", ZERO) == 0
        assert figures(account, wallet.accounts[name]) == before[name]


@settings(max_examples=max(EXAMPLES_MIN, settings().max_examples), phases=PHASES)
@given(history=st.lists(steps, min_size=20, max_size=40), after=st.lists(steps, min_size=1, max_size=10))
def test_after_any_history_both_accounts_balance_after_a_merge_is_undone(
    history: list[Step], after: list[Step]
) -> None:
    pair = Pair()
    for step in history:
        pair.apply(step)
    assume(pair.survivor is not None)
    wallet = copy_wallet(pair.wallet)
    for holder in HOLDERS:  # time passes for both
        wallet = tell(pair, wallet, Issued(holder=holder, programme=PROGRAMME))
    held = sum((account.available for account in wallet.accounts.values()), ZERO)

    for holder in HOLDERS:
        wallet = tell(pair, wallet, HolderUnmerged(holder=holder))

    for account in wallet.accounts.values():
        check(account)
    assert sum((account.available for account in wallet.accounts.values()), ZERO) == held
    assert sum((account.classes.get("merged", ZERO) for account in wallet.accounts.values()), ZERO) == 0
    for step in after:  # for the engine only: the model cannot undo a merge
        told = Pair()
        told.now, told.number = pair.now, pair.number
        fact = STEPS_OF[step.kind](told, Model(), step)
        if fact is not None:
            wallet = tell(pair, wallet, fact)
    for account in wallet.accounts.values():
        check(account)
