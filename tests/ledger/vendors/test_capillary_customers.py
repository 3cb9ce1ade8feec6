from datetime import timedelta
from typing import Any

import pytest

from ledger.facts import encode
from ledger.facts.customers import CustomersMerged, Subscription
from ledger.facts.merges import HolderMerged, HolderMergedAway, TierAfterMerge, TierMergedAway
from tests.support.capillary_events import CREATED_AT, CREATED_AT_MILLISECONDS, fact_of, facts_of, refusal_of

ANN, BOB = "capillary:1:10", "capillary:1:20"


def customer(**more: Any) -> dict[str, Any]:
    return {"customerIdentifiers": {"customerId": 10, **more}}


def test_only_the_kinds_of_identifiers_are_in_the_fact() -> None:
    fact = fact_of(
        "customerAdded",
        {
            "firstName": "Ann",
            "lastName": "Example",
            **customer(
                instore={
                    "mobile": "5550199",
                    "email": "ann@example.com",
                    "externalId": "X7",
                    "cardnumber": "",
                    "cardNumbers": ["C9"],
                    "cardexternalid": "CX",
                },
                wechat={"accounts": [{"accountId": "", "identifiers": [{"identifierValue": "w1"}]}]},
            ),
        },
    )

    assert fact.customer == ANN
    assert fact.identifiers == ("cardExternalId", "cardNumber", "email", "externalId", "mobile", "wechat")
    for personal in (b"5550199", b"example", b"Ann", b"X7", b"C9", b"w1"):
        assert personal not in encode(fact)


@pytest.mark.parametrize("email", ["[email protected]", " [email protected]", "", "null", None])
def test_a_redacted_address_is_none(email: Any) -> None:
    assert fact_of("customerAdded", customer(instore={"email": email})).identifiers == ()


def test_a_channel_without_an_account_is_no_identifier() -> None:
    channels = customer(line=None, jd={"accounts": []}, tmall={"accounts": [{"identifiers": [{}]}, None]})

    assert fact_of("customerAdded", channels).identifiers == ()


def test_the_channel_that_the_vendor_misspells_is_that_channel() -> None:
    account = {"accounts": [{"accountId": "shop"}]}

    assert fact_of("customerAdded", customer(toabao=account)).identifiers == ("taobao",)
    assert fact_of("customerAdded", customer(toabao=account, taobao=account)).identifiers == ("taobao",)


def test_a_claimed_time_after_the_event_is_flagged() -> None:
    later = fact_of("customerAdded", {**customer(), "enteredAt": CREATED_AT_MILLISECONDS + 5_360_000})
    earlier = fact_of("customerAdded", {**customer(), "enteredAt": CREATED_AT_MILLISECONDS - 1000})

    assert (later.entered_at, later.entered_in_future) == (CREATED_AT + timedelta(seconds=5360), True)
    assert (earlier.entered_at, earlier.entered_in_future) == (CREATED_AT - timedelta(seconds=1), False)


@pytest.mark.parametrize("entered_at", [5320, None, {"id": 1}, 904788626831872])
def test_an_impossible_claimed_time_is_none(entered_at: Any) -> None:
    fact = fact_of("customerAdded", {**customer(), "enteredAt": entered_at})

    assert (fact.entered_at, fact.entered_in_future) == (None, False)


def test_blanks_in_a_store_code_are_damage() -> None:
    entered_by = {"id": 3, "store": {"code": "kanmo.idn.mother care.rpm"}, "till": None}

    fact = fact_of("customerAdded", {**customer(), "enteredBy": entered_by})

    assert (fact.store, fact.till) == ("kanmo.idn.mothercare.rpm", None)


def test_an_empty_update_changes_nothing() -> None:
    fact = fact_of(
        "customerUpdated",
        {**customer(), "loyaltyType": " ", "source": "", "customerStatus": None, "updatedFields": None},
    )

    assert (fact.loyalty_type, fact.source, fact.status, fact.fields) == (None, None, None, ())


