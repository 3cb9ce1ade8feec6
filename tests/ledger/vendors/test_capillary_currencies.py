from decimal import Decimal
from typing import Any

import pytest

from ledger.facts.accounts import Claim, Grant, Promise
from tests.support.capillary_customer_events import fact_of, refusal_of


def issued(**currency: Any) -> dict[str, Any]:
    return {"loyaltyProgramId": 9, "alternateCurrencies": [{"alternateCurrencyIdentifier": "stars", **currency}]}


def reversed_by(**currency: Any) -> dict[str, Any]:
    return {
        "loyaltyProgramId": 9,
        "alternateCurrenciesReversedData": [{"alternateCurrencyIdentifier": "stars", **currency}],
    }


REGULAR = {"regularAlternateCurrenciesBreakup": [{"alternateCurrencies": 10}]}
PROMISED = {"promisedAlternateCurrenciesIssued": [{"promisedAlternateCurrencies": 5}]}


def test_the_unit_is_the_currency() -> None:
    assert fact_of("alternateCurrenciesIssued", issued(**REGULAR)).account_id == "capillary:1:7:9:stars"


def test_the_total_includes_promised_points() -> None:
    fact = fact_of("alternateCurrenciesIssued", issued(**REGULAR, **PROMISED, totalAlternateCurrenciesIssued=15))

    assert fact.grants == (Grant(Decimal(10)),)
    assert fact.promises == (Promise(Decimal(5)),)


def test_the_rest_of_the_total_beyond_the_breakup_is_one_unallocated_lot() -> None:
    fact = fact_of("alternateCurrenciesIssued", issued(**REGULAR, **PROMISED, totalAlternateCurrenciesIssued=18))

    assert fact.grants == (Grant(Decimal(10)), Grant(Decimal(3), None, "unallocated"))


def test_a_balance_that_includes_promised_points_is_no_claim() -> None:
    snapshot = {"programCurrentAlternateCurrencies": 15}

    assert fact_of("alternateCurrenciesIssued", issued(**REGULAR, **PROMISED, **snapshot)).claim is None
    assert fact_of("alternateCurrenciesIssued", issued(**REGULAR, **snapshot)).claim == Claim(Decimal(15))


def test_a_reversal_takes_back_its_share_and_separates_promised_points() -> None:
    figures = {
        "currentEventTotalAlternateCurrenciesReturned": 30,
        "currentEventPromisedAlternateCurrenciesReturned": 10,
        "totalIssuedAlternateCurrenciesReversed": 130,
        "promisedAlternateCurrenciesReversed": 40,
    }

    fact = fact_of("issuedAlternateCurrenciesReversed", reversed_by(**figures))

    assert (fact.points, fact.promised, fact.points_total, fact.promised_total) == (20, 10, 90, 40)


def test_a_reversal_with_only_totals_has_no_share() -> None:
    fact = fact_of("issuedAlternateCurrenciesReversed", reversed_by(totalAlternateCurrenciesReversed=130))

    assert (fact.points, fact.promised, fact.points_total) == (None, None, 130)


@pytest.mark.parametrize("total", ["totalAlternateCurrenciesReversed", "promisedAlternateCurrenciesReversed"])
def test_a_reversal_whose_total_cannot_be_read_takes_back_its_own_share(total: str) -> None:
    figures = {"currentEventTotalAlternateCurrenciesReturned": 30, "totalAlternateCurrenciesReversed": 130}

    fact = fact_of("issuedAlternateCurrenciesReversed", reversed_by(**{**figures, total: "many"}))

    assert (fact.points, fact.promised, fact.points_total, fact.promised_total) == (30, 0, None, None)


def test_bill_zero_is_no_bill() -> None:
    activity = {"identifiers": [{"key": "billId", "value": "0"}, {"key": "billNumber", "value": "454545"}]}

    fact = fact_of("issuedAlternateCurrenciesReversed", {**reversed_by(), "triggeringActivity": activity})

    assert (fact.bill, fact.bill_number) == (None, "454545")


def test_a_conversion_without_a_breakup_is_of_the_programme_at_the_top() -> None:
    converted = [{"alternateCurrencyIdentifier": "stars", "alternateCurrencyValue": "200.000"}]
    data = {"loyaltyProgramId": 9, "alternateCurrencyConverted": converted}

    fact = fact_of("promisedToCurrentAlternateCurrencyConversion", data)

    assert (fact.programme, fact.unit, fact.grants) == ("9", "stars", (Grant(Decimal(200), None, "converted"),))


def test_a_conversion_of_no_programme_is_not_recognised() -> None:
    converted = [{"alternateCurrencyIdentifier": "stars", "alternateCurrencyValue": "200.000"}]

    assert "no programme" in refusal_of(
        "promisedToCurrentAlternateCurrencyConversion",
        {"loyaltyProgramId": 0, "alternateCurrencyConverted": converted},
    )
