from datetime import date
from typing import Any

import pytest

from ledger.facts import encode
from tests.support.capillary_events import fact_of, refusal_of


def test_a_damaged_status_of_a_card_is_repaired_and_a_brands_own_label_kept() -> None:
    assert fact_of("cardUpdated", {"cardNumber": "c1", "currentStatusLabel": " SUSPENDED"}).status == "SUSPENDED"
    assert fact_of("cardUpdated", {"cardNumber": "c1", "currentStatusLabel": " Lost Card"}).status == "Lost Card"


def test_only_the_names_of_a_cards_fields_are_in_the_fact() -> None:
    fields = [{"name": "card_balance ", "value": "10.9"}, {"key": "colour", "value": "blue"}, {"value": "x"}]

    fact = fact_of("cardUpdated", {"cardNumber": "c1", "currentExtendedFields": fields, "currentCustomFields": []})

    assert fact.fields == ("card_balance", "colour")
    assert b"blue" not in encode(fact)


def test_a_card_whose_fields_are_not_mentioned_may_have_any() -> None:
    assert fact_of("cardUpdated", {"cardNumber": "c1"}).fields is None
    assert fact_of("cardUpdated", {"cardNumber": "c1", "currentCustomFields": []}).fields == ()


def test_a_card_without_a_number_is_not_recognised() -> None:
    assert refusal_of("cardUpdated", {"currentStatusLabel": "ACTIVE"}) == "cardNumber is absent"


def partner(name: str, **more: Any) -> Any:
    data = {"customerIdentifiers": {"customerId": 10}, "loyaltyProgramId": 9, "partnerProgramId": 45, **more}
    return fact_of(name, data)


def test_a_membership_is_of_one_customer_in_one_programme() -> None:
    assert partner("partnerProgramDelinked").subject == "capillary:1:10:9:45"


def test_only_the_presence_of_a_membership_number_is_in_the_fact() -> None:
    fact = partner("partnerProgramUpdated", customerPartnerProgramDetails={"membershipNumber": "123-asa3"})

    assert fact.has_number
    assert b"asa3" not in encode(fact)
    assert not partner("partnerProgramUpdated", customerPartnerProgramDetails=None).has_number


def test_a_membership_may_end_in_a_hundred_years_or_on_no_day_that_can_be_read() -> None:
    far = partner("partnerProgramLinked", customerPartnerProgramDetails={"membershipExpiryDate": "2123-05-12"})
    unread = partner("partnerProgramLinked", customerPartnerProgramDetails={"membershipExpiryDate": "date"})

    assert (far.until, unread.until) == (date(2123, 5, 12), None)


def test_names_are_trimmed_and_types_repaired() -> None:
    fact = partner("partnerProgramLinked", partnerProgramName=" Riders", partnerProgramType="SUPPLE MENTARY")

    assert (fact.partner_name, fact.partner_type) == ("Riders", "SUPPLEMENTARY")


@pytest.mark.parametrize("missing", ["loyaltyProgramId", "partnerProgramId"])
def test_a_membership_without_a_programme_is_not_recognised(missing: Any) -> None:
    data = {"customerIdentifiers": {"customerId": 10}, "loyaltyProgramId": 9, "partnerProgramId": 45, missing: None}

    assert refusal_of("partnerProgramLinked", data) == f"{missing} is absent"
