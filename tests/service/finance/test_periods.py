"""Closed months: their figures stay, and what is told of them later comes into the next as prior-period items."""

from typing import Any

import pytest

from ledger.store import api_keys
from projections.rebuild import rebuild
from tests.service.finance.test_liability import moved
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued, merged, redeemed

DAY = 86_400
NOVEMBER = {"from": "2023-11-01", "to": "2023-11-30", "by": "month"}
DECEMBER = {"from": "2023-12-01", "to": "2023-12-31", "by": "month"}
JANUARY = {"from": "2024-01-01", "to": "2024-01-31", "by": "month"}


async def post(acme: TenantClient, path: str, *scopes: str) -> tuple[int, Any]:
    async with acme.database() as connection:
        key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, list(scopes) or ["admin"])
    response = await acme.client.post(path, headers={"Authorization": f"Bearer {key}"})
    return response.status, await response.json()


async def close(acme: TenantClient, period: str) -> None:
    status, done = await post(acme, f"/v1/periods/{period}/close")
    assert (status, done["period"]) == (200, period), done


async def figures(acme: TenantClient, asked: dict[str, str]) -> list[Any]:
    return (await acme.ask_now("/v1/liability", **asked))["items"]  # type: ignore[no-any-return]


async def test_a_closed_month_keeps_its_figures_and_the_next_shows_what_came_late(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 100), redeemed("b", DAY, 1, 30), issued("c", 2 * DAY, 2, 50)):
            await acme.deliver(body)
        await close(acme, "2023-11")
        closed = await figures(acme, NOVEMBER)

        await acme.deliver(redeemed("late", 3 * DAY, 1, 20))
        await acme.deliver(issued("unknown", 4 * DAY, 3, 9))
        await acme.deliver(redeemed("d", 20 * DAY, 2, 10))  # in December

        assert await figures(acme, NOVEMBER) == closed
        assert [(row["vintage"], moved(row)) for row in closed] == [
            ("2023-11", {"issued": "150", "redeemed": "30", "closing": "120", "closing_available": "120"})
        ]
        assert [(row["vintage"], moved(row)) for row in await figures(acme, DECEMBER)] == [
            (
                "2023-11",
                {
                    "opening": "120",
                    "prior_period": "-11",
                    "redeemed": "10",
                    "closing": "99",
                    "closing_available": "99",
                },
            )
        ]
        known = await acme.ask_now("/v1/liability", **NOVEMBER, as_of_position="6")
        assert moved(known["totals"][0])["closing"] == "109"
        assert (await acme.ask_now("/v1/liability", **DECEMBER))["ties"]


async def test_prior_period_items_name_account_amount_and_position(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100, lapses="2023-11-20"))
        await acme.deliver(issued("b", 0, 2, 100))
        await close(acme, "2023-11")  # position 3
        await acme.deliver(redeemed("late", 3 * DAY, 2, 20))  # position 4
        await acme.deliver(redeemed("consumed", 3 * DAY, 1, 20))  # all of it would have lapsed in November anyhow
        await acme.deliver(issued("new", 4 * DAY, 3, 9))  # position 6

        november = await acme.ask_now("/v1/periods/2023-11")
        december = await acme.ask_now("/v1/periods/2023-12")

        assert (november["status"], november["known_position"], november["prior_period_items"]) == ("closed", 2, [])
        assert november["totals_when_closed"] == [
            {"programme": "capillary:9001:77", "unit": "points", "opening": "0", "closing": "100"}
        ]
        items = [(item["account"], item["points"], item["first_position"]) for item in december["prior_period_items"]]
        assert items == [("capillary:9001:2:77:points", "-20", 4), ("capillary:9001:3:77:points", "9", 6)]
        assert december["prior_period_items"][0]["lines"] == [
            {
                "position": 4,
                "occurred_at": "2023-11-17T22:13:20Z",
                "kind": "Redeemed",
                "points": "-20",
                "reference": "capillary:9001:Rlate",
            }
        ]
        assert (december["status"], november["later_items"]) == ("open", december["prior_period_items"])
        assert moved(december["totals"][0])["prior_period"] == "-11"


