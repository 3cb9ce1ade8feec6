"""A change reported by several events counts once, in any order. Contradictions are listed."""

import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from ledger.facts import Fact, Occurrence, RecordedFact
from ledger.facts.accounts import AccountFact
from ledger.facts.adjustments import Removed
from ledger.facts.merges import HolderMergedAway
from ledger.facts.transfers import TransferCompleted, TransferInitiated
from projections.accounts.account import Account
from projections.accounts.statement import Line
from projections.transfers import TRANSFERS
from tests.support import interpretation
from tests.support.account_facts import (
    ANN,
    about,
    converted,
    days,
    expired,
    given_back,
    moved,
    on_day,
    promised,
    received,
    returned,
    returned_in_all,
    sent,
    settled,
    wallet,
)
from tests.support.account_facts import issued as issued_fact
from tests.support.account_facts import redeemed as redeemed_fact
from tests.support.fold_helpers import on, row_of
from tests.support.interpretation import RECORDED_AT, deliver
from tests.support.payloads import capillary, issued, redeemed, redemption_reversed
from tests.support.payloads import returned as returned_body


def lines(*facts: Fact) -> Sequence[Line]:
    return wallet(*days(*facts)).lines


def available(*facts: Fact) -> Decimal:
    return wallet(*days(*facts)).accounts[f"{ANN}:gold:points"].available


REPORTED = [
    (issued_fact(30), 130),
    (redeemed_fact(30), 70),
    (given_back(20, "earlier"), 100),
    (returned(30, "b1"), 70),
    (sent(30), 70),
    (received(30), 130),
    (expired(30), 70),
    (converted(30), 130),
    (Removed(points=Decimal(30), **about()), 70),
]


@pytest.mark.parametrize(("fact", "left"), REPORTED, ids=lambda value: type(value).__name__)
def test_what_two_events_report_counts_once_and_the_second_states_the_first_one(fact: AccountFact, left: int) -> None:
    one = replace(fact, change="c")
    before = [issued_fact(120, "b1"), redeemed_fact(20, "earlier")]

    told = lines(*before, one, one)

    assert (told[2].balance, told[3].balance) == (Decimal(left) + (20 if "earlier" in str(fact) else 0),) * 2
    [again] = told[3:]
    assert (again.kind, again.postings, again.counted_position, again.repeated) == (type(fact).__name__, "[]", 3, True)
    assert again.points == 0


def test_a_report_without_the_better_name_is_found_by_the_other_one_in_any_order() -> None:
    newer = replace(redeemed_fact(40), change="redemption R", also=("event L",))
    older = replace(redeemed_fact(40), change="event L", also=())

    assert {available(issued_fact(100), *order) for order in permutations((newer, older, newer))} == {60}


def test_two_redemptions_of_one_loyalty_event_are_two() -> None:
    one = replace(redeemed_fact(10, "R1"), change="R1", also=("L",))
    other = replace(redeemed_fact(20, "R2"), change="R2", also=("L",))

    assert available(issued_fact(100), one, other) == 70


def test_a_redemption_of_several_programmes_is_one_report() -> None:
    shares = [replace(redeemed_fact(points), programme=name, change="R") for points, name in ((6, "gold"), (4, "fuel"))]
    first, second = on(2, shares[0]), on(3, shares[0])
    told = [
        on(1, issued_fact(100)),
        *(first._replace(fact=one, occurrence=first.occurrence._replace(ordinal=n)) for n, one in enumerate(shares)),
        *(second._replace(fact=one, occurrence=second.occurrence._replace(ordinal=n)) for n, one in enumerate(shares)),
    ]

    of = wallet(*told)

    assert [int(account.classes["redeemed"]) for account in of.accounts.values()] == [6, 4]
    assert [line.repeated for line in of.lines if line.kind == "Redeemed"] == [False, False, True, True]


def test_a_second_report_with_other_points_is_listed_and_does_not_count() -> None:
    told = lines(issued_fact(100), replace(redeemed_fact(40), change="R"), replace(redeemed_fact(45), change="R"))

    assert (str(told[2].balance), str(told[2].report_excess), told[2].counted_position) == ("60", "5", 2)


def test_versions_of_one_event_that_both_apply_both_count() -> None:
    one, other = on(2, replace(redeemed_fact(40), change="R")), on(2, replace(redeemed_fact(5), change="R"))
    twin = other._replace(occurrence=other.occurrence._replace(event_tag=other.occurrence.event_tag[:8] + b"another!"))

    of = wallet(on(1, issued_fact(100)), one, twin)

    assert of.accounts[f"{ANN}:gold:points"].available == 55


