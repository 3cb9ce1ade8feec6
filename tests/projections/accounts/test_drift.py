"""Claims that disagree: the missing points, the events around them, and the effect of adopting a claim."""

# Exact decimals are compared with whole numbers here.
# mypy: disable-error-code="comparison-overlap"

from decimal import Decimal
from typing import Any

from ledger.facts import Fact
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed
from ledger.facts.merges import HolderMerged, HolderMergedAway
from projections.accounts import ACCOUNTS
from tests.support.account_facts import ANN, about, account, days, issued, lots, on_day, redeemed, returned, wallet
from tests.support.fold_helpers import day, on, rows_of

BOB = "capillary:1:bob"


def adjusted(points: int, adjustment: str = "a", **fields: Any) -> AdjustmentMade:
    return AdjustmentMade(points=Decimal(points), adjustment=adjustment, **about(**fields))


def adopted(points: int, adjustment: str = "a") -> AdjustmentMade:
    return adjusted(points, adjustment, adopted=True)


def taken_back(adjustment: str = "a") -> AdjustmentReversed:
    return AdjustmentReversed(adjustment=adjustment, **about())


def row(*facts: Fact) -> Any:
    (only,) = rows_of(ACCOUNTS, *days(*facts))["accounts"]
    return only


# ---- the chain of claims of trap 14: 1000, -40 -> 960, +10 -> 990: one +20 never arrived ----------------------------

CHAIN = (issued(1000, claims=1000), redeemed(40, claims=960), issued(10, claims=990))


def test_a_chain_of_claims_states_what_is_missing_and_between_which_events() -> None:
    of = row(*CHAIN)

    assert (of.available, of.claimed, of.drift, of.missing) == (970, 990, 20, 20)
    assert (of.agreed_position, of.drift_position) == (2, 3)
    assert (of.agreed_at, of.drift_since) == (day(2), day(3))


def test_a_fraction_of_a_point_beside_whole_points_is_drift_and_no_opening() -> None:
    of = row(issued(100, claims="100.1"))

    assert (of.available, of.opening, of.claimed, of.drift) == (100, 0, Decimal("100.1"), Decimal("0.1"))


def test_a_whole_point_held_before_the_first_claim_is_an_opening() -> None:
    of = row(issued(100, claims="101.5"))

    assert (of.available, of.opening, of.drift) == (Decimal("101.5"), Decimal("1.5"), 0)


def test_where_points_have_fractions_a_fraction_held_before_is_an_opening() -> None:
    of = row(issued("13.269", claims="13.5"))

    assert (of.available, of.opening, of.drift) == (Decimal("13.5"), Decimal("0.231"), 0)


def test_claims_are_compared_in_the_three_places_that_vendors_state() -> None:
    of = row(issued("33.3333", claims="33.333"), issued("33.3333", claims="66.667"), issued(1, claims="67.669"))

    assert (of.opening, of.drift, of.agreed_position) == (0, Decimal("0.0024"), 2)


def test_the_first_claim_that_disagrees_stays_the_place_while_others_follow() -> None:
    of = row(*CHAIN, issued(5, claims=995), redeemed(95, "s", claims=900))

    assert (of.drift, of.agreed_position, of.drift_position) == (20, 2, 3)


def test_claims_that_agree_again_close_the_matter() -> None:
    of = row(*CHAIN, issued(5, claims=975))

    assert (of.drift, of.missing, of.drift_since, of.drift_position) == (0, 0, None, None)
    assert of.agreed_position == 4


def test_a_missing_debit_is_below_zero() -> None:
    of = row(issued(100, claims=100), issued(10, claims=70))

    assert (of.drift, of.missing, of.agreed_position, of.drift_position) == (-40, -40, 1, 2)


def test_a_missing_credit_that_was_spent_is_found_in_what_had_to_be_asserted() -> None:
    # 500 points were credited between the two, and never reported.
    of = row(issued(10, claims=10), redeemed(400, claims=110))

    assert (of.available, of.unseen, of.drift, of.missing) == (0, 390, 110, 500)
    assert (of.agreed_position, of.drift_position) == (1, 2)


def test_a_missing_credit_that_was_spent_to_the_last_point_is_found_though_the_claim_agrees() -> None:
    of = row(issued(10, claims=10), redeemed(400, claims=0))

    assert (of.drift, of.missing, of.agreed_position, of.drift_position) == (0, 390, 1, 2)


def test_before_the_first_claim_nothing_is_missing_but_an_opening() -> None:
    of = row(redeemed(40), redeemed(10, "s", claims=950))

    assert (of.unseen, of.opening, of.drift, of.missing) == (40, 960, 0, 0)


# ---- adjustments ----------------------------------------------------------------------------------------------------


def test_adopting_the_claim_ends_the_drift_with_a_lot_of_its_own() -> None:
    of = row(*CHAIN, adopted(20))

    assert (of.available, of.adjusted, of.drift, of.missing, of.drift_since) == (990, 20, 0, 0, None)
    assert lots(account(*CHAIN, adopted(20)), "origin", "points", "remaining")[-1] == ("adjustment", 20, 20)


