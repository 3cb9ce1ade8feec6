"""The vendor's rules for deductions (docs/domain.md §4.2), row by row, and events out of order."""

# Exact decimals are compared with whole numbers here.
# mypy: disable-error-code="comparison-overlap"

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.facts import Fact
from ledger.facts.accounts import NO_PROGRAMME
from projections.accounts import ACCOUNTS
from projections.accounts.account import Account
from tests.support.account_facts import (
    ANN,
    account,
    converted,
    days,
    expired,
    given_back,
    issued,
    lots,
    on_day,
    promised,
    received,
    redeemed,
    returned,
    returned_in_all,
    sent,
    settled,
    wallet,
)

FAR = date(2030, 1, 1)


def figures(of: Account) -> dict[str, int]:
    """Return the figures of the vendor's table that are not zero."""
    classes = {name: int(of.classes.get(name, 0)) for name in ("redeemed", "expired", "reversed", "sent", "in_transit")}
    classes["reversed"] += int(of.classes.get("promises_cancelled", 0))  # the vendor's returned points, promised or not
    told = {"current": int(of.available), "lifetime": int(of.lifetime), **classes}
    return {name: points for name, points in told.items() if points}


# ---- the ten rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param(
            [issued(100, "1", lapses=on_day(1)), expired(100)],
            {"lifetime": 100, "expired": 100},
            id="EXPIRED",
        ),
        pytest.param(
            [issued(100, "1"), redeemed(60)],
            {"current": 40, "lifetime": 100, "redeemed": 60},
            id="REDEEMED",
        ),
        pytest.param(
            [issued(100, "1"), returned(60, "1")],
            {"current": 40, "lifetime": 40, "reversed": 60},
            id="RETURN",
        ),
        pytest.param(
            [issued(100, "1"), redeemed(100), given_back(100)],
            {"current": 100, "lifetime": 100},
            id="REDEMPTION_REVERSAL",
        ),
        pytest.param(
            [issued(100, "1"), redeemed(100), returned(100, "1")],
            {"current": -100, "redeemed": 100, "reversed": 100},
            id="REDEMPTION_REVERTED",
        ),
        pytest.param(
            [issued(100, "1", lapses=on_day(1)), expired(100), returned(100, "1")],
            {"lifetime": 100, "reversed": 100},
            id="EXPIRY_REVERTED",
        ),
        pytest.param(
            [issued(100, "1"), sent(100), settled(100)],
            {"lifetime": 100, "sent": 100},
            id="REDEEMED_BY_TRANSFER, sender",
        ),
        pytest.param(
            [received(100)],
            {"current": 100, "lifetime": 100},
            id="REDEEMED_BY_TRANSFER, receiver",
        ),
        pytest.param(
            [issued(100, "1"), sent(100), settled(100), returned(100, "1")],
            {"current": -100, "sent": 100, "reversed": 100},
            id="REDEEMED_BY_TRANSFER_REVERTED",
        ),
        pytest.param(
            [promised(100, "1"), converted(100, "1")],
            {"current": 100, "lifetime": 100},
            id="REDEEMED_BY_CONVERSION",
        ),
        pytest.param(
            [promised(100, "1"), returned(0, "1", promised=50), converted(50, "1")],
            {"current": 50, "lifetime": 50, "reversed": 50},
            id="RETURN_HISTORICAL",
        ),
    ],
)
def test_each_deduction_changes_what_the_vendors_table_states(history: list[Fact], expected: dict[str, int]) -> None:
    assert figures(account(*history)) == expected


def test_the_receiver_of_a_transfer_keeps_a_new_lot() -> None:
    assert lots(account(received(100)), "origin", "remaining") == [("transfer", 100)]


# ---- redemptions given back ------------------------------------------------------------------------------------------


def test_a_split_that_names_only_what_is_available_means_that_the_rest_expired() -> None:
    of = account(issued(10, lapses=on_day(2)), redeemed(10), issued(1), given_back(10, available=4))

    assert (of.available, of.classes["expired"], of.classes["redeemed"]) == (5, 6, 0)


def test_a_split_that_names_only_what_expired_means_that_the_rest_is_available() -> None:
    of = account(issued(10, lapses=on_day(2)), redeemed(10), issued(1), given_back(10, expired=6))

    assert (of.available, of.classes["expired"]) == (5, 6)


