"""Capillary's reversals of redemptions: which programme they are of."""

from ledger.facts.accounts import NO_PROGRAMME
from tests.ledger.vendors.capillary_says import fact_of, refusal_of

REVERSED = {
    "customerIdentifiers": {"customerId": 7},
    "redeemedPointsReversed": 30,
    "triggeringActivity": {"identifiers": [{"key": "redemptionId", "value": "R1"}]},
}


def test_a_reversal_is_of_the_programme_that_it_names() -> None:
    assert fact_of("redeemedPointsReversed", {**REVERSED, "loyaltyProgramId": 9}).programme == "9"


def test_a_reversal_may_leave_its_programme_to_the_redemption() -> None:
    fact = fact_of("redeemedPointsReversed", REVERSED)

    assert (fact.programme, fact.redemption, fact.points) == (NO_PROGRAMME, "capillary:1:R1", 30)


def test_a_reversal_of_nothing_that_has_a_name_is_not_recognised() -> None:
    refusal = refusal_of("redeemedPointsReversed", {**REVERSED, "triggeringActivity": {}})

    assert refusal == "neither a programme nor a redemption is named"
