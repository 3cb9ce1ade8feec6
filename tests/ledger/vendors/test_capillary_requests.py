from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.facts import encode
from ledger.facts.accounts import AccountFact
from ledger.facts.customers import CustomerDeletionApproved
from ledger.facts.requests import (
    RequestApproved,
    RequestFailed,
    RequestMoved,
    RequestOpened,
    RequestRejected,
)
from tests.support.capillary_events import (
    CREATED_AT,
    CREATED_AT_MILLISECONDS,
    fact_of,
    facts_of,
    meaning_of,
    refusal_of,
)


def workflow(state: str = "AdminTask", body: Any = None, **more: Any) -> Any:
    data = {"requestId": "r1", "currentRequestState": state, "requestAttributes": {"body": body}, **more}
    return fact_of("requestWorkflowEvent", data, orgId=0)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("AdminTask", RequestOpened),
        ("PEND ING", RequestOpened),
        ("approved", RequestApproved),
        ("REJECTED", RequestRejected),
        ("failed", RequestFailed),
        ("SecondLevelTask", RequestMoved),
    ],
)
def test_the_state_decides_the_kind_of_fact(state: Any, kind: Any) -> None:
    assert type(workflow(state)) is kind


def test_a_failed_request_is_failed_despite_its_comment() -> None:
    fact = workflow("failed", comment="approving the points redemption request")

    assert type(fact) is RequestFailed
    assert b"approving" not in encode(fact)


def test_a_redemption_is_asked_for_without_naming_a_telephone() -> None:
    redeem = {
        "points_redeemed": "100",
        "customer": {"mobile": "5550199"},
        "transaction_number": "n1",
        "external_reference_number": "ACR-1",
        "notes": "call 5550199",
    }

    fact = workflow(body={"root": {"redeem": redeem}})

    assert (fact.points, fact.transaction_number, fact.reference) == (Decimal(100), "n1", "ACR-1")
    assert (fact.customer, fact.customer_ids) == (None, ())
    assert b"5550199" not in encode(fact)


def test_goodwill_points_are_asked_for_and_not_given() -> None:
    body = {
        "referenceId": "ref-1",
        "programId": 2739,
        "earningEntityType": "CUSTOMER",
        "earningEntityId": 382332518,
        "points": 20,
    }

    facts = facts_of(
        "requestWorkflowEvent",
        {"requestId": "r1", "currentRequestState": "approved", "requestAttributes": {"body": body}},
    )

    (fact,) = facts
    assert isinstance(fact, RequestApproved)
    assert (fact.points, fact.programme, fact.reference) == (Decimal(20), "2739", "ref-1")
    assert fact.customer_ids == ("382332518",)
    assert not any(isinstance(fact, AccountFact) for fact in facts)


def test_goodwill_for_a_group_names_no_customer() -> None:
    assert workflow(body={"earningEntityType": "GROUP", "earningEntityId": 5}).customer_ids == ()


def test_a_badge_is_asked_for_one_customer_or_many() -> None:
    one = workflow(body={"customerId": 1, "badgeMetaId": "b1", "triggeredBy": {"referenceId": "123"}})
    many = workflow(body={"customers": [1, None, 2], "badgeMetaId": "b1", "triggeredBy": None})

    assert (one.customer_ids, one.badge, one.reference) == (("1",), "b1", "123")
    assert (many.customer_ids, many.badge, many.reference) == (("1", "2"), "b1", None)


def test_a_change_of_status_is_asked_for_by_its_label() -> None:
    attributes = {"queryParams": {"identifierValue": "5550199"}, "body": {"reason": "testing", "label": "Suspended"}}

    fact = workflow(requestAttributes=attributes)

    assert fact.requested_status == "Suspended"
    assert b"5550199" not in encode(fact)


def test_a_request_happens_when_its_state_changed() -> None:
    changed_at = CREATED_AT_MILLISECONDS - 5000

    facts = meaning_of("requestWorkflowEvent", {"requestId": "r1", "updateTime": changed_at}).facts

    assert facts[0].occurrence.occurred_at == CREATED_AT - timedelta(seconds=5)


@pytest.mark.parametrize("tracking_id", [10585, "10585"])
def test_a_tracking_id_is_the_same_as_number_and_as_text(tracking_id: Any) -> None:
    fact = fact_of("requestUpdated", {"requestTrackingId": tracking_id, "status": "REJECTED"})

    assert fact.subject == "capillary:1:10585"


def test_a_request_has_a_checker_once_it_is_decided() -> None:
    updated_by = {"requestTrackingId": 7, "updatedBy": {"user": {"username": "ann"}, "id": 441}}

    opened = fact_of("requestUpdated", {**updated_by, "status": "PENDING"})
    decided = fact_of("requestUpdated", {**updated_by, "status": "REJECTED"})

    assert (opened.checker, decided.checker) == (None, "441")
    assert b"ann" not in encode(decided)


def deletion(status: str, **more: Any) -> list[Any]:
    beside = {"requestTrackingId": "77", "requestType": "CUSTOMER", "requestBaseType": "DELETE", "customerId": 10}
    return facts_of("requestUpdated", {}, **{**beside, "status": status, **more})


def test_an_approved_deletion_asks_for_erasure_of_the_customer() -> None:
    approved, erasure = deletion("APPROVED")

    assert type(approved) is RequestApproved
    assert erasure == CustomerDeletionApproved(customer="capillary:1:10", request="capillary:1:77")


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "failed", "ON_HOLD"])
def test_a_deletion_not_approved_erases_no_customer(status: Any) -> None:
    (fact,) = deletion(status)

    assert not isinstance(fact, CustomerDeletionApproved)


def test_an_approved_deletion_without_a_customer_is_only_a_request() -> None:
    (fact,) = deletion("APPROVED", customerId=None)

    assert fact.customer is None


def test_an_approved_transaction_erases_no_customer() -> None:
    (fact,) = deletion("APPROVED", requestType="TRANSACTION", requestBaseType="REGULAR_TXN_ADD")

    assert type(fact) is RequestApproved


@pytest.mark.parametrize("name", ["requestUpdated", "requestWorkflowEvent"])
def test_a_request_without_an_id_is_not_recognised(name: Any) -> None:
    assert refusal_of(name, {"requestId": ""}) == "no request"