def test_adopting_a_lower_claim_takes_points_from_the_lots_in_the_order_of_use() -> None:
    facts = (issued(100, "1", claims=100), issued(10, "2", claims=70), adopted(-40))

    assert (row(*facts).available, row(*facts).drift) == (70, 0)
    assert lots(account(*facts), "bill", "remaining", "removed") == [("1", 60, 40), ("2", 10, 0)]


def test_after_its_reversal_the_drift_is_back_and_all_else_too() -> None:
    history = {"last_at", "last_position"}
    for claims, adoption in ((CHAIN, adopted(20)), ((issued(100, claims=100), issued(10, claims=70)), adopted(-40))):
        before = row(*claims)._asdict()

        after = row(*claims, adoption, taken_back())._asdict()

        assert {name for name in before if before[name] != after[name]} == history


def test_an_adopted_claim_accepts_what_had_to_be_asserted_and_its_reversal_does_not() -> None:
    facts = (issued(10, claims=10), redeemed(400, claims=110))

    assert (row(*facts, adopted(110)).missing, row(*facts, adopted(110)).available) == (0, 110)
    assert (row(*facts, adopted(110), taken_back()).missing, row(*facts).drift_position) == (500, 2)
    assert row(*facts, adopted(110), issued(1, claims=111)).missing == 0
    assert row(*facts, adopted(110), issued(1, claims=111), taken_back()).missing == 500


def test_the_next_claim_is_compared_with_what_was_adopted() -> None:
    of = row(*CHAIN, adopted(20), issued(10, claims=1000))

    assert (of.available, of.drift, of.agreed_position) == (1000, 0, 5)


def test_the_missing_event_that_arrives_after_all_shows_that_the_adoption_is_one_too_many() -> None:
    told = [*days(*CHAIN, adopted(20)), on(2, issued(20), 9)]

    (of,) = rows_of(ACCOUNTS, *told)["accounts"]

    assert (of.available, of.drift, of.drift_position) == (1010, -20, 4)


def test_an_adjustment_beyond_the_lots_leaves_a_debt_and_no_asserted_history() -> None:
    of = row(issued(10, claims=10), adjusted(-30))

    assert (of.available, of.debt, of.unseen, of.drift) == (-20, 20, 0, 30)


def test_added_points_that_were_spent_move_the_spend_when_they_are_taken_back() -> None:
    of = account(adjusted(100), redeemed(80), issued(50, "1"), taken_back())

    assert (of.available, of.debt) == (-30, 30)
    assert lots(of, "origin", "remaining", "redeemed", "returned") == [("adjustment", 0, 0, 100), ("regular", 0, 50, 0)]


def test_points_taken_away_come_back_to_their_lots() -> None:
    of = account(issued(50, "1", on_day(9)), issued(50, "2"), adjusted(-70), taken_back())

    assert of.available == 100
    assert lots(of, "bill", "remaining", "removed") == [("1", 50, 0), ("2", 50, 0)]


def test_an_adjustment_counts_once_and_is_taken_back_once() -> None:
    of = account(issued(50), adjusted(20), adjusted(20), taken_back(), taken_back())

    assert (of.available, of.classes["adjusted"]) == (50, 0)


def test_a_reversal_reported_before_its_adjustment_leaves_nothing_to_do() -> None:
    of = row(*CHAIN, taken_back(), adopted(20))

    assert (of.available, of.drift, of.adjusted) == (970, 20, 0)
    (entry,) = rows_of(ACCOUNTS, *days(*CHAIN, taken_back(), adopted(20)))["adjustments"]
    assert (entry.points, entry.made_at, entry.reversed_at) == (20, day(5), day(4))


def test_added_points_may_lapse() -> None:
    of = account(adjusted(20, expires_on=on_day(2)), issued(5), issued(5))

    assert (of.available, of.classes["lapsed"]) == (10, 20)


def test_a_return_of_a_bill_leaves_an_adjustment_alone() -> None:
    of = account(issued(50, "1"), adjusted(20), returned(50, "1"))

    assert lots(of, "origin", "remaining") == [("regular", 0), ("adjustment", 20)]


# ---- merges ---------------------------------------------------------------------------------------------------------


def merged(number: int) -> list[Any]:
    return [on(number, HolderMergedAway(holder=ANN, survivor=BOB)), on(number, HolderMerged(holder=BOB, victim=ANN))]


def test_a_merge_hands_the_drift_and_its_adoption_to_who_holds_the_points() -> None:
    (ann, bob) = sorted(wallet(*days(*CHAIN), *merged(4)).accounts.values(), key=lambda one: one.account_id)
    assert (ann.available, ann.drift, bob.available, bob.drift) == (0, 0, 970, 20)

    (_, bob) = wallet(*days(*CHAIN, adopted(20)), *merged(5)).accounts.values()
    assert (bob.available, bob.drift, list(bob.adjustments)) == (990, 0, ["a"])

    (_, bob) = wallet(*days(*CHAIN, adopted(20)), *merged(5), on(6, taken_back())).accounts.values()
    assert (bob.available, bob.drift, bob.drift_position) == (970, 20, 3)
