"""The sentence above an object: its state at a glance."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from projections.registry import PROJECTIONS
from service.console.charts import stays_timeline
from service.console.headlines import HEADLINES, headline_of

MARCH, MAY = datetime(2026, 3, 1, 9, tzinfo=UTC), datetime(2026, 5, 2, 9, tzinfo=UTC)


def fields_of(table: str, **stated: Any) -> dict[str, Any]:
    """Return a row of a table with the stated fields, and None in the others."""
    row = next(one.tables[0] for one in PROJECTIONS if one.tables[0].name == table)
    return {"id": "x", **dict.fromkeys(row.columns), **stated}


def sentence(table: str, **stated: Any) -> str:
    headline = headline_of(table, fields_of(table, **stated))
    assert headline is not None
    return headline.sentence


def test_a_failed_item_names_the_points_that_are_due_back() -> None:
    item = {"points_paid": Decimal(4000), "refund_due": Decimal(4000), "refund": "due", "failed_at": MARCH}

    assert sentence("order_items", status="failed", **item) == (
        "The item failed on 1 Mar 2026. 4,000 points are due back to the customer."
    )


def test_a_refunded_item_names_the_day_of_the_refund() -> None:
    item = {"refund_due": Decimal(0), "refunded": Decimal(4000), "refunded_at": MAY, "points_paid": Decimal(4000)}

    assert sentence("order_items", status="cancelled", cancelled_at=MARCH, **item) == (
        "The item was cancelled on 1 Mar 2026. 4,000 points were given back on 2 May 2026."
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("initiated", "30 points were sent on 1 Mar 2026. The receiver's half has not arrived."),
        ("completed", "30 points were sent on 1 Mar 2026 and received on 2 May 2026."),
        ("received-only", "30 points were received on 2 May 2026. The sender's half has not arrived."),
    ],
)
def test_a_transfer_names_the_missing_half(status: str, expected: str) -> None:
    transfer = {"points": Decimal(30), "unit": "points", "initiated_at": MARCH, "received_at": MAY}

    assert sentence("transfers", status=status, **transfer) == expected


def test_a_coupon_names_its_redemption_or_its_expiry() -> None:
    used = {"redeemed_count": 1, "redeemed_at": MAY, "bill": "B-1"}

    assert sentence("coupons", code="C1", issued_at=MARCH, status="redeemed", **used) == (
        "Coupon C1 was issued on 1 Mar 2026. It was redeemed once, last on 2 May 2026 with bill B-1."
    )
    assert sentence("coupons", code="C1", status="expired", redeemed_count=0) == (
        "Coupon C1. It expired without being redeemed."
    )


@pytest.mark.parametrize("table", HEADLINES)
def test_a_headline_can_be_written_from_a_row_that_states_least(table: str) -> None:
    counts = {"redeemed_count": 0, "earned_count": 1, "renewals": 0, "missing_count": 0}
    row = fields_of(table)

    assert headline_of(table, {**row, **{name: value for name, value in counts.items() if name in row}})


def test_the_timeline_of_tiers_fills_the_width_and_shades_each_tier_once() -> None:
    stays = [
        {"tier": "1", "tier_name": "Silver", "since": MARCH, "left_at": datetime(2026, 4, 1, 9, tzinfo=UTC)},
        {"tier": "2", "tier_name": "Gold", "since": datetime(2026, 4, 1, 9, tzinfo=UTC), "left_at": None},
    ]

    silver, gold = stays_timeline(stays, MAY)

    assert (silver.label, silver.start, silver.width) == ("Silver", 0.0, 500.0)
    assert (gold.label, gold.start, gold.width) == ("Gold", 500.0, 500.0)
    assert silver.shade != gold.shade


def test_an_interval_after_the_time_of_the_page_is_not_drawn() -> None:
    assert stays_timeline([{"tier": "1", "tier_name": None, "since": MAY, "left_at": None}], MARCH) == []
