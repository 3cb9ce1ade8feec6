from decimal import Decimal
from typing import Any

import pytest

from tests.support.capillary_events import fact_of, refusal_of


def bill(**more: Any) -> Any:
    return fact_of("transactionUpdated", {"transactionId": 500, **more})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (89000.0, "89000"),
        (0.0, "0"),
        (-12.5, "-12.5"),
        ("50.00", "50"),
        ("1 234.50", "1234.5"),
        (5916.450492782085, "5916.450492782085"),
        ("", None),
        (None, None),
    ],
)
def test_amounts_are_exact(sent: Any, expected: Any) -> None:
    amount = bill(amount=sent).amount

    assert amount == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize("amount", ["twelve", True, "NaN", 1e17, {"value": 1}])
def test_an_unreadable_amount_is_left_out_and_the_bill_stays(amount: Any) -> None:
    assert bill(amount=amount) == bill()


def test_a_gross_amount_of_zero_beside_a_net_amount_is_unknown() -> None:
    assert bill(amount=50, grossAmount=0).gross_amount is None
    assert bill(amount=0, grossAmount=0).gross_amount == 0
    assert bill(amount=50, grossAmount=60).gross_amount == 60


@pytest.mark.parametrize(
    ("sent", "expected", "unknown"),
    [
        ("DELIV ERED", "DELIVERED", False),
        ("shipped", "SHIPPED", False),
        (" Lost at sea ", "Lost at sea", True),
        ("", None, False),
        (None, None, False),
    ],
)
def test_a_delivery_status_is_repaired_or_kept_and_flagged(sent: Any, expected: Any, unknown: Any) -> None:
    fact = bill(deliveryStatus=sent)

    assert (fact.delivery_status, fact.delivery_status_unknown) == (expected, unknown)


@pytest.mark.parametrize(("sent", "expected"), [(1, 1), ("3", 3), (-1, None), ("", None), (None, None)])
def test_line_items_are_counted(sent: Any, expected: Any) -> None:
    assert bill(lineItemCount=sent).line_item_count == expected


@pytest.mark.parametrize("count", ["many", "1.5", 10**7])
def test_an_unreadable_count_is_left_out_and_the_bill_stays(count: Any) -> None:
    assert bill(lineItemCount=count) == bill()


@pytest.mark.parametrize("number", ["null", "-1", "", None])
def test_a_number_that_means_none_is_none(number: Any) -> None:
    assert bill(billNumber=number).number is None


@pytest.mark.parametrize(("currency", "expected"), [(" ", None), ("idr", "IDR"), ("I DR", "IDR")])
def test_a_currency_is_repaired(currency: Any, expected: Any) -> None:
    assert bill(currencyCode=currency).currency == expected


def test_a_bill_may_name_no_customer() -> None:
    assert bill().customer is None
    assert bill(customerIdentifiers={"customerId": 10}).customer == "capillary:1:10"


@pytest.mark.parametrize("transaction", ["null", None, 0.5])
def test_a_bill_without_an_id_is_not_recognised(transaction: Any) -> None:
    reason = refusal_of("transactionAdded", {"transactionId": transaction})

    assert reason.startswith("transactionId is ")
