from decimal import Decimal
from typing import Any

import pytest

from ledger.facts.accounts import TransferReceived, TransferSent, TransferSettled
from ledger.facts.adjustments import Removed
from ledger.facts.transfers import TransferCompleted, TransferInitiated
from tests.support.capillary_customer_events import fact_of, facts_of, refusal_of


def deducted(total: str | None, *split: tuple[int, str], **more: Any) -> dict[str, Any]:
    lines = [{"programId": programme, "points": points, "pointsType": "REGULAR"} for programme, points in split]
    return {"totalPoinstDeducted": total, "programPointsSplit": lines, **more}


def test_a_deduction_by_hand_has_a_fact_for_each_programme() -> None:
    facts = facts_of("manualPointsAdjustment", deducted("75.500", (1, "50.000"), (1, "10.500"), (2, "15.000")))

    assert [(fact.account_id, fact.points) for fact in facts if type(fact) is Removed] == [
        ("capillary:1:7:1:points", Decimal("60.5")),
        ("capillary:1:7:2:points", Decimal(15)),
    ]


def test_the_reason_stays_out_of_the_fact() -> None:
    assert "Ann" not in repr(facts_of("manualPointsAdjustment", deducted("5", (1, "5"), reason="Ann Smith complained")))


@pytest.mark.parametrize("data", [deducted("5"), deducted("-5", (1, "-5"))], ids=["no programme", "negative"])
def test_a_deduction_without_points_of_a_programme_is_not_recognised(data: dict[str, Any]) -> None:
    assert "no programme with a number of points deducted" in refusal_of("manualPointsAdjustment", data)


def test_a_deduction_that_does_not_add_up_removes_the_parts_and_states_the_difference() -> None:
    first, second = facts_of("manualPointsAdjustment", deducted("75", (1, "50"), (2, "5")))

    assert [(fact.points, fact.untied) for fact in (first, second)] == [(50, 20), (5, None)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("total", ["many", None, ""])
def test_a_deduction_without_a_readable_total_removes_the_parts(total: str | None) -> None:
    fact = fact_of("manualPointsAdjustment", deducted(total, (1, "50")))

    assert (fact.points, fact.untied) == (50, None)


def test_points_with_an_unchanged_day_do_not_move() -> None:
    lines = [
        {"points": 3, "pointsPreviousExpiryDate": "2024-03-23", "newExpiryDate": "2024-05-10"},
        {"points": 5, "pointsPreviousExpiryDate": "2024-05-10", "newExpiryDate": "2024-05-10"},
    ]

    fact = fact_of("pointsExpiryChange", {"loyaltyProgramDetails": {"id": 9}, "updatedPointsExpiryBreakup": lines})

    assert (fact.points, fact.programme) == (Decimal(3), "9")


def test_a_contribution_to_a_group_is_a_transfer_that_arrives_at_once() -> None:
    data = {
        "groupId": 20,
        "contributingMember": {"firstName": "Ann", "customerIdentifiers": {"customerId": 7}},
        "primaryMember": {"customerIdentifiers": {"customerId": 8}},
        "loyaltyProgramId": 9,
        "pointsContributedToGroup": 40,
    }

    facts = facts_of("pointsContributionToGroup", data, eventId="e1")

    sent, received, settled, initiated, completed = facts
    assert (type(sent), sent.subject) == (TransferSent, "capillary:1:7")
    assert (type(received), received.subject) == (TransferReceived, "capillary:1:group~20")
    assert (type(settled), settled.subject) == (TransferSettled, "capillary:1:7")
    assert (type(initiated), type(completed)) == (TransferInitiated, TransferCompleted)
    assert received.customer == "capillary:1:8"  # type: ignore[attr-defined]
    assert {fact.transfer for fact in facts} == {"capillary:1:e1"}  # type: ignore[attr-defined]
    assert "Ann" not in repr(facts)


def test_a_contribution_without_a_member_is_not_recognised() -> None:
    data = {"groupId": 20, "contributingMember": {}, "loyaltyProgramId": 9, "pointsContributedToGroup": 40}

    assert "no customer" in refusal_of("pointsContributionToGroup", data)
