"""State of the accounts fold: all accounts of one holder, and the statement lines not yet written to the database."""

from datetime import datetime
from decimal import Decimal

from msgspec import field

from ledger.facts import Occurrence
from ledger.facts.accounts import AccountFact, Claim, account_id_of
from projections.accounts import changes, statement
from projections.accounts.account import ZERO, Account
from projections.accounts.changes import Changes, CountedReport
from projections.accounts.lots import lapse_due_lots
from projections.definition import State
from projections.programme_terms import NO_TERMS, Terms, programme_ref


class Wallet(State, dict=True):
    """All accounts of one holder and of the holders merged with it. Programme terms are attached, but are not part of
    the stored state.
    """

    accounts: dict[str, Account] = {}
    survivors: dict[str, str] = {}  # merged holder -> the holder that took over its accounts
    changes: Changes = field(default_factory=Changes)  # real-world changes already counted
    lines: list[statement.Line] = field(default_factory=list)

    @property
    def terms(self) -> Terms:
        terms: Terms = self.__dict__.get("terms", NO_TERMS)
        return terms


def attach_terms(wallet: Wallet, terms: Terms) -> None:
    """Attach programme terms to a wallet. They apply to all later facts."""
    wallet.__dict__["terms"] = terms
    for account in wallet.accounts.values():
        account.terms = terms.of(programme_ref(account.account_id, account.programme))


def account_of(wallet: Wallet, holder: str, programme: str, unit: str, customer: str | None) -> Account:
    """Return an account, and open it if it does not exist. For a merged holder, return the survivor's account."""
    owner = survivor_of(wallet, holder)
    account_id = account_id_of(owner, programme, unit)
    account = wallet.accounts.get(account_id)
    if account is None:
        account = wallet.accounts[account_id] = Account(account_id, programme, unit, customer or owner)
        account.terms = wallet.terms.of(programme_ref(account_id, programme))
    if customer is not None and owner == holder:
        account.customer = customer
    return account


def survivor_of(wallet: Wallet, holder: str) -> str:
    """Return the present holder of the accounts. Follows merges; a holder that was not merged away returns itself."""
    while holder in wallet.survivors:
        holder = wallet.survivors[holder]
    return holder


def accounts_of(wallet: Wallet, holder: str) -> list[Account]:
    """Return the accounts whose id begins with a holder, sorted by account id."""
    return sorted(
        (account for account in wallet.accounts.values() if account.account_id.startswith(f"{holder}:")), key=_id_of
    )


def _id_of(account: Account) -> str:
    return account.account_id


def write_lapses(wallet: Wallet, account: Account, now: datetime) -> None:
    """Lapse the lots whose day ended by `now`, and write one statement line for each."""
    for lapsed_at, lot in lapse_due_lots(account, now):
        write_line(wallet, account, "Lapsed", lapsed_at, -lot.remaining)


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
    report_excess: Decimal | None = None,
) -> None:
    """Append one statement line and take the account's postings into it.

    `occurred` is the occurrence of a fact, or the time of a lapse. A lapse has no fact and therefore no position.
    """
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
            repeated=counted is not None,
            report_excess=report_excess,
            postings=statement.encode_postings(account.postings),
            position=position,
            counted_position=counted,
        )
    )
    account.postings.clear()


def write_repeated_report(wallet: Wallet, fact: AccountFact, occurrence: Occurrence, earlier: CountedReport) -> None:
    """Append the line of a repeated report. It moves no points and names the position of the counted report."""
    account_id = account_id_of(survivor_of(wallet, fact.holder), fact.programme, fact.unit)
    account = wallet.accounts.get(account_id) or wallet.accounts[earlier.account_id]
    write_lapses(wallet, account, occurrence.occurred_at)
    report_excess = changes.difference(wallet.changes, fact, earlier, account_id)
    kind, reference = type(fact).__name__, statement.reference_of(fact)
    write_line(
        wallet, account, kind, occurrence, ZERO, None, reference, counted=earlier.position, report_excess=report_excess
    )