async def test_months_are_closed_one_after_the_other_and_each_opens_with_the_closing_before(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await close(acme, "2023-11")
        await acme.deliver(issued("b", DAY, 1, 5))  # late for November, in time for December
        await close(acme, "2023-12")
        await acme.deliver(issued("c", 2 * DAY, 1, 7))  # late for both
        await acme.deliver(issued("d", 50 * DAY, 1, 1))

        [november], [december] = await figures(acme, NOVEMBER), await figures(acme, DECEMBER)
        january = await figures(acme, JANUARY)
        whole = await figures(acme, {"from": "2023-11-01", "to": "2024-01-31", "by": "month"})
        by_day = await acme.ask_now("/v1/liability", **{"from": "2023-11-01", "to": "2024-01-31", "by": "day"})

        assert (november["closing"], december["opening"]) == ("100", "100")
        assert (december["prior_period"], december["closing"]) == ("5", "105")
        assert [(row["vintage"], moved(row)) for row in january] == [
            ("2023-11", {"opening": "105", "prior_period": "7", "closing": "112", "closing_available": "112"}),
            ("2024-01", {"issued": "1", "closing": "1", "closing_available": "1"}),
        ]
        assert whole == [november, december, *january]
        days = by_day["totals"]
        assert [day["opening"] for day in days[1:]] == [day["closing"] for day in days[:-1]]
        assert {day["from"]: day["prior_period"] for day in days if day["prior_period"] != "0"} == {
            "2023-12-01": "5",
            "2024-01-01": "7",
        }
        period = await acme.ask_now("/v1/periods/2023-12")
        assert [item["points"] for item in period["prior_period_items"]] == ["5"]
        assert [item["points"] for item in period["later_items"]] == ["7"]
        assert [row["period"] for row in (await acme.ask_now("/v1/periods"))["items"]] == ["2023-11", "2023-12"]


async def test_the_last_closed_month_can_be_reopened_and_closed_again(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await close(acme, "2023-11")
        await acme.deliver(issued("b", DAY, 1, 5))
        status, _ = await post(acme, "/v1/periods/2023-11/reopen")
        [open_again] = await figures(acme, NOVEMBER)
        await close(acme, "2023-11")
        await acme.deliver(issued("c", DAY, 1, 7))
        [closed] = await figures(acme, NOVEMBER)
        await rebuild(dsn)

        assert (status, open_again["closing"], closed["closing"]) == (200, "105", "105")
        assert await figures(acme, NOVEMBER) == [closed]
        assert (await acme.ask_now("/v1/periods/2023-11"))["reopenings"] == 1


async def test_what_cannot_be_closed_is_refused(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await close(acme, "2023-11")

        for path, expected in (
            ("/v1/periods/2023-11/close", 409),
            ("/v1/periods/2023-10/close", 409),
            ("/v1/periods/2199-01/close", 409),
            ("/v1/periods/2023-10/reopen", 409),
            ("/v1/periods/2023-13/close", 400),
            ("/v1/periods/november/close", 400),
            ("/v1/periods/0001-01/close", 400),
            ("/v1/periods/1999-12/close", 400),
            ("/v1/periods/9999-12/close", 400),
            ("/v1/periods/2023-12%00/close", 400),
        ):
            status, problem = await post(acme, path)
            assert (status, problem["type"] != "/v1/errors/internal-error") == (expected, True), problem
        assert (await post(acme, "/v1/periods/2023-12/close", "read"))[0] == 403
        assert (await acme.ask("/v1/periods/2019-01"))[0] == 404
        for path in ("/v1/periods/9999-12", "/v1/liability?to=9999-12-31", "/v1/liability?at=9999-12-31T00:00:00Z"):
            status, problem = await acme.ask(path)
            assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")
        assert (await acme.ask_now("/v1/reconciliation/unrecognised"))["items"] == []


@pytest.mark.parametrize("path", ["/v1/trial-balance", "/v1/liability", "/v1/periods", "/v1/periods/2023-11"])
async def test_finance_needs_a_key_too(dsn: str, path: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        assert (await acme.ask(path, key="nonsense"))[0] == 401


async def test_what_came_late_is_a_prior_period_item_once_and_later_days_open_with_it(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await close(acme, "2023-11")
        await acme.deliver(redeemed("late", 3 * DAY, 1, 20))  # of November
        await acme.deliver(redeemed("b", 20 * DAY, 1, 10))  # 4 December
        await acme.deliver(redeemed("c", 50 * DAY, 1, 5))  # 3 January

        whole = {"from": "2023-11-01", "to": "2024-01-31", "by": "month"}
        by_month = [(row["opening"], row["prior_period"], row["closing"]) for row in await figures(acme, whole)]
        assert by_month == [("0", "0", "100"), ("100", "-20", "70"), ("70", "0", "65")]
        assert [moved(row) for row in await figures(acme, JANUARY)] == [
            {"opening": "70", "redeemed": "5", "closing": "65", "closing_available": "65"}
        ]
        middle = await figures(acme, {"from": "2023-12-10", "to": "2023-12-10"})
        assert [moved(row) for row in middle] == [{"opening": "70", "closing": "70", "closing_available": "70"}]
        december, january = await acme.ask_now("/v1/periods/2023-12"), await acme.ask_now("/v1/periods/2024-01")
        assert [item["points"] for item in december["prior_period_items"]] == ["-20"]
        assert (january["prior_period_items"], january["totals"][0]["opening"]) == ([], "70")

        await close(acme, "2023-12")
        closed = await figures(acme, {"from": "2023-12-10", "to": "2023-12-10"})
        assert [moved(row) for row in closed] == [{"opening": "70", "closing": "70", "closing_available": "70"}]


async def test_what_came_late_counts_once_though_those_it_is_about_have_become_one(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 100), issued("b", 0, 3, 200), merged("m", 5, 1, 2), merged("n", 5, 3, 4)):
            await acme.deliver(body)
        await close(acme, "2023-11")
        for body in (issued("a", -9, 1, 90), issued("b", -9, 3, 170), merged("o", 20 * DAY, 2, 4)):
            await acme.deliver(body)  # earlier twins of both win, and two that were apart are one

        december = await acme.ask_now("/v1/periods/2023-12")

        items = [(item["account"], item["points"]) for item in december["prior_period_items"]]
        assert items == [("capillary:9001:2:77:points", "-10"), ("capillary:9001:4:77:points", "-30")]
        assert (december["totals"][0]["opening"], december["totals"][0]["prior_period"]) == ("300", "-40")
