"""The lists of open matters: what stands in each, its amount, place, age and cause; counts, pages, CSV; the plans."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from ledger.database import Connection, connect
from ledger.store.registry import Ledger
from service.operations.programme_terms import set_terms
from service.reconciliation.catalogue import LISTS
from service.reconciliation.formats import format_cell
from service.reconciliation.lists import ListQuery
from service.reconciliation.silence import SILENCE, silence_item
from tests.support.client import TenantClient, serving
from tests.support.payloads import (
    ORG,
    PROGRAMME,
    START,
    VAULT,
    activity,
    capillary,
    expired,
    issued,
    merged,
    received,
    redeemed,
    sample,
    sent,
)

ANN = "capillary:9001:1:77:points"
LATER = "2030-01-01T00:00:00Z"  # long after the histories told here


def time(seconds: int) -> str:
    """Write a time after START as answers do."""
    return (datetime.fromtimestamp(START / 1000, UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


async def listed(acme: TenantClient, name: str, **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await acme.ask_now(f"/v1/reconciliation/{name}", at=LATER, **query))["items"]
    return items


def chosen(item: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(item[name] for name in names)


# ---- drift: one event withheld --------------------------------------------------------------------------------------

HISTORY = (
    issued("a", 0, 1, 1000, programCurrentPoints=1000),
    redeemed("b", 60, 1, 40, programCurrentPoints=960),
    issued("c", 120, 1, 20, programCurrentPoints=980),
    redeemed("d", 180, 1, 500, programCurrentPoints=480),
    issued("e", 240, 1, 10, programCurrentPoints=490),
)


@pytest.mark.parametrize(
    ("withheld", "amount", "neighbours", "cause"),
    [
        (1, "-40", (0, 2), "A debit of 40 never arrived, between 2023-11-14 22:13:20 UTC (position 1) and "),
        (2, "20", (1, 3), "A credit of 20 never arrived, between 2023-11-14 22:14:20 UTC (position 3) and "),
        (3, "-500", (2, 4), "A debit of 500 never arrived, between 2023-11-14 22:15:20 UTC (position 5) and "),
    ],
)
async def test_with_one_event_withheld_the_drift_list_names_the_account_the_size_and_the_place(
    dsn: str, withheld: int, amount: str, neighbours: tuple[int, int], cause: str
) -> None:
    async with serving(dsn, "acme") as [acme]:
        position: dict[int, int] = {}
        for number, body in enumerate(HISTORY):
            if number != withheld:
                position[number] = (await acme.deliver(body))[1]["events"][0]["position"]
            await acme.deliver(issued(f"other-{number}", number, 2, 5, programCurrentPoints=5 * (number + 1)))

        [item] = await listed(acme, "drift")

        assert chosen(item, "id", "points", "unit", "drift") == (ANN, amount, "points", amount)
        assert (item["agreed_position"], item["position"]) == tuple(position[one] for one in neighbours)
        assert item["cause"].startswith(cause)
        assert item["age_seconds"] > 5 * 365 * 86_400

        await acme.deliver(HISTORY[withheld])
        assert await listed(acme, "drift") == []


async def test_a_withheld_credit_that_was_spent_at_once_is_found_by_its_size(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 10, programCurrentPoints=10))
        await acme.deliver(redeemed("b", 60, 1, 400, programCurrentPoints=110))

        [item] = await listed(acme, "drift")

        assert chosen(item, "points", "drift", "unseen", "position") == ("500", "110", "390", 2)
        assert item["cause"].startswith("A credit of 500 never arrived, between ")


async def test_each_claim_of_an_account_stands_beside_our_balance(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (HISTORY[0], HISTORY[1], HISTORY[3], HISTORY[4]):
            await acme.deliver(body)

        steps = (await acme.ask_now(f"/v1/accounts/{ANN}/claims"))["items"]
        first = await acme.ask_now(f"/v1/accounts/{ANN}/claims", limit="2")
        rest = await acme.ask_now(f"/v1/accounts/{ANN}/claims", limit="2", cursor=first["next"])

        assert [chosen(step, "position", "claimed", "balance", "drift", "missing") for step in steps] == [
            (1, "1000", "1000", "0", "0"),
            (2, "960", "960", "0", "0"),
            (3, "480", "460", "20", "20"),
            (4, "490", "470", "20", "0"),
        ]
        assert [*first["items"], *rest["items"]] == steps


# ---- expiries, promises, sums ---------------------------------------------------------------------------------------


async def test_expiries_due_and_not_reported_and_reported_and_not_due(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 60, lapses="2023-11-20"))
        await acme.deliver(issued("b", 0, 2, 50, lapses="2023-12-31"))
        await acme.deliver(expired("c", 86_400, 2, 30))
        early = await acme.ask_now("/v1/reconciliation/expiries", at="2023-11-27T23:00:00Z")

        due = await listed(acme, "expiries")
        [hasty] = await listed(acme, "early-expiries")

        assert early["items"] == []  # within the days of grace
        assert [chosen(item, "account", "points", "expires_on", "since", "position") for item in due] == [
            (ANN, "60", "2023-11-20", "2023-11-21T00:00:00Z", 1),
            ("capillary:9001:2:77:points", "20", "2023-12-31", "2024-01-01T00:00:00Z", 2),
        ]
        assert chosen(hasty, "id", "points", "since", "position") == (
            "capillary:9001:2:77:points",
            "30",
            time(86_400),
            3,
        )
        await acme.deliver(expired("d", 10 * 86_400, 1, 60))
        assert [item["points"] for item in await listed(acme, "expiries")] == ["20"]


async def test_promised_points_past_their_date(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        promised = [{"promisedPoints": 7, "promisedPointsConversionDate": "2024-02-01"}]
        await acme.deliver(issued("a", 0, 1, 60, bill="B1", promisedPointsIssued=promised))

        [item] = await listed(acme, "promises")
        before = await acme.ask_now("/v1/reconciliation/promises", at="2024-02-02T00:00:00Z")

        assert chosen(item, "account", "points", "converts_on", "position") == (ANN, "7", "2024-02-01", 1)
        assert before["items"] == []


async def test_a_total_over_several_programmes_that_its_parts_do_not_add_up_to(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        shares = [{"programId": 77, "pointsRedeemed": 30}, {"programId": 78, "pointsRedeemed": 50}]
        await acme.deliver(
            capillary("pointsRedeemed", "a", 0, 1, totalPointsRedeemed=100, redemptionFromEarningPrograms=shares)
        )

        [item] = await listed(acme, "sums")

        assert chosen(item, "account", "points", "kind", "position") == (ANN, "20", "Redeemed", 1)
        assert item["cause"].startswith("The vendor's total is 20 above the sum of its parts.")


def a_return(identifier: str, at: int, points: int, in_all: int) -> bytes:
    return capillary(
        "issuedPointsReversed",
        identifier,
        at,
        1,
        totalIssuedPointsReversed=in_all,
        currentEventTotalPointsReturned=points,
        triggeringActivity=activity(billId="B1"),
    )


async def test_a_return_that_never_arrived_shows_in_the_total_of_the_next_until_it_does(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 100, bill="B1"), a_return("b", 60, 10, 10), a_return("d", 180, 5, 40)):
            await acme.deliver(body)
        [item] = await listed(acme, "sums")
        await acme.deliver(a_return("c", 120, 25, 35))

        assert chosen(item, "account", "points", "kind", "position") == (ANN, "25", "IssueReversed", 3)
        assert "25 more than the sum of the reported returns" in item["cause"]
        assert await listed(acme, "sums") == []


async def test_points_given_back_for_nothing_that_was_told_are_listed_until_the_redemption_is(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        reversal = capillary(
            "redeemedPointsReversed",
            "c",
            120,
            1,
            loyaltyProgramId=None,
            redeemedPointsReversed=30,
            triggeringActivity=activity(redemptionId="R1"),
        )
        for body in (issued("a", 0, 1, 100), reversal):
            await acme.deliver(body)
        [item] = await listed(acme, "sums")
        before = await acme.ask_now(f"/v1/accounts/{ANN}")
        step = (await acme.ask_now(f"/v1/accounts/{ANN}/explanation"))["steps"][-1]
        await acme.deliver(redeemed("b", 60, 1, 40, "R1"))

        assert chosen(item, "account", "points", "kind", "position") == (ANN, "30", "RedemptionReversed", 2)
        assert "the event names no programme" in item["cause"]
        assert before["available"] == "100"
        assert (step["points"], step["rule"]["name"]) == ("0", "account.redemption_reversed")
        assert await listed(acme, "sums") == []
        assert (await acme.ask_now(f"/v1/accounts/{ANN}"))["available"] == "90"


# ---- what is owed ---------------------------------------------------------------------------------------------------


async def test_transfers_half_done_are_listed_after_their_grace(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.deliver(sent("b", 60, 1, 40, 2, "T1"))
        await acme.deliver(received("c", 60, 3, 15, 4, "T2"))
        await acme.deliver(sent("d", 60, 1, 9, 2, "T3"))
        await acme.deliver(received("e", 90, 2, 8, 1, "T3"))
        within = await acme.ask_now("/v1/reconciliation/transfers", at=time(60 + 47 * 3600))
        at_once = await acme.ask_now("/v1/reconciliation/transfers", at=time(60 + 47 * 3600), grace_hours="0")

        items = await listed(acme, "transfers")

        assert (within["items"], len(at_once["items"])) == ([], 3)
        assert [chosen(item, "id", "status", "points") for item in items] == [
            ("capillary:9001:T1", "initiated", "40"),
            ("capillary:9001:T2", "received-only", "15"),
            ("capillary:9001:T3", "completed", "1"),
        ]
        assert items[2]["cause"] == "9 were sent and 8 were received."


async def test_refunds_due(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("ascenda", "order_item.fulfillment.failed"), "ascenda")

        [item] = await listed(acme, "refunds")

        assert chosen(item, "points", "status", "position") == ("999900", "failed", 1)


async def test_a_reward_that_was_rolled_back_waits_for_the_reversal_of_its_redemption(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("voucherify", "customer.reward_redemptions.rolledback"), "voucherify")

        [item] = await listed(acme, "rewards")

        assert chosen(item, "status", "points_redemption") == ("rolled_back", "voucherify:-:r_20a1c3d0e0f0a001")


async def test_requests_approved_without_their_effect(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for number in ("-3", "-9", "-13"):  # 100 to be redeemed, 20 of goodwill, a badge to enrol in
            await acme.deliver(sample("capillary", f"requestWorkflowEvent{number}"))
        open_before = await listed(acme, "requests")
        decided = datetime(2024, 2, 3, 10, 46, 56, tzinfo=UTC)
        at = int(decided.timestamp()) - START // 1000 + 60

        await acme.deliver(issued("goodwill", at, 382332518, 20))

        assert [chosen(item, "request_type", "points") for item in open_before] == [
            ("POINTS_REDEMPTION", "100"),
            ("GOODWILL_POINTS", "20"),
        ]
        assert [item["request_type"] for item in await listed(acme, "requests")] == ["POINTS_REDEMPTION"]


# ---- events nobody reads, and silence -------------------------------------------------------------------------------


async def test_conflicts_are_open_until_somebody_sets_a_policy(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 5, 1, 10), issued("a", 9, 1, 99)):
            await acme.deliver(body)

        [item] = await listed(acme, "conflicts")
        summary = await acme.ask_now("/v1/reconciliation", at=LATER)

        assert chosen(item, "position", "positions", "settled") == (2, [1, 2], False)
        assert next(one["open_count"] for one in summary["items"] if one["name"] == "conflicts") == 1


def arrivals(*times: datetime, active_days: int = 0) -> dict[str, Any]:
    pauses = [after - before for before, after in pairwise(times)]
    return {
        "connection_id": "c",
        "kind": "pointsIssued",
        "source": "capillary",
        "disabled_at": None,
        "arrivals": len(times),
        "first_at": times[0],
        "last_at": times[-1],
        "began_at": times[0],
        "by_day": [0] * 35,
        "longest_pause": max(pauses, default=None),
        "active_days": active_days,
        "last_position": len(times),
    }


def every(step: timedelta, count: int) -> Sequence[datetime]:
    return [datetime(2026, 1, 1, tzinfo=UTC) + step * number for number in range(count)]


def test_what_came_every_six_hours_is_silent_after_three_pauses() -> None:
    row = arrivals(*every(timedelta(hours=6), 40))

    assert silence_item(row, row["last_at"] + timedelta(hours=18)) is None
    item = silence_item(row, row["last_at"] + timedelta(hours=19))
    assert item is not None
    assert item.details["expected_since"] == 3


def test_what_comes_by_the_second_may_rest_for_a_night_and_no_longer() -> None:
    row = arrivals(*every(timedelta(seconds=1), 1000), active_days=14)

    assert silence_item(row, row["last_at"] + timedelta(hours=23)) is None
    assert silence_item(row, row["last_at"] + timedelta(hours=25)) is not None


def test_an_import_of_a_minute_is_never_missed() -> None:
    row = arrivals(*every(timedelta(milliseconds=1), 1000), active_days=1)

    assert silence_item(row, row["last_at"] + timedelta(days=400)) is None


DROPS = {
    "the last day brought a tenth": ([3] + [30] * 34, (3, 30)),
    "it dropped a week ago": ([3] * 7 + [30] * 28, (3, 30)),
    "it dropped two weeks ago": ([3] * 14 + [30] * 21, (21, 210)),
    "a few a day, hardly one a week": ([0, 0, 1, 0, 0, 0, 0] + [4] * 28, (1, 28)),
    "more than a quarter": ([8] + [30] * 34, None),
    "never on Sundays": ([0, 40, 40, 40, 40, 40, 40] * 5, None),
    "too few to tell": ([0] * 7 + [2] * 28, None),
    "an import a month ago": ([3] * 28 + [900] * 7, None),
    "what it has come to be by now": ([3] * 28 + [30] * 7, None),
}


@pytest.mark.parametrize(("by_day", "expected"), DROPS.values(), ids=DROPS)
def test_what_comes_at_a_quarter_or_less_is_slow(by_day: list[int], expected: tuple[int, int] | None) -> None:
    row = {**arrivals(*every(timedelta(hours=4), 300), active_days=14), "by_day": by_day}

    item = silence_item(row, row["last_at"] + timedelta(hours=1))

    shown = None if item is None else (item.details["observed_since"], item.details["expected_since"])
    assert shown == expected


def test_days_before_a_connection_began_do_not_count_as_quiet() -> None:
    row = {**arrivals(*every(timedelta(hours=1), 24 * 15), active_days=14), "by_day": [2] + [24] * 14 + [0] * 20}

    item = silence_item(row, row["last_at"] + timedelta(minutes=61))

    assert item is not None
    assert (item.details["observed_since"], item.details["expected_per_day"]) == (2, 24)


RECORD = """
    INSERT INTO ledger.events (ledger_id, position, connection_id, source, org, kind, event_key, content, variant,
                               recorded_at, delivery_position, ordinal, payload, entry, leaf_hash)
    SELECT $1, (SELECT coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1) + n,
           $2, 'capillary', '-', $3,
           sha256(convert_to($2 || $3 || n || $4::timestamptz::text, 'UTF8')), '', '',
           $4::timestamptz + n * $5::interval, n, 0, '{}', '{}', ''
      FROM generate_series(1, $6) n
