"""Rules for points (docs/domain.md §1.6 and §4), each with its expected figures."""

# Exact decimals are compared with whole numbers here.
# mypy: disable-error-code="comparison-overlap"

from datetime import date
from decimal import Decimal

import pytest

from ledger.facts import RecordedFact
from ledger.facts.adjustments import Removed
from ledger.facts.holds import HoldCaptured, HoldRefundDue
from ledger.facts.merges import HolderMerged, HolderMergedAway, ProgrammeClaim
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseKept, PromiseMade
from tests.support.account_facts import (
    ANN,
    about,
    account,
    converted,
    days,
    expired,
    given_back,
    issued,
    lots,
    moved,
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
from tests.support.fold_helpers import on

# ---- the vendor's worked example (§4.2): 100 and 150 earned, 110 spent, both bills returned, 500 earned -------------

EARNED = (issued(100, "1"), issued(150, "2"))


def test_points_are_spent_from_the_oldest_lot_when_none_lapses() -> None:
    of = account(*EARNED, redeemed(110))

    assert of.available == 140
    assert lots(of, "bill", "remaining", "redeemed") == [("1", 0, 100), ("2", 140, 10)]


def test_a_return_after_redemption_moves_the_spend_to_the_next_lot() -> None:
    of = account(*EARNED, redeemed(110), returned(100, "1"))

    assert of.available == 40
    assert lots(of, "bill", "remaining", "redeemed", "returned") == [("1", 0, 0, 100), ("2", 40, 110, 0)]


def test_a_return_beyond_the_lots_leaves_a_debt() -> None:
    of = account(*EARNED, redeemed(110), returned(100, "1"), returned(150, "2"))

    assert (of.available, of.debt) == (-110, 110)


def test_the_next_credit_settles_the_debt_first() -> None:
    of = account(*EARNED, redeemed(110), returned(100, "1"), returned(150, "2"), issued(500, "3"))

    assert (of.available, of.debt) == (390, 0)
    assert lots(of, "bill", "remaining", "redeemed", "returned")[-1] == ("3", 390, 110, 0)


# ---- lots ------------------------------------------------------------------------------------------------------------


def test_what_lapses_first_is_spent_first_and_what_never_lapses_last() -> None:
    of = account(issued(10), issued(10, lapses=date(2025, 1, 2)), issued(10, lapses=date(2025, 1, 1)), redeemed(25))

    assert lots(of, "remaining") == [(5,), (0,), (0,)]


def test_a_lapsed_lot_is_not_spent() -> None:
    of = account(issued(10, lapses=on_day(2)), issued(10, lapses=on_day(9)), issued(1), redeemed(5))

    assert lots(of, "remaining") == [(10,), (5,), (1,)]
    assert (of.available, of.classes["lapsed"]) == (6, 10)


def test_a_lot_is_spent_through_the_end_of_its_day() -> None:
    of = account(issued(10, lapses=on_day(2)), redeemed(4))

    assert of.available == 6


def test_spending_beyond_the_lots_proves_points_that_were_never_seen() -> None:
    of = account(issued(10), redeemed(25))

    assert (of.available, of.debt) == (0, 0)
    assert lots(of, "origin", "points", "remaining") == [("regular", 10, 0), ("unseen", 15, 0)]
    assert of.classes["unseen"] == -15


def test_spending_while_in_debt_proves_that_the_debt_was_paid_unseen() -> None:
    of = account(issued(10, "1"), redeemed(10), returned(10, "1"), redeemed(5, "s"))

    assert (of.available, of.debt, of.classes["unseen"]) == (0, 0, -15)


# ---- claims ----------------------------------------------------------------------------------------------------------


def test_the_first_claim_asserts_an_opening() -> None:
    of = account(issued(60, claims=165))

    assert (of.available, of.drift) == (165, 0)
    assert lots(of, "origin", "points") == [("opening", 105), ("regular", 60)]


def test_an_opening_pays_for_the_debit_that_reveals_it() -> None:
    of = account(redeemed(1500, claims=0))

    assert of.available == 0
    assert lots(of, "origin", "points", "remaining") == [("opening", 1500, 0)]


def test_an_opening_is_what_earlier_events_do_not_explain() -> None:
    of = account(received(10), issued(60, claims=165))

    assert of.available == 165
    assert lots(of, "origin", "points") == [("transfer", 10), ("opening", 95), ("regular", 60)]


def test_a_later_claim_changes_nothing_and_shows_the_drift() -> None:
    of = account(issued(1000, claims=1000), redeemed(40, claims=960), issued(10, claims=990))

    assert (of.available, of.claimed, of.drift) == (970, 990, 20)
    assert of.drift_position == 3


def test_drift_is_gone_when_what_was_missing_comes() -> None:
    facts = days(issued(1000, claims=1000), redeemed(40, claims=960), issued(10, claims=990))
    (of,) = wallet(*facts, on(2, issued(20), position=9)).accounts.values()

    assert (of.drift, of.drift_position) == (0, None)


def test_a_first_claim_below_what_is_known_is_drift_and_no_negative_opening() -> None:
    of = account(issued(3884, claims=2261))

    assert (of.available, of.drift, of.opening_lot) == (3884, -1623, None)


def test_an_opening_is_not_asserted_for_points_that_had_expired() -> None:
    of = account(issued(10, "1", lapses=on_day(1)), issued(5), expired(10), returned(10, "1", claims=5))

    assert (of.available, of.drift) == (5, 0)


# ---- reversals -------------------------------------------------------------------------------------------------------


def test_a_return_before_spending_takes_the_points_back() -> None:
    of = account(issued(100, "1"), returned(40, "1"))

    assert of.available == 60
    assert lots(of, "remaining", "returned") == [(60, 40)]
    assert of.lifetime == 60


def test_a_return_after_expiry_changes_no_balance() -> None:
    of = account(issued(100, "1", lapses=on_day(1)), issued(5), expired(100), returned(100, "1"))

    assert of.available == 5
    assert lots(of, "expired", "returned")[0] == (0, 100)


def test_a_return_of_lapsed_points_changes_no_balance() -> None:
    of = account(issued(100, "1", lapses=on_day(1)), issued(5), returned(100, "1"))

    assert (of.available, of.classes["lapsed"]) == (5, 0)


def test_a_return_after_a_transfer_leaves_the_sender_in_debt() -> None:
    of = account(issued(100, "1"), sent(100), returned(100, "1"))

    assert (of.available, of.debt) == (-100, 100)


def test_totals_alone_count_what_is_new_in_them() -> None:
    of = account(issued(100, "1"), returned_in_all(30, "1"), returned_in_all(30, "1"), returned_in_all(50, "1"))

    assert of.available == 50


def test_a_redemption_given_back_returns_to_its_lots() -> None:
    of = account(issued(10, "1", lapses=date(2030, 1, 1)), issued(30, "2"), redeemed(40), given_back(10))

    assert of.available == 10
    assert lots(of, "bill", "remaining", "redeemed") == [("1", 0, 10), ("2", 10, 20)]


def test_a_redemption_given_back_to_a_lapsed_lot_lapses_at_once() -> None:
    of = account(issued(10, lapses=on_day(2)), redeemed(10), issued(1), given_back(10))

    assert (of.available, of.classes["expired"]) == (1, 10)


def test_the_vendors_split_of_returned_points_is_used() -> None:
    of = account(issued(10, lapses=on_day(2)), redeemed(10), issued(1), given_back(10, available=4, expired=6))

    assert (of.available, of.classes["expired"], of.classes["redeemed"]) == (5, 6, 0)


def test_a_redemption_is_given_back_part_by_part_and_never_more_than_it_was() -> None:
    of = account(issued(40), redeemed(40), given_back(10), given_back(30), given_back(5))

    assert (of.available, of.contested) == (40, True)


def test_a_reversal_waits_for_its_redemption() -> None:
    early = account(issued(40), given_back(40, "late"))
    assert (early.available, early.orphans.keys()) == (80, {"late"})

    of = account(issued(40), given_back(40, "late"), redeemed(40, "late"))
    assert (of.available, of.classes["redeemed"], of.orphans) == (40, 0, {})


def test_a_spend_and_its_full_reversal_leave_everything_as_it_was() -> None:
    before = account(issued(40, "1"), issued(7, "2", lapses=date(2030, 1, 1)))
    after = account(issued(40, "1"), issued(7, "2", lapses=date(2030, 1, 1)), redeemed(45), given_back(45))

    assert after.available == before.available == 47
    assert {name: points for name, points in after.classes.items() if points} == before.classes
    fields = ("remaining", "redeemed", "expired", "returned")
    assert sorted(lots(after, *fields)) == sorted(lots(before, *fields))


# ---- promises --------------------------------------------------------------------------------------------------------


def test_promised_points_are_not_spendable() -> None:
    of = account(issued(10), promised(100, "1"))

    assert (of.available, of.classes["promised"], of.lifetime) == (10, 100, 10)


def test_a_conversion_turns_promised_points_into_a_lot() -> None:
    of = account(promised(100, "1"), converted(60, "1"))

    assert (of.available, of.classes["promised"], of.lifetime) == (60, 40, 60)


def test_a_conversion_before_its_promise_is_filled_later() -> None:
    of = account(converted(60, "1"), promised(100, "1"))

    assert (of.available, of.classes["promised"], of.awaited) == (60, 40, 0)
    assert of.classes["promises_unseen"] == 0


def test_a_promise_taken_back_before_conversion_never_comes() -> None:
    of = account(promised(100, "1"), returned(0, "1", promised=100))

    assert (of.available, of.classes["promised"]) == (0, 0)


def test_part_of_a_promise_returned_and_the_rest_converted_and_returned() -> None:
    of = account(promised(100, "1"), returned(0, "1", promised=40), converted(60, "1"), returned(0, "1", promised=60))

    assert (of.available, of.classes["promised"]) == (0, 0)


def test_a_named_promise_is_made_changed_kept_or_cancelled() -> None:
    made = PromiseMade(promise="p", points=Decimal(10), **about())
    changed = PromiseChanged(promise="p", points=Decimal(25), **about())
    kept = PromiseKept(promise="p", points=Decimal(25), **about())
    cancelled = PromiseCancelled(promise="p", points=Decimal(25), **about())

    assert account(made, changed).classes["promised"] == 25
    assert (account(made, changed, kept).available, account(made, changed, kept).classes["promised"]) == (25, 0)
    assert (account(made, cancelled).available, account(made, cancelled).classes["promised"]) == (0, 0)
    assert account(made, cancelled, changed).classes["promised"] == 0


# ---- expiries --------------------------------------------------------------------------------------------------------


def test_a_reported_expiry_is_matched_with_what_has_lapsed() -> None:
    of = account(issued(10, lapses=on_day(1)), issued(5), expired(10))

    assert (of.available, of.classes["lapsed"], of.classes["expired"]) == (5, 0, 10)


def test_an_expiry_that_no_lot_explains_was_of_points_never_seen() -> None:
    of = account(expired(1000))

    assert (of.available, of.classes["expired"], of.classes["unseen"]) == (0, 1000, -1000)


def test_moving_the_day_of_expiry_moves_no_balance() -> None:
    old, new = date(2030, 3, 23), date(2030, 5, 10)
    of = account(issued(10, lapses=old), moved(4, old, new))

    assert of.available == 10
    assert lots(of, "remaining", "expires_on") == [(6, old), (4, new)]


def test_a_day_moved_to_itself_makes_no_lot() -> None:
    same = date(2030, 3, 23)

    assert lots(account(issued(10), moved(5, same, same)), "points") == [(10,)]


def test_points_of_no_known_day_are_taken_from_the_opening() -> None:
    of = account(issued(60, claims=165), moved(3, date(2030, 3, 23), date(2030, 5, 10)))

    assert of.available == 165
    assert sorted(lots(of, "origin", "remaining")) == [("opening", 3), ("opening", 102), ("regular", 60)]


# ---- transfers, holds, adjustments, merges ---------------------------------------------------------------------------


def test_points_sent_are_in_transit_until_they_arrive() -> None:
    on_the_way, arrived = account(issued(100), sent(10)), account(issued(100), sent(10), settled(10))

    assert (on_the_way.available, on_the_way.classes["in_transit"]) == (90, 10)
    assert (arrived.available, arrived.classes["in_transit"], arrived.classes["sent"]) == (90, 0, 10)


def test_an_item_that_arrived_has_spent_points_that_no_event_reported() -> None:
    of = account(HoldCaptured(points=Decimal(1000), item="i", **about()))

    assert (of.available, of.debt, of.classes["redeemed"]) == (0, 0, 1000)


def test_an_item_that_failed_leaves_points_due_back_and_no_balance() -> None:
    of = account(HoldRefundDue(points=Decimal(1000), item="i", **about()))

    assert (of.available, of.classes["held"]) == (0, 1000)


def test_an_item_reported_as_failed_and_as_arrived_is_contested() -> None:
    failed = HoldRefundDue(points=Decimal(10), item="i", **about())
    arrived = HoldCaptured(points=Decimal(10), item="i", **about())

    one, other = account(failed, arrived), account(arrived, failed)
    assert (one.classes["held"], one.classes["redeemed"], one.contested) == (0, 10, True)
    assert (other.classes["held"], other.classes["redeemed"], other.contested) == (10, 0, True)


def test_points_removed_by_hand_come_off_the_lots() -> None:
    of = account(issued(10), Removed(points=Decimal(4), **about()))

    assert (of.available, of.classes["adjusted"]) == (6, 4)


def test_one_change_reported_twice_counts_once() -> None:
    of = account(issued(10, change="vtx_1"), issued(10, change="vtx_1"), issued(10, change="vtx_2"))

    assert of.available == 20


def merge(day: int, victim: str, survivor: str, claims: int | None = None) -> list[RecordedFact]:
    claim = () if claims is None else (ProgrammeClaim("gold", Decimal(claims)),)
    return [
        on(day, HolderMergedAway(holder=victim, survivor=survivor)),
        on(day, HolderMerged(holder=survivor, victim=victim, claims=claim)),
    ]


BOB, CIM = "capillary:1:bob", "capillary:1:cim"


def test_a_merge_moves_the_victims_lots_with_their_days() -> None:
    told = [
        on(1, issued(100, lapses=date(2030, 1, 1))),
        on(2, issued(40, holder=BOB)),
        *merge(3, ANN, BOB, claims=140),
        on(4, redeemed(100, holder=BOB)),
    ]
    accounts = wallet(*told).accounts

    ann, bob = accounts[f"{ANN}:gold:points"], accounts[f"{BOB}:gold:points"]
    assert (ann.available, bob.available, bob.drift) == (0, 40, 0)
    assert (ann.classes["merged"], bob.classes["merged"]) == (100, -100)
    assert lots(bob, "remaining", "expires_on") == [(40, None), (0, date(2030, 1, 1))]


def test_later_facts_about_a_victim_are_the_survivors() -> None:
    told = [on(1, issued(100)), *merge(2, ANN, BOB), on(3, redeemed(30)), *merge(4, BOB, CIM), on(5, issued(5))]

    accounts = wallet(*told).accounts

    assert accounts[f"{CIM}:gold:points"].available == 75
    assert accounts[f"{ANN}:gold:points"].available == accounts[f"{BOB}:gold:points"].available == 0


@pytest.mark.parametrize("into", [BOB, CIM], ids=["a chain", "both into one"])
def test_the_last_survivor_has_the_lifetime_of_all_and_each_victim_its_own(into: str) -> None:
    told = [on(1, issued(100)), on(2, issued(40, holder=BOB)), *merge(3, ANN, into), *merge(4, BOB, CIM)]
    accounts = wallet(*told, on(5, issued(5)), on(6, redeemed(20))).accounts

    lifetimes = {one: accounts[f"{one}:gold:points"].lifetime for one in (ANN, BOB, CIM)}
    assert lifetimes == {ANN: 100, BOB: 40, CIM: 145}
    assert accounts[f"{CIM}:gold:points"].available == 125


def test_points_sent_on_count_in_the_lifetime_of_each_who_received_them() -> None:
    told = [
        *(on(1, issued(100)), on(2, sent(60, "t")), on(2, received(60, "t", holder=BOB)), on(2, settled(60, "t"))),
        *(on(3, sent(50, "u", holder=BOB)), on(3, received(50, "u", holder=CIM)), on(3, settled(50, "u", holder=BOB))),
    ]
    accounts = wallet(*told).accounts
    shown = {
        one: tuple(
            int(accounts[f"{one}:gold:points"].classes.get(name, 0)) for name in ("available", "sent", "received")
        )
        for one in (ANN, BOB, CIM)
    }

    assert shown == {ANN: (40, 60, 0), BOB: (10, 50, -60), CIM: (50, 0, -50)}
    assert [accounts[f"{one}:gold:points"].lifetime for one in (ANN, BOB, CIM)] == [100, 60, 50]


def test_a_transfer_under_way_arrives_though_its_sender_was_merged_away() -> None:
    told = [on(1, issued(100)), on(2, sent(60)), *merge(3, ANN, BOB), on(4, settled(60))]
    accounts = wallet(*told).accounts

    ann, bob = accounts[f"{ANN}:gold:points"], accounts[f"{BOB}:gold:points"]
    assert [ann.classes.get(name, 0) for name in ("available", "in_transit", "sent", "merged")] == [0, 0, 0, 100]
    assert [bob.classes.get(name, 0) for name in ("available", "in_transit", "sent", "merged")] == [40, 0, 60, -100]


def test_a_victim_in_debt_brings_its_debt() -> None:
    told = [
        *[on(1, issued(10, "1")), on(2, redeemed(10)), on(3, returned(10, "1"))],
        on(3, issued(40, holder=BOB), position=9),
        *merge(4, ANN, BOB),
    ]

    accounts = wallet(*told).accounts

    assert (accounts[f"{BOB}:gold:points"].available, accounts[f"{BOB}:gold:points"].debt) == (30, 0)
    assert (accounts[f"{ANN}:gold:points"].available, accounts[f"{ANN}:gold:points"].debt) == (0, 0)


def test_a_circle_of_merges_is_not_closed() -> None:
    told = [on(1, issued(10)), *merge(2, ANN, BOB), *merge(3, BOB, ANN)]

    accounts = wallet(*told).accounts

    assert accounts[f"{BOB}:gold:points"].available == 10
    assert accounts[f"{BOB}:gold:points"].contested
