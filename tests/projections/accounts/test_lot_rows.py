"""Rows of lots are built again only after a change, so a holder with very many lots costs no more than others."""

from projections.accounts import ACCOUNTS, Wallet
from projections.accounts.account import Lot
from projections.definition import fold
from projections.engine.snapshots import decode_state, encode_state
from tests.support.account_facts import ANN, issued, redeemed
from tests.support.fold_helpers import on


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