def test_a_spend_that_moved_to_another_lot_is_given_back_to_that_lot() -> None:
    of = account(issued(100, "1"), issued(150, "2"), redeemed(110), returned(100, "1"), given_back(110))

    assert of.available == 150
    assert lots(of, "bill", "remaining", "redeemed", "returned") == [("1", 0, 0, 100), ("2", 150, 0, 0)]


def test_a_spend_that_became_a_debt_is_given_back_to_the_debt() -> None:
    of = account(issued(100, "1"), redeemed(100), returned(100, "1"), given_back(60))

    assert (of.available, of.debt, of.classes["redeemed"]) == (-40, 40, 40)


def test_points_given_back_settle_a_debt_before_they_can_be_spent() -> None:
    of = account(
        *[issued(50, "1"), issued(50, "2"), redeemed(50, "r"), redeemed(50, "s")],
        *[returned(50, "2"), given_back(50, "r")],
    )

    assert (of.available, of.debt) == (0, 0)


def test_a_reversal_reported_before_its_redemption_counts_against_it() -> None:
    of = account(issued(40), given_back(30, "late"), redeemed(40, "late"), given_back(30, "late"))

    assert (of.available, of.classes["redeemed"], of.contested) == (40, 0, True)


def test_several_reversals_reported_before_their_redemption_are_all_its() -> None:
    of = account(given_back(10, "late"), given_back(20, "late"), issued(40), redeemed(40, "late"))

    assert (of.available, of.classes["redeemed"], of.orphans) == (30, 10, {})
    assert lots(of, "origin", "remaining")[-1] == ("regular", 30)


# ---- bills returned --------------------------------------------------------------------------------------------------


def test_what_is_unspent_is_returned_before_what_is_spent_and_that_before_what_expired() -> None:
    history = [issued(30, "1", lapses=on_day(3)), issued(30, "1", lapses=FAR), redeemed(20), expired(10)]

    some = account(*history, returned(25, "1"))
    more = account(*history, returned(45, "1"))
    all_of_it = account(*history, returned(60, "1"))

    assert figures(some) == {"current": 5, "lifetime": 35, "redeemed": 20, "expired": 10, "reversed": 25}
    assert figures(more) == {"current": -15, "lifetime": 15, "redeemed": 20, "expired": 10, "reversed": 45}
    assert figures(all_of_it) == {"current": -20, "lifetime": 10, "redeemed": 20, "reversed": 60}


def test_a_return_gives_the_same_before_and_after_the_vendor_reports_the_expiry() -> None:
    history = [issued(30, "1", lapses=on_day(2)), issued(30, "1", lapses=FAR), redeemed(20)]

    before, after = account(*history, returned(25, "1")), account(*history, expired(30), returned(25, "1"))

    assert figures(before) == {"current": -15, "lifetime": 35, "redeemed": 20, "reversed": 25}
    assert figures(after) == {**figures(before), "expired": 30}


def test_a_bill_returned_part_by_part_gives_the_whole() -> None:
    of = account(issued(100, "1"), redeemed(30), returned(40, "1"), returned(40, "1"), returned(20, "1"))

    assert (of.available, of.debt) == (-30, 30)
    assert lots(of, "remaining", "redeemed", "returned") == [(0, 0, 100)]


def test_totals_count_what_the_current_event_reported_before() -> None:
    of = account(issued(100, "1"), returned(30, "1"), returned_in_all(50, "1"))

    assert of.available == 50


def test_a_bill_that_was_never_seen_is_taken_from_any_lot_and_then_owed() -> None:
    of = account(issued(30, "1"), returned(50, "unheard"), issued(100, "2"))

    assert (of.available, of.debt, of.classes.get("unseen", 0)) == (80, 0, 0)
    assert lots(of, "bill", "remaining", "returned") == [("1", 0, 30), ("2", 80, 20)]


def test_converted_points_are_taken_back_once() -> None:
    back = returned(0, "1", promised=60)
    of = account(promised(100, "1"), converted(100, "1"), issued(100, "2"), back, back)

    assert of.available == 100
    assert lots(of, "bill", "remaining") == [("1", 0), ("2", 100)]
    assert of.classes["unseen"] == -20


def test_a_promise_returned_that_was_never_seen_changes_no_balance() -> None:
    of = account(issued(10, "1"), returned(0, "2", promised=60))

    assert (of.available, of.classes.get("promised", 0), of.classes["unseen"]) == (10, 0, -60)


