"""The engine compared with the reference model after each fact: histories of fifty facts about two holders."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.facts import Fact, Occurrence, RecordedFact
from ledger.facts.accounts import (
    AccountFact,
    Expired,
    ExpiryMoved,
    Grant,
    Issued,
    IssueReversed,
    Promise,
    PromisedConverted,
    PromotionShare,
    Redeemed,
    RedemptionReversed,
    TransferReceived,
    TransferSent,
    TransferSettled,
)
from ledger.facts.adjustments import Removed
from ledger.facts.merges import HolderMergedAway
from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import ZERO, Account
from projections.definition import fold
from tests.properties.reference import NEVER, Model
from tests.properties.test_conservation import check

STEPS = 50
EXAMPLES_MIN = 200
PHASES = (
    Phase.explicit,
    Phase.reuse,
    Phase.generate,
    Phase.shrink,
)  # explaining a failure takes longer than finding it
FIRST_DAY = date(2024, 1, 1)
HOLDERS = ("capillary:1:ann", "capillary:1:bob")
PROGRAMME = "gold"
DAYS_AHEAD = (NEVER, -1, 0, 2, 2, 9)


class Step(NamedTuple):
    """One drawn step: the kind of fact, the holder, and the figures it may use."""

    kind: str
    holder: int
    points: int
    name: int  # of a bill, a redemption or a transfer
    choice: int
    days: int  # since the step before


def day_of(number: int) -> date | None:
    return None if number == NEVER else FIRST_DAY + timedelta(days=number)


class Pair:
    """The engine and the model, with the same facts."""

    def __init__(self) -> None:
        self.wallet: Wallet | None = None
        self.models = [Model(), Model()]
        self.survivor: int | None = None
        self.now = 0
        self.number = 0

    def apply(self, step: Step) -> None:
        """Apply one step to both, and compare."""
        self.now += step.days
        self.number += 1
        holder = HOLDERS[step.holder]
        model = self.models[step.holder if self.survivor is None else self.survivor]
        model.pass_to(self.now, self.number)
        fact = STEPS_OF[step.kind](self, model, step)
        if fact is None:
            return
        told = RecordedFact(fact, self.occurrence())
        assert fact.subject == holder
        if isinstance(fact, AccountFact):
            told = RecordedFact(replace(fact, change=f"change {self.number}"), told.occurrence)
        self.wallet = fold(ACCOUNTS, [told], self.wallet)
        self.compare(step.holder)
        if step.name == 3 and isinstance(fact, AccountFact):
            self.report_again(told, model)
            self.compare(step.holder)

    def report_again(self, told: RecordedFact, model: Model) -> None:
        """Report the same change in another event. The model is not changed."""
        self.number += 1
        model.pass_to(self.now, self.number)
        self.wallet = fold(ACCOUNTS, [RecordedFact(told.fact, self.occurrence())], self.wallet)

    def occurrence(self) -> Occurrence:
        at = datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(days=self.now, seconds=self.number)
        return Occurrence(at, b"%08d%08d" % (self.number, self.number), 0, self.number)

    def account(self, which: int) -> Account | None:
        return None if self.wallet is None else self.wallet.accounts.get(f"{HOLDERS[which]}:{PROGRAMME}:points")

    def compare(self, holder: int) -> None:
        """Compare every figure of the account of a step."""
        which = holder if self.survivor is None else self.survivor
        account, model = self.account(which), self.models[which]
        if account is None:
            return
        check(account)
        assert account.available == model.available
        assert account.debt == len(model.owed)
        assert account.classes.get("promised", ZERO) == model.promised
        assert account.classes.get("in_transit", ZERO) == model.in_transit
        assert account.lifetime == model.lifetime
        assert sorted((show(lot) for lot in account.lots.values()), key=str) == model.show()
        ours = [
            (int(one.remaining), int(one.converted), int(one.cancelled), int(one.returned))
            for one in account.pending.values()
        ]
        theirs = [(one.ahead, one.converted, one.cancelled, one.returned) for one in model.promises]
        assert sorted(ours) == sorted(theirs)


def show(lot: Any) -> tuple[object, ...]:
    day = NEVER if lot.expires_on is None else (lot.expires_on - FIRST_DAY).days
    figures = (lot.points, lot.remaining, lot.redeemed, lot.sent, lot.removed, lot.expired, lot.returned)
    return (lot.origin, lot.bill, day, *map(int, figures))


def about(step: Step, **fields: Any) -> dict[str, Any]:
    return {"holder": HOLDERS[step.holder], "programme": PROGRAMME, **fields}


def bill_of(step: Step) -> str:
    return f"b{step.name}"


def issue(pair: Pair, model: Model, step: Step) -> Fact:
    ahead = DAYS_AHEAD[step.choice % len(DAYS_AHEAD)]
    day = NEVER if ahead == NEVER else max(0, pair.now + ahead)
    promotion = "p" if step.points % 3 == 0 else None
    model.earn(step.points, "promotional" if promotion else "regular", bill_of(step), day, promotion)
    grant = Grant(Decimal(step.points), day_of(day), "promotional" if promotion else "regular", promotion)
    return Issued(grants=(grant,), bill=bill_of(step), **about(step))


def promise(pair: Pair, model: Model, step: Step) -> Fact:
    converts = NEVER if step.choice == 0 else pair.now + step.choice
    model.promise(step.points, bill_of(step), converts)
    promised = Promise(Decimal(step.points), day_of(converts))
    return Issued(promises=(promised,), bill=bill_of(step), bill_number=bill_of(step), **about(step))


def convert(_pair: Pair, model: Model, step: Step) -> Fact:
    bill = bill_of(step) if step.choice % 2 else None
    model.convert(step.points, bill)
    grant = Grant(Decimal(step.points), None, "converted")
    return PromisedConverted(grants=(grant,), bill_number=bill, **about(step))


def redeem(_pair: Pair, model: Model, step: Step) -> Fact:
    model.spend(step.points, f"r{step.name}")
    return Redeemed(points=Decimal(step.points), redemption=f"r{step.name}", **about(step))


def reverse(_pair: Pair, model: Model, step: Step) -> Fact:
    part = min(step.choice, step.points)
    split: dict[str, int] = [{}, {"available": part}, {"expired": part}][step.choice % 3]
    model.give_back(step.points, f"r{step.name}", **split)
    stated: dict[str, Any] = {name: Decimal(points) for name, points in split.items()}
    return RedemptionReversed(points=Decimal(step.points), redemption=f"r{step.name}", **stated, **about(step))


def take_back(_pair: Pair, model: Model, step: Step) -> Fact:
    bill = bill_of(step)
    if step.choice == 0:
        model.take_back(None, bill, total=step.points)
        totals: dict[str, Any] = {"points_total": Decimal(step.points), "promised_total": ZERO}
        return IssueReversed(bill=bill, bill_number=bill, **totals, **about(step))
    promised = step.points if step.choice == 1 else 0
    given = ("p", step.points // 2) if step.choice == 2 else None
    model.take_back(step.points, bill, promised, given=given)
    points: dict[str, Any] = {"points": Decimal(step.points), "promised": Decimal(promised)}
    if given is not None:
        points["promotions"] = (PromotionShare(Decimal(given[1]), given[0]),)
    return IssueReversed(bill=bill, bill_number=bill, **points, **about(step))


def expire(_pair: Pair, model: Model, step: Step) -> Fact:
    model.expire(step.points)
    return Expired(points=Decimal(step.points), **about(step))


def move(pair: Pair, model: Model, step: Step) -> Fact:
    days = sorted({lot.day for lot in model.lots if lot.day != NEVER}) or [pair.now]
    old, new = days[step.name % len(days)], max(0, pair.now + step.choice - 1)
    model.move(step.points, old, new)
    return ExpiryMoved(points=Decimal(step.points), old=day_of(old), new=day_of(new), **about(step))


def send(_pair: Pair, model: Model, step: Step) -> Fact:
    model.spend(step.points, f"t{step.name}", "sent")
    model.in_transit += step.points
    return TransferSent(points=Decimal(step.points), transfer=f"t{step.name}", **about(step))


def arrive(_pair: Pair, model: Model, step: Step) -> Fact:
    model.in_transit -= step.points
    return TransferSettled(points=Decimal(step.points), transfer=f"t{step.name}", **about(step))


def receive(_pair: Pair, model: Model, step: Step) -> Fact:
    model.earn(step.points, "transfer")
    return TransferReceived(points=Decimal(step.points), transfer=f"t{step.name}", **about(step))


def remove(pair: Pair, model: Model, step: Step) -> Fact:
    model.spend(step.points, f"removed {pair.number}", "removed")
    return Removed(points=Decimal(step.points), **about(step))


def merge(pair: Pair, _model: Model, step: Step) -> Fact | None:
    """The step's holder is the victim. At most one merge a history, once both holders are known."""
    other = 1 - step.holder
    if pair.survivor is not None or None in (pair.account(0), pair.account(1)):
        return None
    pair.models[other].pass_to(pair.now, pair.number)
    pair.models[other].merge(pair.models[step.holder])
    pair.survivor = other
    return HolderMergedAway(holder=HOLDERS[step.holder], survivor=HOLDERS[other])


STEPS_OF: dict[str, Callable[[Pair, Model, Step], Fact | None]] = {
    "issue": issue,
    "promise": promise,
    "convert": convert,
    "redeem": redeem,
    "reverse": reverse,
    "take_back": take_back,
    "expire": expire,
    "move": move,
    "send": send,
    "arrive": arrive,
    "receive": receive,
    "remove": remove,
    "merge": merge,
}
OFTEN = ("issue", "issue", "redeem", "redeem", "reverse", "take_back", *STEPS_OF)

steps = st.builds(
    Step,
    kind=st.sampled_from(OFTEN),
    holder=st.integers(0, 1),
    points=st.integers(1, 12),
    name=st.integers(0, 3),
    choice=st.integers(0, 5),
    days=st.sampled_from((0, 0, 1, 3)),
)


@settings(max_examples=max(EXAMPLES_MIN, settings().max_examples), phases=PHASES)
@given(history=st.lists(steps, min_size=STEPS, max_size=STEPS))
def test_every_history_gives_the_figures_of_the_reference_model(history: list[Step]) -> None:
    pair = Pair()
    for step in history:
        pair.apply(step)
