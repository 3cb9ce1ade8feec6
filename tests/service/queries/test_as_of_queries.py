"""Queries as of a time and a position: the state on a day, as known on another day. Such an answer never changes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.queries.as_of import position_at
from projections.rebuild import rebuild
from service.operations.programme_terms import set_terms
from tests.support.client import TenantClient, serving
from tests.support.payloads import VAULT, delivery, issued, merged, received, redeemed, returned, sample, sent

DAY = 86_400
FIRST = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # tests.support.payloads.START
ANN = "/v1/accounts/capillary:9001:1:77:points"
BOB = "/v1/accounts/capillary:9001:2:77:points"


def noon(days: float) -> str:
    """Return noon of the day so many days after the first delivery."""
    return (FIRST + timedelta(days=days)).isoformat()


def now() -> str:
    return datetime.now(UTC).isoformat()


async def test_the_balance_on_one_day_as_we_knew_it_on_another_is_one_request(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.deliver(redeemed("b", 20 * DAY, 1, 30))
        fifth_of_april = now()
        await acme.deliver(redeemed("late", 5 * DAY, 1, 45))  # happened before the day of the query

        then = await acme.ask_now(ANN, at=noon(10), known_at=fifth_of_april)
        today = await acme.ask_now(ANN, at=noon(10))

        assert (then["available"], then["as_of_position"]) == ("100", 2)
        assert (today["available"], today["as_of_position"]) == ("55", 3)
        assert (await acme.ask_now(ANN, known_at=fifth_of_april))["available"] == "70"
        assert (await acme.ask_now(ANN))["available"] == "25"


async def test_the_statement_and_the_lots_follow_both_times(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100, lapses="2023-11-20"))
        await acme.deliver(redeemed("b", 2 * DAY, 1, 30))
        await acme.deliver(issued("c", 20 * DAY, 1, 5))

        statement = await acme.ask_now(f"{ANN}/statement", at=noon(3))
        later = await acme.ask_now(f"{ANN}/statement", at=noon(10))
        known = await acme.ask_now(f"{ANN}/statement", at=noon(30), as_of_position="2")
        lots = await acme.ask_now(f"{ANN}/lots", at=noon(1))

        assert [(line["kind"], line["balance"]) for line in statement["items"]] == [
            ("Issued", "100"),
            ("Redeemed", "70"),
        ]
        assert [line["balance"] for line in later["items"]] == ["100", "70", "0"]
        assert [(line["kind"], line["balance"]) for line in known["items"]][-1] == ("Lapsed", "0")
        assert [(lot["points"], lot["remaining"], lot["status"]) for lot in lots["items"]] == [("100", "100", "open")]


async def test_a_list_of_lots_as_known_then_has_pages_too(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for number in range(3):
            await acme.deliver(issued(f"a{number}", number, 1, 10 + number))

        first = await acme.ask_now(f"{ANN}/lots", as_of_position="3", limit="2")
        second = await acme.ask_now(f"{ANN}/lots", as_of_position="3", limit="2", cursor=first["next"])

        assert {lot["points"] for page in (first, second) for lot in page["items"]} == {"10", "11", "12"}
        assert (len(first["items"]), len(second["items"]), second["next"]) == (2, 1, None)


async def test_what_had_lost_a_conflict_by_now_still_counted_then(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 9, 1, 99))
        await acme.deliver(issued("a", 5, 1, 10))  # its twin happened earlier, and wins

        assert (await acme.ask_now(ANN))["available"] == "10"
        assert (await acme.ask_now(ANN, as_of_position="1"))["available"] == "99"
        assert (await acme.ask_now(ANN, as_of_position="2"))["available"] == "10"


async def test_an_account_that_a_conflict_took_away_is_still_known_then(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 9, 1, 99))
        await acme.deliver(issued("a", 5, 1, 10, loyaltyProgramId=78))  # the same event, reported of another programme
        other = ANN.replace(":77:", ":78:")

        await acme.ask_now(other)
        assert (await acme.ask(ANN))[0] == 404
        assert (await acme.ask_now(ANN, as_of_position="1"))["available"] == "99"
        assert (await acme.ask(other, as_of_position="1"))[0] == 404
        customer = await acme.ask_now("/v1/customers/capillary:9001:1", as_of_position="1")
        assert [account["available"] for account in customer["accounts"]] == ["99"]


async def test_a_merge_reported_later_was_not_known_before(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.deliver(issued("b", 0, 2, 11))
        await acme.deliver(merged("m", DAY, 1, 2))  # 1 is merged into 2

        assert (await acme.ask_now(BOB))["available"] == "111"
        assert (await acme.ask_now(BOB, as_of_position="2"))["available"] == "11"
        known = await acme.ask_now(ANN, as_of_position="2")
        assert (known["available"], known["holder"], known["merged"]) == ("100", "capillary:9001:1", "0")
        assert (await acme.ask_now(BOB, at=noon(0.5)))["available"] == "11"


async def test_terms_set_later_were_not_known_then(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        connection = await connect(dsn)
        terms = {"effective_from": "2023-01-01", "time_zone": "UTC", "expiry": {"rule": "fixed", "days": 10}}
        await set_terms(connection, VAULT, acme.ledger, "capillary:9001:77", terms, by="test")
        await connection.close()

        assert (await acme.ask_now(ANN, at=noon(30)))["available"] == "0"
        assert (await acme.ask_now(ANN, at=noon(30), as_of_position="1"))["available"] == "100"
        programme = await acme.ask_now("/v1/programmes/77", at=noon(30), as_of_position="1")
        assert (programme["terms"], programme["versions"]) == (None, [])


async def test_coupons_tiers_and_customers_follow_both_times(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for name in ("CouponRedeem", "CouponIssue", "pointsIssued", "tierUpgraded", "tierDowngraded"):
            await acme.deliver(sample("capillary", name))
        coupon = "/v1/coupons/capillary:998:792947747"

        known = await acme.ask_now(coupon, as_of_position="1")

        assert known["status"] == "redeemed"
        assert (known["as_of_position"], len(known["history"])) == (1, 1)
        assert (await acme.ask(coupon, as_of_position="0"))[0] == 404
        customer = "/v1/customers/capillary:150956:87884897"
        assert (await acme.ask(customer, at="2020-01-01T00:00:00Z"))[0] == 404
        then = await acme.ask_now(customer, at="2023-06-01T00:00:00Z")
        assert [account["available"] for account in then["accounts"]] == ["165"]
        assert (await acme.ask(customer, as_of_position="2"))[0] == 404


async def answers(acme: TenantClient, paths: list[str], **times: str) -> list[Any]:
    found = []
    for path in paths:
        status, answer = await acme.ask(path, **times)
        assert status in (200, 404), answer
        answer.pop("events_behind", None)
        found.append(answer)
    return found


PATHS = [
    *(f"{account}{what}" for account in (ANN, BOB) for what in ("", "/lots", "/statement")),
    "/v1/customers/capillary:9001:1",
    "/v1/customers/2",
    "/v1/transfers/capillary:9001:t1",
]
HISTORY = [
    issued("a", 0, 1, 100, lapses="2023-11-30", programCurrentPoints=150, programLifetimePoints=150),
    redeemed("b", DAY, 1, 30),
    issued("c", 9 * DAY, 2, 60),
    sent("d", 2 * DAY, 1, 10, 2, "t1"),
    issued("e", 3 * DAY, 1, 7, bill="B7"),
]
LATER = [
    redeemed("late", DAY // 2, 1, 45),
    returned("back", 4 * DAY, 1, 7, "B7"),
    issued("e", 2 * DAY, 2, 8, bill="B7"),  # wins over the other content of event e
    issued("c", 1 * DAY, 2, 61),
    received("r", 2 * DAY + 5, 2, 10, 1, "t1"),
    merged("m", 3 * DAY, 1, 2),
    issued("f", 0, 2, 1000, programCurrentPoints=5000, programLifetimePoints=5000),
    issued("other", 0, 1, 1).replace(b'"orgId": 9001', b'"orgId": 7'),
]


async def test_an_answer_for_both_times_never_changes_again(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in HISTORY:
            await acme.deliver(body)
        await acme.ask_now(ANN)
        by_time = {"at": noon(12), "known_at": now()}
        by_position = {"at": noon(5), "as_of_position": "4"}
        before = await answers(acme, PATHS, **by_time), await answers(acme, PATHS, **by_position)

        for body in LATER:
            await acme.deliver(body)
            await acme.ask_now(BOB)
            assert (await answers(acme, PATHS, **by_time), await answers(acme, PATHS, **by_position)) == before
        await rebuild(dsn)

        assert (await answers(acme, PATHS, **by_time), await answers(acme, PATHS, **by_position)) == before
        assert [body.get("available") for body in before[0][::3][:2]] == ["117", "60"]


@pytest.mark.parametrize(
    "query",
    [
        {"as_of_position": "3"},
        {"as_of_position": "1", "known_at": "2024-01-01T00:00:00Z"},
        {"known_at": "2999-01-01T00:00:00Z"},
        {"known_at": "2024-01-01"},
    ],
)
async def test_what_cannot_be_known_yet_is_refused(dsn: str, query: dict[str, str]) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.deliver(issued("b", 0, 1, 100))
        await acme.ask_now(ANN)

        status, problem = await acme.ask(ANN, **query)

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")


async def test_before_the_first_event_nothing_was_known(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.ask_now(ANN)

        assert (await acme.ask(ANN, known_at="2020-01-01T00:00:00Z"))[0] == 404


async def test_a_time_is_the_last_position_recorded_by_then(connection: Connection, dsn: str, ledger: Ledger) -> None:
    recorded = []
    for number in range(7):
        events = [delivery(issued(f"{number}{n}", n, 1, 1), ledger="acme") for n in range(number % 3 + 1)]
        await append(connection, VAULT, ledger.ledger_id, events)
    rows = await connection.fetch("SELECT position, recorded_at FROM ledger.events ORDER BY position")
    recorded = [row["recorded_at"] for row in rows]

    for time in recorded:
        last = max(row["position"] for row in rows if row["recorded_at"] <= time)
        assert await position_at(connection, ledger.ledger_id, time) == last
    assert await position_at(connection, ledger.ledger_id, recorded[0] - timedelta(microseconds=1)) == 0
    assert await position_at(connection, ledger.ledger_id, datetime(2999, 1, 1, tzinfo=UTC)) is None


async def test_an_append_under_way_is_awaited_before_a_time_becomes_a_position(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    appending = await connect(dsn)
    transaction = appending.transaction()
    await transaction.start()
    await append(appending, VAULT, ledger.ledger_id, [delivery(issued("a", 0, 1, 1), ledger="acme")])
    asked = datetime.now(UTC)
    question = asyncio.create_task(position_at(connection, ledger.ledger_id, asked))
    done, _ = await asyncio.wait([question], timeout=0.2)
    assert not done
    await transaction.commit()

    assert await question == 1
    await appending.close()
