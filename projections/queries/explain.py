"""Explain a figure: the facts in order, the rule for each, and the state after it. Pure.

It runs the normal fold, fact by fact. An account is explained by its statement lines and the lots that each line
touched. All lots after every fact would be quadratic. Any other subject is explained by the changed columns of its row.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.errors import Unfoldable
from ledger.facts import Fact, RecordedFact
from ledger.failures import describe_failure
from projections.accounts.account import ZERO, Posting
from projections.accounts.classes import LOT_COLUMNS
from projections.accounts.rows import lot_row
from projections.accounts.state import Wallet
from projections.accounts.statement import Line, decode_postings
from projections.accounts.tables import LOTS
from projections.accounts.wallet import ACCOUNTS
from projections.definition import Projection, build_rows, fold
from projections.programme_terms import programme_ref
from projections.queries.as_of import KnownSubject
from projections.queries.fact_sentences import EARLIER_REPORT, SENTENCES, UNKNOWN_REDEMPTION

SPENDABLE = "available"
LINES_WITHOUT_FACT = ("Lapsed", "Opening")


class ExplainStep(NamedTuple):
    """Rule that folded a fact: its public name, and a sentence about its effect for support agents."""

    name: str
    sentence: str


class LotTouched(NamedTuple):
    """A lot that a statement line touched: the change of its spendable points, and its row afterwards."""

    change: Decimal
    row: Mapping[str, Any]


class LineStep(NamedTuple):
    """One statement line, its fact (None for a line without one), and the lots that it touched."""

    line: Line
    recorded: RecordedFact | None
    rule: ExplainStep
    postings: Sequence[Posting]
    lots: Sequence[LotTouched]


class RowStep(NamedTuple):
    """One fact of a subject, the row after it, and the earlier values of the changed columns."""

    recorded: RecordedFact
    rule: ExplainStep
    row: Mapping[str, Any]
    before: Mapping[str, Any]


class UnfoldableStep(NamedTuple):
    """The fact that could not be folded, and the reason. All facts before it were folded."""

    recorded: RecordedFact
    reason: str


def rule_of(projection: Projection, fact: Fact) -> ExplainStep:
    """Return the rule of a fact: name and sentence."""
    return rule_named(rule_name(projection, type(fact)))


def rule_named(name: str) -> ExplainStep:
    """Return a rule with its sentence. Raises KeyError for an unknown name."""
    return ExplainStep(name, SENTENCES[name])


def rule_name(projection: Projection, kind: type[Fact]) -> str:
    """Return the public name of the rule for a kind of fact, such as "account.redeemed".

    It is made of the stored kinds of subject and fact, which never change.
    """
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
    return f"{projection.subject}.{words.lstrip('_')}"


def account_steps(known: KnownSubject, account_id: str) -> Iterator[LineStep | UnfoldableStep]:
    """Yield the statement lines of one account, from the facts of its holder and of the holders merged with it."""
    wallet: Wallet = ACCOUNTS.start()  # type: ignore[assignment]
    for recorded in known.facts:
        try:
            fold(ACCOUNTS, [recorded], wallet, known.terms)
        except Unfoldable as stuck:
            yield UnfoldableStep(recorded, str(stuck))
            return
        try:
            steps = _steps_of(wallet, recorded, account_id)
        except Exception as error:  # a fault of our own code: it is reported here and stops no other account
            yield UnfoldableStep(recorded, describe_failure(error))
            return
        yield from steps
        wallet.lines.clear()


def _steps_of(wallet: Wallet, recorded: RecordedFact, account_id: str) -> list[LineStep]:
    """Return the steps of one fact. Lots are read after the last step; for earlier steps, later postings are undone."""
    steps = [_line_step(wallet, line, recorded) for line in wallet.lines if line.account_id == account_id]
    for number, step in enumerate(steps[:-1]):
        later = [posting for following in steps[number + 1 :] for posting in following.postings]
        lots = [touched._replace(row=_row_before(touched.row, later)) for touched in step.lots]
        steps[number] = step._replace(lots=lots)
    return steps


def _row_before(row: Mapping[str, Any], later: Sequence[Posting]) -> Mapping[str, Any]:
    """Return a lot's row as it was before some postings."""
    before = dict(row)
    for posting in later:
        if posting.lot_id != row["lot_id"]:
            continue
        remaining = {SPENDABLE, "lapsed"}
        before["remaining"] += posting.points * ((posting.source in remaining) - (posting.target in remaining))
        for name, sign in ((posting.target, -1), (posting.source, 1)):
            if name in LOT_COLUMNS:
                before[LOT_COLUMNS[name]] += sign * posting.points
    return before


def _line_step(wallet: Wallet, line: Line, recorded: RecordedFact) -> LineStep:
    postings = decode_postings(line.postings)
    without_fact = line.kind in LINES_WITHOUT_FACT
    rule = rule_named(f"account.{line.kind.lower()}") if without_fact else rule_of(ACCOUNTS, recorded.fact)
    if line.counted_position is not None:
        rule = ExplainStep("account.earlier_report", f"{EARLIER_REPORT} {line.counted_position}.")
    elif line.kind == "RedemptionReversed" and line.untied is not None and not postings:
        rule = ExplainStep(rule.name, UNKNOWN_REDEMPTION)
    changes: dict[str, Decimal] = {}
    for posting in postings:
        if posting.lot_id is not None:
            gained = (posting.target == SPENDABLE) - (posting.source == SPENDABLE)
            changes[posting.lot_id] = changes.get(posting.lot_id, ZERO) + gained * posting.points
    return LineStep(
        line=line,
        recorded=None if without_fact else recorded,
        rule=rule,
        postings=postings,
        lots=[LotTouched(change, row) for lot_id, change in changes.items() for row in _lot_rows(wallet, lot_id)],
    )


def _lot_rows(wallet: Wallet, lot_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the row of a lot, which another account may hold by now."""
    for account in wallet.accounts.values():
        lot = account.lots.get(lot_id)
        if lot is not None:
            programme = programme_ref(account.account_id, account.programme)
            yield dict(zip(LOTS.columns, lot_row(account, lot, programme), strict=True))
            return


def row_steps(projection: Projection, known: KnownSubject) -> Iterator[RowStep | UnfoldableStep]:
    """Yield the row of a subject after each of its facts."""
    state = projection.start()
    columns = projection.tables[0].columns
    before: dict[str, Any] = {}
    for recorded in known.facts:
        try:
            fold(projection, [recorded], state, known.terms)
            rows = build_rows(projection, known.root, state, [recorded])[projection.tables[0].name]
        except Unfoldable as stuck:
            yield UnfoldableStep(recorded, str(stuck))
            return
        row = dict(zip(columns, rows[0], strict=True)) if rows else {}
        changed = {column: before.get(column) for column in row if row[column] != before.get(column)}
        yield RowStep(recorded, rule_of(projection, recorded.fact), row, changed)
        before = row