def test_known_words_have_one_spelling_and_a_brands_own_word_is_kept() -> None:
    assert fact_of("customerUpdated", {**customer(), "loyaltyType": "loy alty"}).loyalty_type == "LOYALTY"
    assert fact_of("customerUpdated", {**customer(), "loyaltyType": "Loyalty Plus"}).loyalty_type == "Loyalty Plus"
    assert fact_of("customerUpdated", customer(loyaltyType="non_loyalty")).loyalty_type == "NON_LOYALTY"


def test_a_status_is_its_label_before_its_code() -> None:
    both = {"currentStatus": "DELETED", "currentLabel": "Forgotten", "previousStatus": "ACTIVE"}

    fact = fact_of("customerUpdated", {**customer(), "customerStatus": both})

    assert (fact.status, fact.previous_status) == ("Forgotten", "ACTIVE")


def test_only_the_names_of_changed_fields_are_in_the_fact() -> None:
    changed = [{"fieldName": "dob", "previousValue": "1980-01-01", "currentValue": "1981-01-01"}, {"fieldName": None}]

    fact = fact_of("customerUpdated", {**customer(), "updatedFields": changed})

    assert fact.fields == ("dob",)
    assert b"1980" not in encode(fact)


def test_a_subscription_without_channel_or_status_is_none() -> None:
    lines = [
        {"channel": "SMS", "currentStatus": "SUBSCRIBED"},
        {"channel": "SMS", "currentStatus": ""},
        {"currentStatus": "SUBSCRIBED"},
    ]

    fact = fact_of("customerSubscription", {**customer(), "subscriptions": lines})

    assert fact.subscriptions == (Subscription("SMS", "SUBSCRIBED"),)


@pytest.mark.parametrize("name", ["customerAdded", "customerUpdated", "customerSubscription"])
def test_an_event_without_a_customer_is_not_recognised(name: Any) -> None:
    assert refusal_of(name, {"customerIdentifiers": {"customerId": -1}}) == "no customer"


def merge(victim: Any = 10, survivor: Any = 20, summary: Any = None) -> dict[str, Any]:
    return {
        "victimCustomerIdentifiers": {"customerId": victim},
        "survivorCustomerIdentifiers": {"customerId": survivor},
        "survivorCustomerLoyaltySummary": summary,
    }


def test_a_merge_has_facts_about_both_customers_and_claims_every_programme() -> None:
    summary = [
        {"loyaltyProgramId": 18, "currentPoints": 200.5, "lifetimePoints": 300, "promisedPoints": 0, "tierNumber": 3},
        {"loyaltyProgramId": 19, "currentPoints": 7},
    ]

    facts = facts_of("loyaltyCustomerMerge", merge(summary=summary))

    assert [type(fact) for fact in facts] == [
        CustomersMerged,
        CustomersMerged,
        HolderMergedAway,
        HolderMerged,
        TierAfterMerge,
        TierMergedAway,
        TierMergedAway,
    ]
    assert [fact.subject for fact in facts] == [ANN, BOB, ANN, BOB, f"{BOB}:18", f"{ANN}:18", f"{ANN}:19"]
    survivor = facts[3]
    assert isinstance(survivor, HolderMerged)
    assert [(claim.programme, str(claim.available), claim.tier) for claim in survivor.claims] == [
        ("18", "200.5", "3"),
        ("19", "7", None),
    ]
    assert (survivor.claims[1].lifetime, survivor.claims[1].promised) == (None, None)


def test_a_merge_without_a_summary_claims_nothing() -> None:
    facts = facts_of("loyaltyCustomerMerge", merge())

    assert facts[-1] == HolderMerged(holder=BOB, victim=ANN)


def test_a_customer_does_not_merge_with_itself() -> None:
    assert refusal_of("loyaltyCustomerMerge", merge(victim=20)) == "a customer merged with itself"


def test_a_merge_without_a_second_customer_is_not_recognised() -> None:
    assert refusal_of("loyaltyCustomerMerge", merge(survivor=None)) == "no customer"