"""


async def test_connections_fall_silent_each_kind_by_its_own_rhythm(connection: Connection, ledger: Ledger) -> None:
    day, hour = timedelta(days=1), timedelta(hours=1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for inbound, kind, step, count in (
        ("one", "hourly", hour, 100),
        ("one", "daily", day, 30),
        ("two", "hourly", hour, 707),
        ("-", "customerErased", hour, 100),
        ("three", "dwindling", hour, 27 * 24),
    ):
        await connection.execute(RECORD, ledger.ledger_id, inbound, kind, start, step, count)
    later = start + timedelta(days=27) + timedelta(seconds=1)
    await connection.execute(RECORD, ledger.ledger_id, "three", "dwindling", later, 10 * hour, 6)
    at = start + timedelta(days=29.5)

    items, following = await SILENCE.read(connection, ListQuery(ledger.ledger_id, at, at, 100, ("", "")))

    assert [chosen(item.details, "connection", "kind", "observed_since", "expected_per_day") for item in items] == [
        ("one", "hourly", 0, 24.242),
        ("three", "dwindling", 2, 24),
    ]
    before, _ = await SILENCE.read(connection, ListQuery(ledger.ledger_id, at, later, 100, ("", "")))
    assert [item.details["connection"] for item in before] == ["one"]
    assert following is None


# ---- one redemption of two holders, events of a merged customer ------------------------------------------------------


async def test_a_redemption_reported_for_two_holders_is_listed_until_they_are_merged(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in (1, 2):
            await acme.deliver(issued(f"i{customer}", customer, customer, 100))
            await acme.deliver(redeemed(f"r{customer}", 10 + customer, customer, 40, "R"))
        await acme.deliver(redeemed("r3", 20, 1, 10, "another"))

        [item] = await listed(acme, "shared-redemptions")
        await acme.deliver(merged("m", 60, 2, 1))
        after = await listed(acme, "shared-redemptions")

        assert chosen(item, "id", "points", "unit", "position") == ("capillary:9001:R", "40", "points", 4)
        assert item["holders"] == "capillary:9001:1, capillary:9001:2"
        assert after == []


async def test_events_that_name_a_customer_after_the_merge_are_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("before", 10, 2, 100))
        await acme.deliver(merged("m", 60, 2, 1))
        assert await listed(acme, "merged-customers") == []
        await acme.deliver(issued("late", 30, 2, 5))  # dated before the merge
        await acme.deliver(issued("after", 90, 2, 30))
        await acme.deliver(redeemed("spent", 95, 1, 10))

        [item] = await listed(acme, "merged-customers")

        assert chosen(item, "id", "points", "unit", "merged_into", "kind") == (
            "capillary:9001:2 4",
            "30",
            "points",
            "capillary:9001:1",
            "pointsIssued",
        )
        assert (await acme.ask_now(f"/v1/accounts/{ANN}"))["available"] == "125"


# ---- pages, summary, CSV --------------------------------------------------------------------------------------------


async def test_the_summary_counts_every_list_and_what_is_at_stake(dsn: str) -> None:
    async with serving(dsn, "acme", "other") as [acme, other]:
        for customer in (1, 2, 3):
            await acme.deliver(issued(f"a{customer}", 0, customer, 10, programCurrentPoints=10))
            await acme.deliver(issued(f"b{customer}", 9, customer, 10, programCurrentPoints=15))
        await acme.deliver(b"not json")

        summary = await acme.ask_now("/v1/reconciliation", at=LATER)
        lists = {one["name"]: one for one in summary["items"]}

        assert set(lists) == set(LISTS)
        assert (lists["drift"]["open_count"], lists["drift"]["points"], lists["drift"]["truncated"]) == (
            3,
            {"points": "15"},
            False,
        )
        assert lists["drift"]["href"] == "/v1/reconciliation/drift"
        assert (lists["quarantine"]["open_count"], summary["open_count"]) == (1, 4)
        assert (await other.ask_now("/v1/reconciliation"))["open_count"] == 0


async def test_a_list_comes_page_by_page_and_as_one_file(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in range(1, 6):
            await acme.deliver(issued(f"a{customer}", 0, customer, 10, programCurrentPoints=10))
            await acme.deliver(issued(f"b{customer}", 9, customer, 10, programCurrentPoints=15))
            await acme.deliver(issued(f"c{customer}", 9, customer, 10, lapses="2023-11-20"))
        for name in ("drift", "expiries"):
            whole = await listed(acme, name)
            pages, cursor = [], None
            while cursor != "":
                page = await acme.ask_now(
                    f"/v1/reconciliation/{name}", at=LATER, limit="2", **({"cursor": cursor} if cursor else {})
                )
                pages += page["items"]
                cursor = page["next"] or ""
            assert (len(whole), pages) == (5, whole)

        bearer = {"Authorization": f"Bearer {acme.key}", "Accept": "text/csv"}
        response = await acme.client.get("/v1/reconciliation/drift", params={"at": LATER}, headers=bearer)
        text = await response.text()
        some = await acme.client.get("/v1/reconciliation/drift", params={"format": "csv", "limit": "2"}, headers=bearer)

        rows = list(csv.DictReader(io.StringIO(text)))
        assert response.headers["Content-Type"].startswith("text/csv")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert [row["id"] for row in rows] == [item["id"] for item in await listed(acme, "drift")]
        assert chosen(rows[0], "points", "unit", "position", "claimed") == ("-5", "points", "2", "15")
        assert len((await some.text()).splitlines()) == 3


def test_a_cell_is_never_a_formula() -> None:
    assert [format_cell(value) for value in ("=1+1", "@cmd", "-x", "ann", ["a", "b"], True, None)] == [
        "'=1+1",
        "'@cmd",
        "'-x",
        "ann",
        "a b",
        "true",
        "",
    ]


async def test_a_list_refuses_what_it_cannot_read(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        cursor = (await acme.ask("/v1/reconciliation/drift", cursor="WzFd"))[0]  # [1]: a key of another list

        assert cursor == 400
        assert (await acme.ask("/v1/reconciliation/expiries", cursor="WyJ4Il0"))[0] == 400
        assert (await acme.ask("/v1/reconciliation/drift", format="xml"))[0] == 400
        assert (await acme.ask("/v1/reconciliation/drift", at="yesterday"))[0] == 400
        assert (await acme.ask("/v1/reconciliation/drift", grace_hours="-1"))[0] == 400
        assert (await acme.ask("/v1/reconciliation/drift", key="nobody"))[0] == 401


# ---- cost -----------------------------------------------------------------------------------------------------------

MANY_ACCOUNTS = """
    INSERT INTO accounts ({columns}) SELECT {columns} FROM (
        SELECT (jsonb_populate_record(a, jsonb_build_object(
               'subject', 'capillary:9001:n' || n, 'account_id', 'capillary:9001:n' || n || ':77:points',
               'customer', 'capillary:9001:n' || n))).* FROM accounts a, generate_series(1, $1) n
         WHERE a.account_id = 'capillary:9001:2:77:points') made