def test_a_reversal_that_names_no_programme_counts_once() -> None:
    reversal = replace(given_back(10), programme="-", change="L")

    assert available(issued_fact(100), redeemed_fact(30), reversal, reversal) == 80


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_totals_of_a_bill_show_which_returns_were_counted(order: tuple[int, ...]) -> None:
    """Returns of 10 and 20 points of one bill; an older format reports the total of 30."""
    reports = (returned(10, "b", in_all=10), returned(20, "b", in_all=30), returned_in_all(30, "b"))

    assert available(issued_fact(100, "b"), *(reports[place] for place in order)) == 70


def test_the_same_return_under_another_loyalty_event_is_known_by_its_total() -> None:
    told = lines(issued_fact(100, "b"), returned(10, "b", in_all=10), returned(10, "b", in_all=10))

    assert (str(told[2].balance), told[2].counted_position) == ("90", 2)


def test_returns_whose_totals_contradict_each_other_both_count_and_are_listed() -> None:
    told = lines(issued_fact(100, "b"), returned(10, "b", in_all=10), returned(15, "b", in_all=20))

    assert (str(told[2].balance), str(told[2].untied)) == ("75", "-5")


def test_a_merge_reported_twice_contests_nothing() -> None:
    merge = HolderMergedAway(holder=ANN, survivor="capillary:1:bob")

    of = wallet(*days(issued_fact(10), merge, merge))

    assert not any(account.contested for account in of.accounts.values())


def test_a_conversion_and_a_move_of_days_count_once() -> None:
    keep = replace(converted(10), change="L")
    move = replace(moved(10, on_day(20), on_day(30)), change="M")
    facts = [promised(30), issued_fact(40, lapses=on_day(20)), keep, keep, move, move]

    [account] = wallet(*days(*facts)).accounts.values()

    assert account.classes["promised"] == 20
    assert sorted(int(lot.points) for lot in account.lots.values() if lot.expires_on == on_day(30)) == [10]


def removed(origin: str, points: str) -> Removed:
    return Removed(points=Decimal(points), origin=origin, change="L", **about())


def removals(*reports: Sequence[Removed]) -> list[Decimal | None]:
    """Return the difference of each part of the last report. Each report is one event with several facts."""
    told = [on(1, issued_fact(100))]
    for position, parts in enumerate(reports, 2):
        event = on(position, parts[0])
        told += [
            event._replace(fact=part, occurrence=event.occurrence._replace(ordinal=n)) for n, part in enumerate(parts)
        ]
    return [line.report_excess for line in wallet(*told).lines if line.repeated]


def test_a_deduction_in_parts_that_two_events_report_alike_differs_in_none() -> None:
    report = [removed("regular", "50"), removed("promotional", "10.5")]

    assert removals(report, report) == [None, None]
    assert removals(report, [removed("regular", "40"), removed("promotional", "10.5")]) == [Decimal(-10), None]


def test_a_move_of_two_days_that_two_events_report_alike_differs_in_none() -> None:
    moves = [replace(moved(points, on_day(day), on_day(40)), change="M") for points, day in ((10, 20), (5, 30))]
    first, second = on(2, moves[0]), on(3, moves[0])
    told = [
        on(1, issued_fact(40, lapses=on_day(20))),
        *(first._replace(fact=one, occurrence=first.occurrence._replace(ordinal=n)) for n, one in enumerate(moves)),
        *(second._replace(fact=one, occurrence=second.occurrence._replace(ordinal=n)) for n, one in enumerate(moves)),
    ]

    assert [line.report_excess for line in wallet(*told).lines if line.repeated] == [None, None]


def initiated(points: int, **fields: Any) -> TransferInitiated:
    return TransferInitiated(transfer="t", points=Decimal(points), programme="gold", sender=ANN, **fields)


def test_a_transfer_and_the_account_that_sent_it_agree_on_the_first_report() -> None:
    sends = [replace(sent(points), change="t") for points in (20, 10)]
    of = wallet(*days(issued_fact(100), *sends)).accounts[f"{ANN}:gold:points"]
    arrived = TransferCompleted(transfer="t", points=Decimal(20), programme="gold", receiver="capillary:1:bob")

    row = row_of(TRANSFERS, on(2, initiated(20)), on(3, initiated(10)), on(4, arrived))

    assert [str(of.classes["in_transit"]), str(row.points), row.status] == ["20", "20", "completed"]
    assert (row.reported, row.counted_position, row.reported_position) == (10, 2, 3)


