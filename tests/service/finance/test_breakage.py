"""The breakage of a ledger: its figures from events, over HTTP and on the console, and its tie to the liability."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from service.finance import breakage
from tests.support.client import TenantClient, serving
from tests.support.payloads import START, issued, redeemed

PROGRAMME = "capillary:9001:77"
MONTHS = 10  # from November 2023 to August 2024
LAST = "2024-08"


def seconds(month: int, day: int) -> int:
    """Return a time in seconds after START: noon of a day, in a month counted from November 2023."""
    count = 2023 * 12 + 10 + month
    return int(datetime(count // 12, count % 12 + 1, day, 12, tzinfo=UTC).timestamp()) - START // 1000


def month_end(month: int) -> str:
    count = 2023 * 12 + 10 + month
    last = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}[count % 12 + 1]
    return f"{count // 12}-{count % 12 + 1:02d}-{last}"


async def deliver_vintages(acme: TenantClient) -> None:
    """Each month one customer earns 100 points, which lapse at the end of the second month after it.

    10 are spent in the month itself, 20 in the next and 10 in the one after it.
    """
    for month in range(MONTHS):
        bodies = [issued(f"i{month}", seconds(month, 15), month, 100, lapses=month_end(month + 2))]
        for age, points in enumerate((10, 20, 10)):
            bodies.append(redeemed(f"r{month}.{age}", seconds(month + age, 20), month, points))
        for body in bodies:
            status, answer = await acme.deliver(body)
            assert status == 200, answer


def figures(item: dict[str, Any]) -> dict[str, str | None]:
    names = ("outstanding", "expected_used", "expected_removed", "expected_breakage", "undetermined")
    return {name: item[name] and str(Decimal(item[name])) for name in names}


async def test_the_breakage_at_a_month_end_follows_the_vintages_and_ties_to_the_liability(dsn: str) -> None:
    """90 points of August and 70 of July keep 60 each, as all vintages do. The 60 of June lapse at that instant."""
    async with serving(dsn, "acme", "other") as [acme, other]:
        await deliver_vintages(acme)

        answer = await acme.ask_now("/v1/breakage", month=LAST)
        rolled = await acme.ask_now("/v1/liability", **{"from": "2023-11-01", "to": "2024-08-31"})
        few = await acme.ask_now("/v1/breakage", month="2024-01", programme=PROGRAMME, unit="points")
        nothing = await acme.ask_now("/v1/breakage", month=LAST, unit="miles")
        foreign = await other.ask_now("/v1/breakage", month=LAST)

    [item] = answer["items"]
    assert (item["programme"], item["unit"], item["month"], item["reason"]) == (PROGRAMME, "points", LAST, None)
    assert figures(item) == {
        "outstanding": "220",
        "expected_used": "40",
        "expected_removed": "0",
        "expected_breakage": "180",
        "undetermined": "0",
    }
    assert (item["expected_breakage_low"], item["expected_breakage_high"]) == ("180", "180")

    assert rolled["totals"][-1]["closing"] == item["outstanding"]
    assert [point["used"] for point in item["curves"] if point["vintage"] == "2023-11"] == ["0.1", "0.3", "0.4"]
    for vintage in item["vintages"]:
        parts = [Decimal(vintage[name]) for name in ("used", "lapsed", "removed", "outstanding")]
        assert sum(parts) == Decimal(vintage["credited"]) == 100
    assert answer["assumptions"]
    [young] = few["items"]
    assert young["reason"] == "the history has 3 of the 6 vintages that are needed"
    assert (young["outstanding"], young["expected_breakage"], young["vintages"]) == ("220", None, [])
    assert nothing["items"] == foreign["items"] == []


async def test_statements_over_few_holders_add_up_to_the_same_figures(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_vintages(acme)
        at_once = await acme.ask_now("/v1/breakage", month=LAST)
        monkeypatch.setattr(breakage, "HOLDERS_PER_STATEMENT", 1)

        one_by_one = await acme.ask_now("/v1/breakage", month=LAST)

    assert one_by_one["items"] == at_once["items"]


@pytest.mark.parametrize("month", ["2024", "2024-13", "2199-01"])
async def test_a_month_that_is_not_over_or_none_is_refused(dsn: str, month: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await acme.ask("/v1/breakage", month=month)

    assert (status, "month" in problem["detail"]) == (400, True)