"""
WRITTEN_COLUMNS = """
    SELECT string_agg(attname, ', ') FROM pg_attribute
     WHERE attrelid = 'accounts'::regclass AND attnum > 0 AND attgenerated = '' AND NOT attisdropped
"""


async def plan_of(connection: Connection, statement: str, ledger_id: int, *arguments: Any) -> str:
    rows = await connection.fetch(f"EXPLAIN {statement}", ledger_id, *arguments)
    return "\n".join(row[0] for row in rows)


async def test_the_drift_list_over_many_accounts_uses_its_index(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 10, programCurrentPoints=10))
        await acme.deliver(issued("b", 9, 1, 10, programCurrentPoints=15))
        await acme.deliver(issued("c", 0, 2, 10, programCurrentPoints=10))
        await acme.ask_now("/v1/projections")
        connection = await connect(dsn)
        columns = await connection.fetchval(WRITTEN_COLUMNS)
        await connection.execute(MANY_ACCOUNTS.format(columns=columns), 100_000)
        await connection.execute("ANALYZE accounts")
        now = datetime.now(UTC)

        for statement, arguments in zip(LISTS["drift"].statements, [(now, 100, ""), (now, 100_000)], strict=True):
            plan = await plan_of(connection, statement, acme.ledger.ledger_id, *arguments)
            assert "accounts_drift" in plan
            assert "Seq Scan" not in plan
        await connection.close()
        [item] = await listed(acme, "drift")
        assert item["id"] == ANN


@pytest.mark.parametrize("name", LISTS)
async def test_every_list_can_be_read_by_an_index(connection: Connection, ledger: Ledger, name: str) -> None:
    await connection.execute("SET enable_seqscan = off")  # where no index would do, one is planned all the same
    one = LISTS[name]
    now = datetime.now(UTC)
    for number, statement in enumerate(one.statements):
        arguments: tuple[Any, ...] = (now, 100, *(one.start if number == 0 else ()))
        if name == "silence":
            arguments = (*one.start, 100, now)
        plan = await plan_of(connection, statement, ledger.ledger_id, *arguments)
        assert "Seq Scan" not in plan.replace("Seq Scan on orgs", ""), plan


async def test_a_programmes_terms_say_how_long_half_a_transfer_may_be_missing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sent("a", 0, 1, 40, 2, "T1"))
        connection = await connect(dsn)
        said = {
            "effective_from": "2023-01-01",
            "time_zone": "UTC",
            "expiry": {"rule": "never"},
            "transfer_grace_days": 5,
        }
        await set_terms(connection, VAULT, acme.ledger, f"capillary:{ORG}:{PROGRAMME}", said, by="operator")
        await connection.close()

        third = await acme.ask_now("/v1/reconciliation/transfers", at=time(3 * 86_400))
        sixth = await acme.ask_now("/v1/reconciliation/transfers", at=time(6 * 86_400))

        assert ([item["id"] for item in third["items"]], len(sixth["items"])) == ([], 1)
