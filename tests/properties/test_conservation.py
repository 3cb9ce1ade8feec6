"""Invariant 7: postings sum to zero, and lots, debt and balance agree, after any history."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given

from ledger.events import Event
from ledger.facts import RecordedFact
from ledger.intake.interpret import interpret
from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import ZERO, Account
from projections.definition import fact_key, fold
from projections.engine.groups import connected_components
from projections.engine.snapshots import decode_state, encode_state
from tests.properties.histories import histories
from tests.support.payloads import delivery


def wallets(history: Sequence[bytes]) -> list[list[RecordedFact]]:
    """Return the account facts of a history by wallet, in fold order."""
    facts = []
    keys = set()
    for position, body in enumerate(history, 1):
        parsed = delivery(body)
        draft = parsed.events[0]
        if draft.event_key in keys:  # a duplicate or a conflict: folded once
            continue
        keys.add(draft.event_key)
        event = Event(
            position,
            draft.source,
            draft.org,
            draft.kind,
            draft.event_key,
            draft.content,
            draft.occurred_at,
            datetime(2026, 1, 1, tzinfo=UTC),
            draft.ordinal,
            parsed.payload,
        )
        facts += [recorded for recorded in interpret(event).facts if recorded.fact.subject_kind == "account"]
    pairs = [ACCOUNTS.merging_facts[type(fact)](fact) for fact, _ in facts if type(fact) in ACCOUNTS.merging_facts]
    root_of = {member: root for root, members in connected_components(pairs).items() for member in members}
    by_root: dict[str, list[RecordedFact]] = defaultdict(list)
    for recorded in facts:
        by_root[root_of.get(recorded.fact.subject, recorded.fact.subject)].append(recorded)
    return [sorted(group, key=fact_key) for group in by_root.values()]


def check(account: Account) -> None:
    classes = account.classes
    assert sum(classes.values(), ZERO) == 0
    assert all(lot.remaining >= 0 for lot in account.lots.values())
    for lot in account.lots.values():
        used = lot.redeemed + lot.sent + lot.removed + lot.expired + lot.returned
        assert lot.points == lot.remaining + used, lot
        assert min(lot.redeemed, lot.sent, lot.removed, lot.expired, lot.returned) >= 0, lot
    opened = sum((account.lots[place[2]].remaining for place in account.open), ZERO)
    lapsed = sum((account.lots[place[2]].remaining for place in account.lapsed), ZERO)
    assert opened + lapsed == sum((lot.remaining for lot in account.lots.values()), ZERO)
    assert opened == classes.get("available", ZERO)
    assert lapsed == classes.get("lapsed", ZERO)
    assert account.debt >= 0
    assert account.available == opened - account.debt
    assert not (account.debt and opened), "a debt is settled before anything is left to spend"
    assert sum((pending.remaining for pending in account.pending.values()), ZERO) == classes.get("promised", ZERO)
    assert account.open == sorted(account.open)


@given(history=histories())
def test_every_prefix_of_every_history_balances(history: list[bytes]) -> None:
    for facts in wallets(history):
        wallet: Wallet | None = None
        for one in facts:
            wallet = fold(ACCOUNTS, [one], wallet)
            assert wallet is not None
            for account in wallet.accounts.values():
                check(account)
            assert sum((sum(one.classes.values(), ZERO) for one in wallet.accounts.values()), Decimal(0)) == 0


@given(history=histories())
def test_folding_on_from_a_written_state_is_folding_at_once(history: list[bytes]) -> None:
    for facts in wallets(history):
        at_once = fold(ACCOUNTS, facts)
        wallet = None
        lines: list[tuple[object, ...]] = []
        for one in facts:
            wallet = fold(ACCOUNTS, [one], wallet)
            assert ACCOUNTS.take_rows is not None
            lines += ACCOUNTS.take_rows("", wallet)["statement"]
            wallet = decode_state(ACCOUNTS, encode_state(wallet))

        assert ACCOUNTS.take_rows is not None
        assert lines == ACCOUNTS.take_rows("", at_once)["statement"]
        assert {name: list(rows) for name, rows in ACCOUNTS.rows("", wallet).items()} == {
            name: list(rows) for name, rows in ACCOUNTS.rows("", at_once).items()
        }


@given(history=histories())
def test_the_statement_adds_up_to_the_balance(history: list[bytes]) -> None:
    for facts in wallets(history):
        wallet = fold(ACCOUNTS, facts)
        for account in wallet.accounts.values():
            lines = [line for line in wallet.lines if line.account_id == account.account_id]
            assert lines[-1].balance == account.available
            assert sum((line.points for line in lines), ZERO) == account.available