# ---- expiries and debts ----------------------------------------------------------------------------------------------


def test_an_expiry_reported_while_in_debt_proves_that_the_debt_was_paid_unseen() -> None:
    of = account(issued(10, "1"), redeemed(10), returned(10, "1"), expired(5))

    assert (of.available, of.debt, of.classes["expired"], of.classes["unseen"]) == (0, 0, 5, -15)


def test_a_promise_is_a_row_that_states_its_result() -> None:
    folded = wallet(*days(promised(100, "1", converts=FAR), returned(0, "1", promised=40), converted(50, "1")))
    (found,) = ACCOUNTS.rows("", folded)["promises"]

    row: Any = found
    assert (row.points, row.remaining, row.converted, row.cancelled, row.returned) == (100, 10, 50, 40, 0)
    assert row.converts_on == FAR


# ---- what the vendor's own totals prove ------------------------------------------------------------------------------


def untied(*facts: Fact) -> list[int | None]:
    """Return the excess of each fact's total over the known returns, line by line."""
    lines = wallet(*days(*facts)).lines
    return [None if line.untied is None else int(line.untied) for line in lines if line.kind == "IssueReversed"]


def test_a_total_beyond_the_returns_that_were_reported_proves_one_that_was_not() -> None:
    earned = issued(100, "1")

    assert untied(earned, returned(40, "1", in_all=40), returned(30, "1", in_all=70)) == [None, None]
    assert untied(earned, returned(40, "1", in_all=40), returned(30, "1", in_all=90)) == [None, 20]
    assert untied(earned, returned(30, "1", in_all=90), returned(5, "1", in_all=95)) == [60, None]


def test_the_missing_return_that_is_reported_after_all_ends_the_matter() -> None:
    earned = issued(100, "1")

    assert untied(earned, returned(60, "1", in_all=60), returned(30, "1", in_all=90)) == [None, None]


def test_the_first_total_of_a_bill_from_before_our_time_is_no_matter_but_a_later_gap_is() -> None:
    assert untied(returned(30, "1", in_all=90), returned(5, "1", in_all=99)) == [None, 4]


def test_promised_points_taken_back_count_in_the_total() -> None:
    back = returned(10, "1", promised=5, in_all=10)

    assert untied(issued(100, "1"), promised(50, "1"), replace(back, promised_total=Decimal(5))) == [None]


# ---- a reversal that names no programme ------------------------------------------------------------------------------


def balances(*facts: Fact) -> dict[str, int]:
    accounts = wallet(*days(*facts)).accounts
    return {name.rsplit(":", 2)[1]: int(of.available) for name, of in accounts.items()}


UNNAMED: dict[str, Any] = {"programme": NO_PROGRAMME}


def test_a_reversal_without_a_programme_goes_where_its_redemption_was_paid() -> None:
    earned = (issued(100), issued(100, programme="silver"), redeemed(30, "r1", programme="silver"), redeemed(40, "r2"))

    assert balances(*earned, given_back(30, "r1", **UNNAMED)) == {"gold": 60, "silver": 100}
    assert balances(*earned, given_back(10, "r2", available=10, **UNNAMED)) == {"gold": 70, "silver": 70}


def test_a_reversal_without_a_programme_gives_each_back_what_it_paid() -> None:
    earned = (issued(100), issued(100, programme="silver"), redeemed(30), redeemed(40, programme="silver"))

    assert balances(*earned, given_back(70, **UNNAMED)) == {"gold": 100, "silver": 100}
    assert balances(*earned, given_back(50, **UNNAMED)) == {"gold": 100, "silver": 80}


def test_a_reversal_without_a_programme_of_a_redemption_that_no_event_reported_changes_no_balance() -> None:
    told = wallet(*days(issued(100), given_back(30, "unheard", **UNNAMED)))
    alone = wallet(*days(given_back(30, "unheard", **UNNAMED)))

    assert [(line.kind, int(line.points), line.untied) for line in told.lines][1:] == [("RedemptionReversed", 0, 30)]
    assert [(name, int(of.available)) for name, of in told.accounts.items()] == [(f"{ANN}:gold:points", 100)]
    assert [(line.account_id, line.untied) for line in alone.lines] == [(f"{ANN}:-:points", 30)]
