"""Programmes and totals of Capillary's reversals."""

import pytest

from ledger.facts.accounts import NO_PROGRAMME
from tests.support.capillary_events import fact_of, refusal_of

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


def test_a_reversal_without_programme_and_redemption_is_not_recognised() -> None:
    refusal = refusal_of("redeemedPointsReversed", {**REVERSED, "triggeringActivity": {}})

    assert refusal == "neither a programme nor a redemption is named"


@pytest.mark.parametrize("total", ["totalIssuedPointsReversed", "promisedPointsReversed"])
@pytest.mark.parametrize("value", ["many", "1e300", [], True])
def test_a_return_whose_total_cannot_be_read_takes_back_its_own_share(total: str, value: object) -> None:
    figures = {"currentEventTotalPointsReturned": 2, "totalIssuedPointsReversed": 5, "promisedPointsReversed": 0}
    data = {"customerIdentifiers": {"customerId": 7}, "loyaltyProgramId": 9, **figures}

    fact = fact_of("issuedPointsReversed", {**data, total: value})

    assert (fact.points, fact.promised, fact.points_total, fact.promised_total) == (2, 0, None, None)


def test_a_return_with_only_an_unreadable_total_is_refused() -> None:
    data = {"customerIdentifiers": {"customerId": 7}, "loyaltyProgramId": 9, "totalIssuedPointsReversed": "many"}

    assert refusal_of("issuedPointsReversed", data).startswith("no number of points taken back")
