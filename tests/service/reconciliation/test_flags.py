"""Every flag of every row is read by a list of open matters, with a count, an age, and the points at stake."""

import json
import re
from typing import Any

import pytest

from ledger.database import Connection
from ledger.store.registry import Ledger
from projections.registry import PROJECTIONS
from service.reconciliation.catalogue import LISTS
from service.reconciliation.flags import FLAGS, STATEMENTS
from tests.service.reconciliation.test_open_lists import LATER, plan_of
from tests.support.client import TenantClient, serving
from tests.support.payloads import capillary, issued, redeemed, sample

# Boolean columns that call for no action.
NO_FLAGS = {
    ("adjustments", "adopted"),
    ("coupons", "unlimited"),
    ("lots", "asserted"),  # its account is incomplete
    ("milestone_groups", "achieved"),
    ("milestones", "achieved"),
    ("partner_memberships", "has_number"),
    ("programmes", "existing_lots"),
    ("promises", "external"),
    ("redemptions", "has_notes"),
    ("redemptions", "by_group"),
    ("reward_versions", "enabled"),
    ("rewards", "enabled"),
    ("statement", "repeated"),  # a line that repeats a change, and moves no points
    ("streak_levels", "achieved"),
    ("tier_history", "ended_by_merge"),
}
TRUE_OR_FALSE = re.compile(r"(\w+)\"?\s+boolean")


def columns() -> set[tuple[str, str]]:
    """Return every boolean column of every projection."""
    tables = [table for projection in PROJECTIONS for table in projection.tables]
    return {(table.name, column) for table in tables for column in TRUE_OR_FALSE.findall(table.create)}


def test_every_flag_of_every_row_is_read_by_a_list() -> None:
    assert columns() - NO_FLAGS - FLAGS.keys() == set()
    assert set(FLAGS.values()) <= LISTS.keys()


def test_no_list_reads_a_flag_that_is_gone() -> None:
    tables = {table.name: table.columns for projection in PROJECTIONS for table in projection.tables}

    assert [flag for flag in FLAGS if flag[1] not in tables[flag[0]]] == []


@pytest.mark.parametrize("flag", STATEMENTS, ids=lambda flag: f"{flag.table}.{flag.column}")
async def test_every_flag_is_read_by_an_index(connection: Connection, ledger: Ledger, flag: Any) -> None:
    await connection.execute("SET enable_seqscan = off")
    now = await connection.fetchval("SELECT now()")
    page, totals = STATEMENTS[flag]

    for statement, arguments in ((page, (now, 100, "", -1)), (totals, (now, 100))):
        plan = await plan_of(connection, statement, ledger.ledger_id, *arguments)
        assert "Seq Scan" not in plan, plan
        assert "_flagged" in plan or flag.table == "reward_redemptions", plan


async def listed(acme: TenantClient, name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await acme.ask_now(f"/v1/reconciliation/{name}", at=LATER))["items"]
    return items


def item(status: str, day: int, event: str) -> bytes:
    body = json.loads(sample("ascenda", "order_item.fulfillment.failed"))
    body["event_type"] = f"order_item.fulfillment.{event}"
    body["created_at"] = body["order_item"]["updated_at"] = f"2026-01-0{day}T10:00:00Z"
    body["order_item"] |= {"id": "b1", "status": status, "points_paid": 500, "quantity": 2}
    return json.dumps(body).encode()


async def test_an_item_that_failed_and_then_arrived_is_listed_with_its_points(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (item("failed", 2, "failed"), item("fulfilled", 3, "confirmed")):
            await acme.deliver(body, "ascenda")

        [found] = [one for one in await listed(acme, "contested") if one["resource"] == "order_items"]
        assert (found["flag"], found["points"], found["since"]) == ("contested", "500", "2026-01-03T10:00:00Z")
        assert found["age_seconds"] > 0
        totals = {one["name"]: one for one in (await acme.ask_now("/v1/reconciliation", at=LATER))["items"]}
        assert (totals["contested"]["open_count"], totals["contested"]["points"]) == (2, {"points": "500"})
        assert [one["resource"] for one in await listed(acme, "contested")] == ["accounts", "order_items"]
        assert (await acme.ask_now("/v1/order-items/b1"))["quantity"] == 2


async def test_an_event_named_for_another_outcome_than_its_item_is_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(item("failed", 2, "confirmed"), "ascenda")

        assert [one["flag"] for one in await listed(acme, "contested")] == ["contradicted"]


async def test_a_coupon_redeemed_twice_of_once_is_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        body = json.loads(sample("voucherify", "redemption.succeeded-2"))
        await acme.deliver(json.dumps(body).encode(), "voucherify")
        body["data"]["redemption"]["id"] = "r_again"
        await acme.deliver(json.dumps(body).encode(), "voucherify")

        [found] = [one for one in await listed(acme, "contested") if one["resource"] == "coupons"]
        assert found["cause"] == "It was redeemed 2 times of 1. Ask the vendor."


def failed_reward(request: str, customer: int = 3) -> bytes:
    rewards = [{"id": 57141, "qty": 1, "points": 10}, {"id": 57142, "qty": 3, "points": 5}]
    steps = [{"name": "ISSUE_REWARD", "errorCode": 730, "errorMessage": "x", "rewards": rewards}]
    return capillary("issueRewardFailure", "f", 60, customer, requestId=request, totalPoints=25, erroredSteps=steps)


def paid(request: str, customer: int = 3) -> bytes:
    body = json.loads(redeemed("p", 59, customer, 25, "RW2"))
    return json.dumps({**body, "apiRequestId": request}).encode()


async def test_rewards_that_failed_after_their_request_was_paid_are_listed_by_quantity(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 3, 100), paid("rq-1"), failed_reward("rq-1")):
            await acme.deliver(body)

        found = {one["reward"].rpartition(":")[2]: one for one in await listed(acme, "rewards")}

        assert {name: (one["points"], one["quantity"]) for name, one in found.items()} == {
            "57141": ("10", 1),
            "57142": ("15", 3),
        }
        totals = {one["name"]: one for one in (await acme.ask_now("/v1/reconciliation", at=LATER))["items"]}
        assert totals["rewards"]["points"] == {"points": "25"}


async def test_a_reversal_in_part_leaves_the_rest_due(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        given_back = capillary(
            "redeemedPointsReversed", "v", 90, 3, redeemedPointsReversed=10,
            triggeringActivity={"name": "x", "identifiers": [{"key": "redemptionId", "value": "RW2"}]},
        )  # fmt: skip
        for body in (issued("a", 0, 3, 100), paid("rq-1"), failed_reward("rq-1"), given_back):
            await acme.deliver(body)

        assert [one["points"] for one in await listed(acme, "rewards")] == ["15"]


@pytest.mark.parametrize(("request_id", "customer"), [("rq-2", 3), ("rq-1", 4)])
async def test_a_reward_of_another_request_or_customer_was_not_paid_by_it(
    dsn: str, request_id: str, customer: int
) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 3, 100), paid("rq-1"), failed_reward(request_id, customer)):
            await acme.deliver(body)

        assert await listed(acme, "rewards") == []
