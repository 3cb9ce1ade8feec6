"""Rows of lots and redemptions are built again only after a change. So a holder with very many costs no more."""

from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import Lot
from projections.definition import fold
from projections.engine.snapshots import decode_state, encode_state
from tests.support.account_facts import ANN, given_back, issued, redeemed
from tests.support.fold_helpers import day, on


def lot_rows(wallet: Wallet) -> list[tuple[object, ...]]:
    return [*ACCOUNTS.rows(ANN, wallet)["lots"]]


def test_a_fact_builds_the_rows_of_the_lots_that_it_touches() -> None:
    wallet: Wallet = fold(ACCOUNTS, [on(1, issued(10)), on(2, issued(20)), on(3, issued(30))])
    before = lot_rows(wallet)

    fold(ACCOUNTS, [on(4, redeemed(12))], wallet)

    after = lot_rows(wallet)
    assert [new is old for new, old in zip(after, before, strict=True)] == [False, False, True]
    assert after == lot_rows(decode_state(ACCOUNTS, encode_state(wallet)))  # type: ignore[arg-type]


def test_every_field_of_a_lot_forgets_its_row() -> None:
    wallet: Wallet = fold(ACCOUNTS, [on(1, issued(10))])
    [lot] = next(iter(wallet.accounts.values())).lots.values()

    for name in Lot.__struct_fields__:
        [row] = lot_rows(wallet)
        setattr(lot, name, getattr(lot, name))
        assert lot_rows(wallet)[0] is not row, name
        assert lot_rows(wallet) == [row]


def test_a_lot_in_another_account_has_another_row() -> None:
    wallet: Wallet = fold(ACCOUNTS, [on(1, issued(10)), on(2, issued(5))])
    rows = lot_rows(wallet)
    [account] = wallet.accounts.values()

    account.account_id = "capillary:1:bob:gold:points"

    moved = lot_rows(wallet)
    assert moved != rows
    assert {row[-3] for row in moved} == {"capillary:1:bob:gold:points"}


def test_a_second_reversal_changes_the_row_of_its_redemption() -> None:
    facts = [on(1, issued(10)), on(2, redeemed(6, "R")), on(3, given_back(6, "R")), on(4, given_back(5, "R"))]
    wallet: Wallet = fold(ACCOUNTS, facts[:3])
    assert [row[-2] for row in ACCOUNTS.rows(ANN, wallet)["redemptions"]] == [day(3)]

    fold(ACCOUNTS, facts[3:], wallet)

    rows = [*ACCOUNTS.rows(ANN, wallet)["redemptions"]]
    assert [row[-2] for row in rows] == [day(4)]
    assert str(rows) == str([*ACCOUNTS.rows(ANN, fold(ACCOUNTS, facts))["redemptions"]])