def test_an_arrival_reported_twice_settles_once() -> None:
    arrives = replace(settled(20), change="t")

    [of] = wallet(*days(issued_fact(100), sent(20), arrives, arrives)).accounts.values()

    assert [int(of.classes[name]) for name in ("in_transit", "sent")] == [0, 20]


def names_of(body: bytes) -> list[tuple[str | None, tuple[str, ...]]]:
    """Return the names of the changes that an event reports."""
    return [
        (one.fact.change, one.fact.also)
        for _, meaning in deliver("capillary", body)
        for one in meaning.facts
        if isinstance(one.fact, AccountFact)
    ]


def test_capillary_names_a_change_by_its_own_id_then_by_its_loyalty_event() -> None:
    assert names_of(redeemed("e1", 1, 1, 40, "R")) == [("capillary:9001:R", ("capillary:9001:Le1",))]
    assert names_of(issued("e1", 1, 1, 40, bill="B")) == [("capillary:9001:Le1~77~B", ())]


def test_without_a_loyalty_event_the_reference_and_the_time_name_it() -> None:
    told = json.loads(capillary("pointsExpired", "e1", 1, 1, pointsExpired=3, loyaltyEventId=""))
    told["refId"] = "9001_Le1"

    timed = "capillary:9001:Le1~20231114T221321.000000~77"
    assert names_of(json.dumps(told).encode()) == [(timed, ("capillary:9001:Le1~77",))]


@pytest.mark.parametrize("created_at", [156474848484, 4070944800000, 1700000001000])
def test_a_second_report_has_the_name_of_the_first_also_where_their_time_cannot_be_true(
    created_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(capillary("pointsExpired", "e1", 1, 1, pointsExpired=3, loyaltyEventId=""))
    told |= {"refId": "9001_Le1", "createdAt": created_at}

    first = names_of(json.dumps(told).encode())
    monkeypatch.setattr(interpretation, "RECORDED_AT", interpretation.RECORDED_AT + timedelta(hours=1))
    second = names_of(json.dumps({**told, "eventId": "e2"}).encode())

    assert len(first) == 1
    assert first == second


def without_loyalty_event(body: bytes) -> bytes:
    told = json.loads(body)
    return json.dumps({**told, "eventId": f"{told['eventId']}-again", "loyaltyEventId": None}).encode()


def account_of(*bodies: bytes) -> Account:
    """Fold the facts of delivered events into the one account that they are about."""
    told = [
        RecordedFact(one.fact, Occurrence(delivered.draft.occurred_at or RECORDED_AT, event_tag(place), number, place))
        for place, body in enumerate(bodies, 1)
        for delivered in deliver("capillary", body)
        for number, one in enumerate(delivered.meaning.facts)
        if isinstance(one.fact, AccountFact)
    ]
    [account] = wallet(*told).accounts.values()
    return account


def event_tag(place: int) -> bytes:
    return b"%08d%08d" % (place, place)


BEFORE = (issued("e1", 1, 1, 100, bill="B"), redeemed("e2", 2, 1, 40, "R"))


@pytest.mark.parametrize("seconds_later", [0, 7])
def test_a_reversal_reported_with_and_without_its_loyalty_event_is_one(seconds_later: int) -> None:
    reversal = redemption_reversed("e3", 3, 1, 40, "R")
    again = without_loyalty_event(redemption_reversed("e4", 3 + seconds_later, 1, 40, "R"))

    for reports in permutations((reversal, again)):
        account = account_of(*BEFORE, *reports)
        assert (int(account.available), account.contested) == (100, False)


def test_two_reversals_in_part_are_two_with_and_without_loyalty_events() -> None:
    parts = (redemption_reversed("e3", 3, 1, 10, "R"), redemption_reversed("e4", 4, 1, 10, "R"))

    for reports in (
        parts,
        [without_loyalty_event(part) for part in parts],
        (parts[0], without_loyalty_event(parts[1])),
    ):
        assert account_of(*BEFORE, *reports).available == 80


def test_two_reversals_with_loyalty_events_beyond_their_redemption_are_contested() -> None:
    account = account_of(*BEFORE, *(redemption_reversed(f"e{at}", at, 1, 40, "R") for at in (3, 4)))

    assert (int(account.available), account.contested) == (100, True)


def test_a_return_reported_with_and_without_its_loyalty_event_is_one() -> None:
    back = returned_body("e3", 3, 1, 30, "B")

    assert account_of(BEFORE[0], back, without_loyalty_event(back)).available == 70
