"""The state of a fold of accounts: all that one holder has, and the lines of its statement that are being written."""

from datetime import datetime
from decimal import Decimal

from msgspec import field

from ledger.facts import Occurrence
from ledger.facts.accounts import AccountFact, Claim, account_id_of
from projections.accounts import changes, statement
from projections.accounts.changes import Changes, Counted
from projections.accounts.lots import ZERO, Account, pass_time
from projections.definition import State
from projections.programme_terms import NO_TERMS, Terms, programme_of


class Wallet(State, dict=True):
    """All accounts of one holder, and of those merged with it. The terms it is folded under are no part of it."""

    accounts: dict[str, Account] = {}
    survivors: dict[str, str] = {}  # who took over the accounts of a merged holder
    changes: Changes = field(default_factory=Changes)  # real-world changes that have been counted
    lines: list[statement.Line] = field(default_factory=list)

    @property
    def terms(self) -> Terms:
        terms: Terms = self.__dict__.get("terms", NO_TERMS)
        return terms


def under(wallet: Wallet, terms: Terms) -> None:
    """Fold a wallet under the terms of programmes from now on."""
    wallet.__dict__["terms"] = terms
    for account in wallet.accounts.values():
        account.terms = terms.of(programme_of(account.account_id, account.programme))


def account_of(wallet: Wallet, holder: str, programme: str, unit: str, customer: str | None) -> Account:
    """Find or open an account; one of a merged holder is the survivor's."""
    owner = survivor_of(wallet, holder)
    account_id = account_id_of(owner, programme, unit)
    account = wallet.accounts.get(account_id)
    if account is None:
        account = wallet.accounts[account_id] = Account(account_id, programme, unit, customer or owner)
        account.terms = wallet.terms.of(programme_of(account_id, programme))
    if customer is not None and owner == holder:
        account.customer = customer
    return account


def survivor_of(wallet: Wallet, holder: str) -> str:
    """Follow merges to whoever holds the accounts now."""
    while holder in wallet.survivors:
        holder = wallet.survivors[holder]
    return holder


def held_by(wallet: Wallet, holder: str) -> list[Account]:
    return sorted((one for one in wallet.accounts.values() if one.account_id.startswith(f"{holder}:")), key=_id_of)


def _id_of(account: Account) -> str:
    return account.account_id


def lapse(wallet: Wallet, account: Account, now: datetime) -> None:
    """Let time pass: lots whose day is over lapse, each with a line of its own, whether or not anything else runs."""
    for lot in pass_time(account, now):
        assert lot.lapses_at is not None
        write_line(wallet, account, "Lapsed", lot.lapses_at, -lot.remaining)


def write_line(
    wallet: Wallet,
    account: Account,
    kind: str,
    occurred: Occurrence | datetime,
    points: Decimal,
    claim: Claim | None = None,
    reference: str | None = None,
    untied: Decimal | None = None,
    *,
    counted: int | None = None,
    differs: Decimal | None = None,
) -> None:
    """Write a line of the statement: of a fact, or of a lapse, which no fact tells of and so has no position."""
    account.lines += 1
    if isinstance(occurred, Occurrence):
        occurred_at, position = occurred.occurred_at, occurred.position
        account.last_at = occurred_at
        account.last_position = max(account.last_position, occurred.position)
    else:
        occurred_at, position = occurred, None
    wallet.lines.append(
        statement.Line(
            account_id=account.account_id,
            line=account.lines,
            occurred_at=occurred_at,
            kind=kind,
            points=points,
            balance=account.available,
            promised=account.classes.get("promised", ZERO),
            claimed=claim.available if claim is not None else None,
            drift=account.drift if claim is not None else None,
            reference=reference,
            untied=untied,
            again=counted is not None,
            differs=differs,
            postings=statement.encode_postings(account.postings),
            position=position,
            counted_position=counted,
        )
    )
    account.postings.clear()


def write_report(wallet: Wallet, fact: AccountFact, occurrence: Occurrence, earlier: Counted) -> None:
    """Write the line of a change that an earlier report has told: it moves no points, and names that report."""
    account_id = account_id_of(survivor_of(wallet, fact.holder), fact.programme, fact.unit)
    account = wallet.accounts.get(account_id) or wallet.accounts[earlier.account_id]
    lapse(wallet, account, occurrence.occurred_at)
    differs = changes.difference(wallet.changes, fact, earlier, account_id)
    kind, reference = type(fact).__name__, statement.reference_of(fact)
    write_line(wallet, account, kind, occurrence, ZERO, None, reference, counted=earlier.position, differs=differs)
