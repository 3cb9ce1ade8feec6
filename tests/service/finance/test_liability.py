"""Trial balance and liability over HTTP: the figures of small stories written out, at every position."""

import csv
import io
from typing import Any

import pytest

from service.operations.programme_terms import set_terms
from tests.service.queries.test_as_of_queries import DAY, HISTORY, LATER, noon
from tests.support.client import TenantClient, serving
from tests.support.payloads import VAULT, issued, merged, received, redeemed, redemption_reversed, returned, sent

PROGRAMME = "capillary:9001:77"


async def deliver(acme: TenantClient, *bodies: bytes) -> None:
    for body in bodies:
        status, told = await acme.deliver(body)
        assert status == 200, told


def moved(row: dict[str, Any]) -> dict[str, str]:
    """Give what is not zero of a row's figures."""
    beside = ("programme", "unit", "from", "to", "vintage", "currency")
    return {name: value for name, value in row.items() if name not in beside and value not in ("0", None)}


async def test_the_trial_balance_shows_every_class_and_sums_to_zero(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(
            acme,
            issued("a", 0, 1, 100, lapses="2023-11-20"),
            redeemed("b", DAY, 1, 30),
            issued("c", DAY, 2, 50, bill="B"),
            redeemed("d", 2 * DAY, 2, 50),
            returned("e", 3 * DAY, 2, 50, "B"),
        )

        balance = await acme.ask_now("/v1/trial-balance", at=noon(4))
        later = await acme.ask_now("/v1/trial-balance", at=noon(10))
        earlier = await acme.ask_now("/v1/trial-balance", at=noon(0.5))

        [item] = balance["items"]
        assert (item["programme"], item["unit"], item["sum"]) == (PROGRAMME, "points", "0")
        assert item["classes"] == {
            "available": "70",
            "debt": "-50",
            "issued": "-150",
            "redeemed": "80",
            "reversed": "50",
        }
        assert (balance["balanced"], balance["accounts_count"], balance["accounts_differing"]) == (True, 2, [])
        assert later["items"][0]["classes"]["lapsed"] == "70"
        assert earlier["items"][0]["classes"] == {"available": "100", "issued": "-100"}


async def test_the_trial_balance_at_a_position_is_that_of_a_ledger_with_no_later_events(dsn: str) -> None:
    history = [*HISTORY, *LATER]
    names = ["all", *(f"upto{count}" for count in range(len(history) + 1))]
    async with serving(dsn, *names) as [everything, *others]:
        await deliver(everything, *history)
        terms = {"effective_from": "2023-01-01", "time_zone": "UTC", "expiry": {"rule": "fixed", "days": 2}}
        async with everything.database() as connection:
            await set_terms(connection, VAULT, everything.ledger, PROGRAMME, terms, by="test")
        await everything.ask_now("/v1/trial-balance")

        for count, other in enumerate(others):
            await deliver(other, *history[:count])
            for at in (noon(1.5), noon(30)):
                known = await everything.ask_now("/v1/trial-balance", at=at, as_of_position=str(count))
                ours = await other.ask_now("/v1/trial-balance", at=at)
                assert known["items"] == ours["items"], count
                assert known["balanced"]
                assert all(item["sum"] == "0" for item in known["items"])
            asked = {"from": "2023-11-14", "to": "2023-12-31", "by": "day"}
            known = await everything.ask_now("/v1/liability", **asked, as_of_position=str(count))
            ours = await other.ask_now("/v1/liability", **asked)
            assert (known["items"], known["totals"], known["ties"]) == (ours["items"], ours["totals"], True), count


async def test_a_month_rolls_forward_from_opening_to_closing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(
            acme,
            issued("a", 0, 1, 1000, lapses="2023-12-10"),  # 14 November
            redeemed("b", DAY, 1, 200, "R"),
            issued("c", 20 * DAY, 1, 300, bill="B"),  # 4 December
            redemption_reversed("d", 21 * DAY, 1, 50, "R"),
            sent("e", 22 * DAY, 1, 100, 2, "t"),
            received("f", 23 * DAY, 2, 100, 1, "t"),
            returned("g", 24 * DAY, 1, 30, "B"),
        )

        november = await acme.ask_now("/v1/liability", **{"from": "2023-11-01", "to": "2023-11-30", "by": "month"})
        december = await acme.ask_now("/v1/liability", **{"from": "2023-12-01", "to": "2023-12-31", "by": "month"})

        [row] = november["items"]
        assert (row["from"], row["to"], row["vintage"]) == ("2023-11-01", "2023-11-30", "2023-11")
        assert moved(row) == {"issued": "1000", "redeemed": "200", "closing": "800", "closing_available": "800"}
        assert [(row["vintage"], moved(row)) for row in december["items"]] == [
            ("2023-11", {"opening": "800", "redeemed": "-50", "transfers_out": "100", "lapsed": "750"}),
            (
                "2023-12",
                {
                    "issued": "300",
                    "transfers_in": "100",
                    "reversed": "30",
                    "closing": "370",
                    "closing_available": "370",
                },
            ),
        ]
        [total] = december["totals"]
        assert moved(total) == {
            "opening": "800",
            "issued": "300",
            "transfers_in": "100",
            "redeemed": "-50",
            "lapsed": "750",
            "reversed": "30",
            "transfers_out": "100",
            "closing": "370",
            "closing_available": "370",
        }
        assert (december["ties"], december["tie_outs"]) == (
            True,
            [{"programme": PROGRAMME, "unit": "points", "closing": "370", "accounts_total": "370", "difference": "0"}],
        )


async def test_points_in_transit_debt_and_promised_points_are_states_of_their_own(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        promised = [{"promisedPoints": 7, "promisedPointsConversionDate": "2024-02-01"}]
        await deliver(
            acme,
            issued("a", 0, 1, 100, promisedPointsIssued=promised),
            sent("b", DAY, 1, 40, 2, "t"),
            issued("c", DAY, 3, 20, bill="B"),
            redeemed("d", 2 * DAY, 3, 20),
            returned("e", 3 * DAY, 3, 20, "B"),
            issued("f", 20 * DAY, 3, 5),
        )

        done = await acme.ask_now("/v1/liability", **{"from": "2023-11-14", "to": "2023-11-30", "by": "month"})
        settled = await acme.ask_now("/v1/liability", **{"from": "2023-12-01", "to": "2023-12-31", "by": "month"})

        [total] = done["totals"]
        states = {name: value for name, value in total.items() if name.startswith("closing_")}
        assert states == {
            "closing_promised": "7",
            "closing_available": "60",
            "closing_held": "0",
            "closing_in_transit": "40",
            "closing_debt": "20",
        }
        assert total["closing"] == "40"
        assert [(row["vintage"], moved(row)) for row in settled["items"]] == [
            ("2023-11", {"opening": "60", "closing": "60", "closing_available": "60"}),
            ("2023-12", {"issued": "5", "settled": "-5"}),
            (
                None,
                {
                    "opening": "-20",
                    "settled": "5",
                    "closing": "-15",
                    "closing_promised": "7",
                    "closing_in_transit": "40",
                    "closing_debt": "15",
                },
            ),
        ]


async def test_a_return_after_redemption_is_a_reversal_and_settles_from_the_next_credit(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(
            acme,
            issued("a", 0, 1, 100, bill="1"),
            issued("b", 1, 1, 150, bill="2"),
            redeemed("c", DAY, 1, 110),
            returned("d", 2 * DAY, 1, 100, "1"),
            returned("e", 3 * DAY, 1, 150, "2"),
            issued("f", 4 * DAY, 1, 500),
        )

        done = await acme.ask_now("/v1/liability", **{"from": "2023-11-14", "to": "2023-11-18", "by": "day"})

        assert [(row["from"], row["closing"]) for row in done["totals"]] == [
            ("2023-11-14", "250"),
            ("2023-11-15", "140"),
            ("2023-11-16", "40"),
            ("2023-11-17", "-110"),
            ("2023-11-18", "390"),
        ]
        assert [(row["redeemed"], row["reversed"]) for row in done["totals"]] == [
            ("0", "0"),
            ("110", "0"),
            ("0", "100"),
            ("0", "150"),
            ("0", "0"),
        ]
        assert (done["totals"][3]["closing_debt"], done["totals"][4]["closing_debt"]) == ("110", "0")


async def test_a_day_without_events_still_loses_lapsed_points(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, issued("a", 0, 1, 60, lapses="2023-11-20"))

        done = await acme.ask_now("/v1/liability", **{"from": "2023-11-20", "to": "2023-11-22", "by": "day"})

        assert [(row["from"], moved(row)) for row in done["items"]] == [
            ("2023-11-20", {"opening": "60", "closing": "60", "closing_available": "60"}),
            ("2023-11-21", {"opening": "60", "lapsed": "60"}),
        ]


async def test_days_are_those_of_the_programme_and_worth_is_that_of_the_day(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, issued("a", 0, 1, 100))  # 14 November 22:13 in London, the 15th in Kolkata
        async with acme.database() as connection:
            for day, ratio in (("2023-01-01", "0.5"), ("2023-11-16", "0.25")):
                terms = {
                    "effective_from": day,
                    "time_zone": "Asia/Kolkata",
                    "points_to_currency": {"ratio": ratio, "currency": "INR"},
                }
                await set_terms(connection, VAULT, acme.ledger, PROGRAMME, terms, by="test")

        done = await acme.ask_now("/v1/liability", **{"from": "2023-11-14", "to": "2023-11-16", "by": "day"})

        assert [(row["from"], row["issued"], row["value"], row["currency"]) for row in done["items"]] == [
            ("2023-11-15", "100", "50", "INR"),
            ("2023-11-16", "0", "25", "INR"),
        ]


async def test_a_merge_moves_points_between_accounts_and_changes_no_vintage(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, issued("a", 0, 1, 100), issued("b", 20 * DAY, 2, 11), merged("m", 21 * DAY, 1, 2))

        done = await acme.ask_now("/v1/liability", **{"from": "2023-12-01", "to": "2023-12-31", "by": "month"})

        assert [(row["vintage"], row["merged"], row["closing"]) for row in done["items"]] == [
            ("2023-11", "0", "100"),
            ("2023-12", "0", "11"),
        ]


async def test_a_roll_forward_can_be_narrowed_and_has_pages(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, issued("a", 0, 1, 100), issued("b", 20 * DAY, 1, 11))
        asked = {"from": "2023-11-14", "to": "2023-12-31", "by": "month"}

        vintage = await acme.ask_now("/v1/liability", **asked, vintage="2023-12", programme="77", unit="points")
        first = await acme.ask_now("/v1/liability", **asked, limit="2")
        rest = await acme.ask_now("/v1/liability", **asked, limit="2", cursor=first["next"])

        assert [(row["from"], row["vintage"], row["closing"]) for row in vintage["items"]] == [
            ("2023-12-01", "2023-12", "11")
        ]
        assert [(row["from"], row["vintage"]) for row in [*first["items"], *rest["items"]]] == [
            ("2023-11-14", "2023-11"),
            ("2023-12-01", "2023-11"),
            ("2023-12-01", "2023-12"),
        ]
        assert rest["next"] is None
        assert (await acme.ask_now("/v1/liability", **asked, unit="miles"))["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2023-13-01"},
        {"from": "2023-12-01", "to": "2023-11-01"},
        {"from": "1900-01-01", "to": "2023-11-01"},
        {"by": "week"},
        {"vintage": "2023"},
    ],
)
async def test_a_roll_forward_of_no_days_is_refused(dsn: str, query: dict[str, str]) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await acme.ask("/v1/liability", **query)

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")


async def test_an_empty_ledger_is_balanced_and_owes_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        balance = await acme.ask_now("/v1/trial-balance")
        liability = await acme.ask_now("/v1/liability")

        assert (balance["items"], balance["balanced"]) == ([], True)
        assert (liability["items"], liability["totals"], liability["ties"]) == ([], [], True)


async def test_a_roll_forward_is_by_month_unless_asked_otherwise_and_one_file_as_csv(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, issued("a", 0, 1, 100), issued("b", 20 * DAY, 1, 11))
        asked = {"from": "2023-11-14", "to": "2023-12-31"}

        shown = await acme.ask_now("/v1/liability", **asked)
        bearer = {"Authorization": f"Bearer {acme.key}"}
        file = await acme.client.get("/v1/liability", params={**asked, "format": "csv"}, headers=bearer)
        wrong, _ = await acme.ask("/v1/liability", format="xlsx")

        rows = list(csv.DictReader(io.StringIO(await file.text())))
        assert (shown["by"], wrong) == ("month", 400)
        assert file.headers["Content-Type"].startswith("text/csv")
        assert [(row["from"], row["vintage"], row["closing"]) for row in rows] == [
            (row["from"], row["vintage"], row["closing"]) for row in shown["items"]
        ]
