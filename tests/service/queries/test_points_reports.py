"""Two reports of one change over HTTP: how support and reconciliation see the second."""

import json
from typing import Any

from tests.support.client import TenantClient, serving
from tests.support.payloads import activity, capillary, issued, received, redeemed, sent

ANN = "/v1/accounts/capillary:9001:1:77:points"


async def test_a_redemption_under_two_event_ids_counts_once_and_is_marked(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("e0", 0, 1, 100), redeemed("e1", 1, 1, 40, "R"), redeemed("e2", 1, 1, 40, "R")):
            await acme.deliver(body)

        account = await acme.ask_now(ANN)
        statement = await acme.ask_now(f"{ANN}/statement")
        explained = await acme.ask_now(f"{ANN}/explanation")

        assert (account["available"], account["redeemed"]) == ("60", "40")
        [again] = [line for line in statement["items"] if line["repeated"]]
        counted = next(line["position"] for line in statement["items"] if line["points"] == "-40")
        assert (again["points"], again["balance"], again["counted_position"]) == ("0", "60", counted)
        assert f"The change was counted at position {counted}." in explained["steps"][-1]["rule"]["sentence"]
        assert await listed(acme, "reports") == []


async def test_a_report_with_other_points_is_listed_with_both_positions(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (redeemed("e2", 2, 1, 45, "R"), issued("e0", 0, 1, 100), redeemed("e1", 1, 1, 40, "R")):
            await acme.deliver(body)

        [item] = await listed(acme, "reports")

        assert (await acme.ask_now(ANN))["available"] == "60"
        assert (item["points"], item["position"], item["counted_position"]) == ("5", 1, 3)


async def test_a_transfer_states_the_points_that_its_accounts_moved(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        bodies = [issued("e0", 0, 1, 100), sent("e1", 1, 1, 20, 2, "T"), sent("e2", 2, 1, 10, 2, "T")]
        for body in [*bodies, received("e3", 3, 2, 11, 1, "T")]:
            await acme.deliver(body)

        transfer = await acme.ask_now("/v1/transfers/capillary:9001:T")
        sender, receiver = await acme.ask_now(ANN), await acme.ask_now(ANN.replace("9001:1", "9001:2"))
        [item] = await listed(acme, "transfers")

        assert (transfer["status"], transfer["points"], transfer["points_received"]) == ("completed", "20", "11")
        assert (sender["available"], receiver["available"]) == ("80", "11")
        assert "20 were sent and 11 were received." in item["cause"]
        assert (transfer["reported"], transfer["counted_position"], transfer["reported_position"]) == ("10", 2, 3)
        assert [one["points"] for one in await listed(acme, "reports")] == ["-10"]


async def test_points_returned_from_a_promotion_leave_the_others(dsn: str) -> None:
    promotion = {"promotionIdentifier": "pr1", "promotionPoints": 40}
    earned = capillary(
        "pointsIssued",
        "e0",
        0,
        1,
        totalPointsIssued=140,
        regularPointsIssued=100,
        regularPointsBreakup=[{"points": 100, "expiryAt": "2027-06-30"}],
        promotionalPointsIssued=[{**promotion, "promotionPointsExpiryDate": "2026-12-31"}],
        triggeringActivity=activity(billId="B1"),
    )
    returned = capillary(
        "issuedPointsReversed",
        "e1",
        1,
        1,
        totalIssuedPointsReversed=40,
        currentEventRegularPointsReturned=40,
        currentEventTotalPointsReturned=40,
        currentEventPromotionPointsReturnedDetails=[promotion],
        triggeringActivity=activity(billId="B1"),
    )
    async with serving(dsn, "acme") as [acme]:
        for body in (earned, returned):
            await acme.deliver(body)

        account = await acme.ask_now(ANN, at="2027-03-01T00:00:00Z")

        assert account["available"] == "100"
        assert [lot["remaining"] for lot in account["lots"]] == ["100"]


async def listed(acme: TenantClient, name: str) -> list[dict[str, Any]]:
    """Return the items of a list of open matters, without grace."""
    items: list[dict[str, Any]] = (await acme.ask_now(f"/v1/reconciliation/{name}", grace_hours="0"))["items"]
    assert json.dumps(items)
    return items
