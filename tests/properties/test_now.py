"""An answer without ?at= equals the answer as of now, whatever the vendor's clock shows."""

import json
import time
from datetime import UTC, datetime
from typing import Any

from projections.registry import PROJECTIONS
from service.settings import Settings
from tests.support.client import TenantClient, serving
from tests.support.payloads import (
    START,
    expired,
    issued,
    merged,
    received,
    redeemed,
    redemption_reversed,
    returned,
    samples,
)
from tests.support.payloads import sent as sent_points

QUIET = Settings(erase_on_request=False)  # a published payload asks for an erasure, which changes answers
SOURCES = ("capillary", "voucherify", "ascenda", "fabric")
ANN = "/v1/accounts/capillary:9001:1:77:points"
OF_THE_MOMENT = ("at", "as_of_position", "events_behind")
LATE = 2_000_000_000  # seconds after START: decades ahead


def seconds_ahead(seconds: float) -> int:
    """Return a time ahead of now, in seconds after START."""
    return int(time.time() + seconds - START / 1000)


def tier(identifier: str, at: int, name: int) -> bytes:
    body = {
        "eventName": "tierUpgraded",
        "eventId": identifier,
        "orgId": 9001,
        "createdAt": START + at * 1000,
        "data": {"customerIdentifiers": {"customerId": 1}, "loyaltyProgramId": 77, "upgradedTierNumber": name},
    }
    return json.dumps(body).encode()


def history() -> list[bytes]:
    return [
        issued("e1", 0, 1, 100, bill="b", lapses="2024-01-31"),
        issued("e2", 1, 1, 70, lapses="2099-12-31"),
        redeemed("e3", 2, 1, 30, "r"),
        redemption_reversed("e4", 3, 1, 10, "r"),
        returned("e5", 4, 1, 20, "b"),
        sent_points("e6", 5, 1, 5, 2, "t"),
        received("e7", 6, 2, 5, 1, "t"),
        expired("e8", 8_000_000, 1, 3),
        merged("e9", 7, 3, 2),
        issued("e10", seconds_ahead(20), 1, 9),
        issued("e11", LATE, 1, 11),
        redeemed("e12", LATE + 1, 1, 4, "r2"),
        tier("e13", 9, 2),
        tier("e14", 200_000_000, 3),
    ]


async def test_every_answer_without_a_time_is_the_one_as_of_now(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        for body in history():
            await acme.deliver(body)
        for source in SOURCES:
            for body in samples(source):
                await acme.deliver(body, source)
        await acme.ask_now("/v1/projections")

        differing = [path for path in await paths_of(acme) if not await same_answer(acme, path)]

        assert differing == []


async def test_a_vendors_clock_that_is_ahead_hides_nothing(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await acme.deliver(issued("e1", seconds_ahead(20), 1, 100))

        assert (await acme.ask_now(ANN))["available"] == "100"
        assert (await acme.ask_now("/v1/reconciliation/misdated"))["items"] == []


async def test_an_event_of_the_future_stands_where_it_was_recorded_and_is_listed(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await acme.deliver(issued("e1", 0, 1, 100))
        await acme.deliver(redeemed("e2", LATE, 1, 40, "r"))

        account = await acme.ask_now(ANN)
        [item] = (await acme.ask_now("/v1/reconciliation/misdated"))["items"]
        explained = await acme.ask_now(f"{ANN}/explanation")
        balance = await acme.ask_now("/v1/trial-balance")

        assert account["available"] == "60"
        assert (item["position"], item["kind"]) == (2, "pointsRedeemed")
        assert explained["steps"][-1]["untimed"] is True
        assert balance["balanced"]
        assert balance["items"][0]["classes"]["redeemed"] == "40"


async def test_a_tier_of_the_future_is_announced_and_entered_then(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await acme.deliver(tier("e1", 0, 2))
        await acme.deliver(tier("e2", 200_000_000, 3))
        path, now = "/v1/tiers/capillary:9001:1:77", datetime.now(UTC).isoformat()

        tiers = [await acme.ask_now(path, **at) for at in ({}, {"at": now}, {"at": "2031-01-01T00:00:00Z"})]

        assert [one["tier"] for one in tiers] == ["2", "2", "3"]
        assert (tiers[0]["announced_tier"], tiers[0]["announced_at"][:4]) == ("3", "2030")


async def paths_of(acme: TenantClient) -> list[str]:
    """Return the paths of all known subjects and of all reports."""
    paths = {"/v1/trial-balance", "/v1/liability"}
    async with acme.database() as connection:
        schema = await connection.fetchval("SELECT schema_name FROM projections.generations WHERE state = 'active'")
        await connection.execute(f"SET search_path TO {schema}")
        for row in await connection.fetch("SELECT account_id FROM accounts"):
            account = f"/v1/accounts/{row['account_id']}"
            paths |= {account, *(f"{account}/{part}" for part in ("lots", "statement", "lapses"))}
        for projection in PROJECTIONS:
            rows = await connection.fetch(f"SELECT DISTINCT subject FROM {projection.tables[0].name}")  # noqa: S608
            if projection.path:
                paths |= {f"/v1/{projection.path}/{row['subject']}" for row in rows}
        for row in await connection.fetch("SELECT subject FROM customers"):
            paths.add(f"/v1/customers/{row['subject']}")
    return sorted(paths)


async def same_answer(acme: TenantClient, path: str) -> bool:
    """Return True if an answer without a time equals the one as of now, except for the time."""
    plain = [await acme.ask(path, **query) for query in ({}, {"at": datetime.now(UTC).isoformat()})]
    return bool(without_time(plain[0]) == without_time(plain[1]))


def without_time(answer: Any) -> Any:
    """Return an answer without its time and without the position of the ledger."""
    if isinstance(answer, dict):
        return {key: without_time(value) for key, value in answer.items() if key not in OF_THE_MOMENT}
    return [without_time(one) for one in answer] if isinstance(answer, list | tuple) else answer
