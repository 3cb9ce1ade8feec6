"""Why a number is what it is: the facts in order, the rule that each was folded by, and the state after it. Pure.

The same fold as ever, fact by fact. An account is explained by the lines of its statement, with the lots that each
touched, for showing all lots after every fact would make it quadratic; anything else by what changed in its row.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unfoldable
from ledger.facts import Fact, Told
from ledger.facts.accounts import NO_PROGRAMME, AccountFact
from ledger.failures import failure
from projections.accounts.lots import ZERO, Posting
from projections.accounts.state import Wallet
from projections.accounts.tables import LOTS, Line, lot_row
from projections.accounts.wallet import ACCOUNTS, EFFECTS
from projections.as_of import Known
from projections.projection import Projection, fold, rows_of
from projections.terms import programme_of

SPENDABLE = "available"

# What stands in a statement without a fact that says so.
WITHOUT_FACT = {
    "Lapsed": "The lot's day was over: what remained in it can no longer be spent, whoever told of it.",
    "Opening": "The source claims a balance for the first time: what the facts before it do not explain was there "
    "before we listened, as a lot of its own.",
}

COUNTED_BEFORE = "This event reports a change again: it moves no points. Already counted by the event at position"


class Applied(NamedTuple):
    """The rule that a fact was folded by: its name in this software, and what it does, in words."""

    name: str
    says: str


class LotTouched(NamedTuple):
    """A lot that a line touched: by how much what is spendable in it changed, and its row afterwards."""

    change: Decimal
    row: Mapping[str, Any]


class LineStep(NamedTuple):
    """One line of an account's statement, the fact that it comes from, if any, and the lots it touched."""

    line: Line
    told: Told | None
    rule: Applied
    postings: Sequence[Posting]
    lots: Sequence[LotTouched]


class RowStep(NamedTuple):
    """One fact about a subject, and its row afterwards, with the columns that changed and what they were before."""

    told: Told
    rule: Applied
    row: Mapping[str, Any]
    before: Mapping[str, Any]


class Stuck(NamedTuple):
    """The fact that could not be folded, and why: all before it were."""

    told: Told
    reason: str


def rule_of(projection: Projection, fact: Fact) -> Applied:
    """Name the rule for a fact, and say what it does by its own docstring, else by what the fact says."""
    placed = getattr(fact, "programme", None) != NO_PROGRAMME
    effect = EFFECTS.get(type(fact)) if isinstance(fact, AccountFact) and placed else None
    function: Callable[..., Any] = effect.apply if effect is not None else projection.on[type(fact)]
    module = function.__module__.removeprefix("projections.")
    return Applied(f"{module}.{function.__name__}", _sentence(function) or _sentence(type(fact)))


def _sentence(thing: Any) -> str:
    """Give the first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def account_steps(known: Known, account_id: str) -> Iterator[LineStep | Stuck]:
    """Give the lines of one account as they come of the facts of its holder, and of those merged with it."""
    wallet: Wallet = ACCOUNTS.start()  # type: ignore[assignment]
    for told in known.told:
        try:
            fold(ACCOUNTS, [told], wallet, known.terms)
        except Unfoldable as stuck:
            yield Stuck(told, str(stuck))
            return
        try:
            steps = [_line_step(wallet, line, told) for line in wallet.lines if line.account_id == account_id]
        except Exception as error:  # a fault of ours in showing it: told here, and no other account is touched
            yield Stuck(told, failure(error))
            return
        yield from steps
        wallet.lines.clear()


def _line_step(wallet: Wallet, line: Line, told: Told) -> LineStep:
    postings = _POSTINGS.decode(line.postings)
    says = WITHOUT_FACT.get(line.kind)
    rule = Applied(f"accounts.{line.kind.lower()}", says) if says else rule_of(ACCOUNTS, told.fact)
    if line.counted_position is not None:
        rule = Applied("accounts.changes.earlier_report", f"{COUNTED_BEFORE} {line.counted_position}.")
    changes: dict[str, Decimal] = {}
    for posting in postings:
        if posting.lot_id is not None:
            gained = (posting.target == SPENDABLE) - (posting.source == SPENDABLE)
            changes[posting.lot_id] = changes.get(posting.lot_id, ZERO) + gained * posting.points
    return LineStep(
        line=line,
        told=None if says else told,
        rule=rule,
        postings=postings,
        lots=[LotTouched(change, row) for lot_id, change in changes.items() for row in _lot_rows(wallet, lot_id)],
    )


def _lot_rows(wallet: Wallet, lot_id: str) -> Iterator[Mapping[str, Any]]:
    """Give the row of a lot, which may be another account's by now."""
    for account in wallet.accounts.values():
        lot = account.lots.get(lot_id)
        if lot is not None:
            programme = programme_of(account.account_id, account.programme)
            yield dict(zip(LOTS.columns, lot_row(account, lot, programme), strict=True))
            return


def row_steps(projection: Projection, known: Known) -> Iterator[RowStep | Stuck]:
    """Give the row of a subject after each of its facts."""
    state = projection.start()
    columns = projection.tables[0].columns
    before: dict[str, Any] = {}
    for told in known.told:
        try:
            fold(projection, [told], state, known.terms)
            rows = rows_of(projection, known.root, state, [told])[projection.tables[0].name]
        except Unfoldable as stuck:
            yield Stuck(told, str(stuck))
            return
        row = dict(zip(columns, rows[0], strict=True)) if rows else {}
        changed = {column: before.get(column) for column in row if row[column] != before.get(column)}
        yield RowStep(told, rule_of(projection, told.fact), row, changed)
        before = row


_POSTINGS: Any = msgspec.json.Decoder(list[Posting])
