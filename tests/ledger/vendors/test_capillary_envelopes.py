"""Fields of Capillary's envelopes: beside `data`, inside it, or in another spelling."""

import hashlib
from datetime import UTC, datetime

import pytest

from ledger.facts.accounts import TransferSent
from ledger.vendors.fields import ID_BYTES_MAX, ID_PREFIX_BYTES, as_id, as_time
from tests.support.capillary_events import CREATED_AT_MILLISECONDS, fact_of, facts_of
from tests.support.interpretation import deliver, sample

SENT = {
    "customerIdentifiers": {"customerId": 5},
    "loyaltyProgramId": 77,
    "totalPointsTransferred": 10,
    "redemptionFromEarningPrograms": [{"programId": 77, "pointsRedeemed": 10}],
}


def test_a_loyalty_event_id_inside_the_data_names_the_transfer_as_one_beside_it_does() -> None:
    (inside, *_) = facts_of("pointsTransferredInitiated", {**SENT, "loyaltyEventId": "L1"})
    (beside, *_) = facts_of("pointsTransferredInitiated", SENT, loyaltyEventId="L1")

    assert isinstance(inside, TransferSent)
    assert inside.transfer == "capillary:1:L1"
    assert inside == beside


def test_a_null_in_the_data_does_not_hide_a_value_beside_it() -> None:
    document = sample("capillary/requestUpdated-2")
    (whole,) = deliver("capillary", document)
    (nulled,) = deliver("capillary", {**document, "data": {**document["data"], "customerId": None, "status": None}})

    assert nulled.facts == whole.facts
    assert len(whole.facts) == 2


def test_fields_beside_the_data_count_inside_of_attributes_too() -> None:
    document = sample("capillary/requestUpdated-2")
    around = {"eventType": "1_requestUpdated", "eventId": document["eventId"], "attributes": document}
    (wrapped,) = deliver("capillary", around)
    (flat,) = deliver("capillary", document)

    assert wrapped.facts == flat.facts


def test_a_group_without_a_named_member_is_its_own_customer() -> None:
    data = {
        "entityInformation": {"entityType": "USER_GROUP", "entityId": 9},
        "loyaltyProgramId": 77,
        "pointsExpired": 5,
    }

    fact = fact_of("pointsExpired", data)

    assert (fact.holder, fact.customer, fact.points) == ("capillary:1:group~9", "capillary:1:group~9", 5)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("379499720.0", "379499720"),
        ("379499720.00", "379499720"),
        ("3.7949972E8", "379499720"),
        ("3.79E8", "379000000"),
        ("1.0E7", "10000000"),
        ("1.657437873E+12", "1657437873000"),
        ("3.79499720E8", "379499720"),
        ("3.123456789E7", "3.123456789E7"),
        ("3.79E2", "3.79E2"),
        ("12E5", "12E5"),
        ("37.9E8", "37.9E8"),
        (379499720, "379499720"),
        ("0.0", "0"),
        ("379499720.5", "379499720.5"),
        ("007.0", "007.0"),
        (".0", ".0"),
        ("1.0.0", "1.0.0"),
    ],
)
def test_an_id_written_as_a_whole_decimal_is_that_number(written: str | int, read: str) -> None:
    assert as_id(written) == read


def test_an_id_too_long_for_a_key_becomes_its_beginning_and_a_hash() -> None:
    longest, longer = "ä" * (ID_BYTES_MAX // 2), "ä" * (ID_BYTES_MAX // 2 + 1)

    shortened = as_id(longer)

    assert as_id(longest) == longest
    assert shortened == f"{'ä' * (ID_PREFIX_BYTES // 2)}~{hashlib.sha256(longer.encode()).hexdigest()}"
    assert len(shortened.encode()) <= ID_BYTES_MAX
    assert as_id(longer + "x") != shortened


def test_an_event_with_a_very_long_reference_is_recognised() -> None:
    fact = fact_of("pointsExpired", {**SENT, "pointsExpired": 5}, refId="r" * 1_000, createdAt=CREATED_AT_MILLISECONDS)

    assert fact.points == 5


@pytest.mark.parametrize("written", [1720440349027, "1720440349027", "1720440349027.0", "1.720440349027E12"])
def test_milliseconds_are_read_in_every_spelling_of_a_number(written: str | int) -> None:
    assert as_time(written) == datetime(2024, 7, 8, 12, 5, 49, 27_000, UTC)
