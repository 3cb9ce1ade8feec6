"""An answer as of a position never changes, whatever events, policies, closes, merges and unmerges follow.

Random histories run over HTTP, in disorder and with conflicts. Meanwhile policies are set, balances adjusted, merges
undone and months closed. Each answer as of a position is requested again at the end, and after a rebuild.
"""

import calendar
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from ledger.store import api_keys
from projections.rebuild import rebuild
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import (
    PROGRAMME,
    activity,
    capillary,
    expired,
    issued,
    merged,
    received,
    redeemed,
    returned,
    sent,
)

STEPS = 50
DISORDER = 15  # number of steps by which an event may be late
CUSTOMERS = range(1, 6)
HOURS_MAX = 72
MONTHS = ("2023-11", "2023-12", "2024-01")
POLICIES = ("earliest", "latest", "both")
WORDS = {"author": "a clerk", "reason": "a letter"}
KINDS = ("issued", "issued", "redeemed", "reversed", "returned", "transfer", "merged", "expired", "twin", "twin")


def account(customer: int) -> str:
    return f"/v1/accounts/capillary:9001:{customer}:77:points"


def history(chance: random.Random) -> list[bytes]:
    """Draw the deliveries of vendors, roughly in order."""
    told: list[bytes] = []
    at = 0
    for number in range(STEPS):
        at += chance.randrange(1, HOURS_MAX) * 3600
        customer, other = chance.choice(CUSTOMERS), chance.choice(CUSTOMERS)
        told += tell(chance, chance.choice(KINDS), f"e{number}", at, customer, other, told)
    return [told[n] for n in sorted(range(len(told)), key=lambda n: n + chance.randrange(DISORDER))]


def tell(
    chance: random.Random, kind: str, name: str, at: int, customer: int, other: int, before: list[bytes]
) -> list[bytes]:
    points, earlier = chance.randrange(1, 120), f"e{chance.randrange(1 + int(name[1:]))}"
    if kind == "issued":
        lapses = chance.choice(["", "2023-12-20", "2024-02-01"])
        claim = {"programCurrentPoints": points + 50} if chance.random() < 0.2 else {}
        return [issued(name, at, customer, points, bill=name, lapses=lapses, **claim)]
    if kind == "redeemed":
        return [redeemed(name, at, customer, points, name)]
    if kind == "reversed":
        programme = chance.choice([None, PROGRAMME])
        of = activity(redemptionId=earlier)
        said: dict[str, Any] = {"redeemedPointsReversed": points, "triggeringActivity": of}
        return [capillary("redeemedPointsReversed", name, at, customer, loyaltyProgramId=programme, **said)]
    if kind == "returned":
        return [returned(name, at, customer, points, earlier)]
    if kind == "expired":
        return [expired(name, at, customer, points)]
    grants = [body for body in before if b'"pointsIssued"' in body]
    if kind == "twin" and grants:
        twin = json.loads(chance.choice(grants))
        twin["createdAt"] += chance.choice([-5000, 0, 7000])
        twin["data"]["totalPointsIssued"] += points
        return [json.dumps(twin).encode()]
    if kind == "transfer" and other != customer:
        halves = [
            sent(name, at, customer, points, other, name),
            received(f"{name}r", at, other, points, customer, name),
        ]
        return chance.sample(halves, chance.choice([1, 2, 2]))
    return [merged(name, at, customer, other)] if kind == "merged" and other != customer else []


class QueryRecorder:
    """A caller that keeps every answer as of a position and makes internal events now and then."""

    def __init__(self, acme: TenantClient, key: str, chance: random.Random) -> None:
        self.acme, self.chance, self.closed = acme, chance, 0
        self.headers = {"Authorization": f"Bearer {key}"}
        self.answers: dict[str, Any] = {}

    async def get(self, path: str) -> Any:
        status, body = await self.acme.ask(path)
        return status, {name: value for name, value in body.items() if name not in ("events_behind", "as_of_position")}

    async def record_answers(self) -> None:
        """Request answers as of a position, and keep them."""
        await self.acme.ask_now("/v1/ledger/events")
        _, projections = await self.acme.ask("/v1/projections")
        position = self.chance.randrange(1, projections["ledger_position"] + 1)
        day, customer = f"2024-0{self.chance.randrange(1, 4)}-11T00:00:00Z", self.chance.choice(CUSTOMERS)
        of = account(customer)
        for path in (
            of,
            f"{of}/statement",
            f"{of}/lots",
            "/v1/trial-balance",
            f"/v1/customers/capillary:9001:{customer}",
        ):
            asked = f"{path}?as_of_position={position}&at={day}"
            self.answers[asked] = await self.get(asked)
        asked = f"/v1/liability?from=2023-11-01&to=2024-03-31&by=month&as_of_position={position}"
        self.answers[asked] = await self.get(asked)
        assert self.answers[asked][1]["ties"]

    async def make_internal_event(self) -> None:
        """Set a policy, adjust a balance, undo a merge, or close the next month."""
        await self.acme.ask_now("/v1/ledger/events")
        client, customer = self.acme.client, self.chance.choice(CUSTOMERS)
        match self.chance.randrange(4):
            case 0:
                policy = {"policy": self.chance.choice(POLICIES)}
                url = "/v1/reconciliation/policies/capillary/pointsIssued"
                assert (await client.put(url, json=policy, headers=self.headers)).status == 200
            case 1:
                said = {"points": self.chance.choice([-7, 9]), **WORDS}
                await client.post(f"{account(customer)}/adjustments", json=said, headers=self.headers)
            case 2:
                url = f"/v1/customers/capillary:9001:{customer}/unmerge"
                await client.post(url, json=WORDS, headers=self.headers)
            case _ if self.closed < len(MONTHS):
                month = MONTHS[self.closed]
                done = await client.post(f"/v1/periods/{month}/close", headers=self.headers)
                assert done.status == 200
                self.closed += 1
                await self.acme.ask_now("/v1/ledger/events")
                last = calendar.monthrange(int(month[:4]), int(month[5:]))[1]
                asked = f"/v1/liability?from={month}-01&to={month}-{last}&by=month"
                status, answer = await self.get(asked)
                self.answers[asked] = status, {"items": answer["items"]}

    async def check(self) -> None:
        """Request everything again and compare."""
        await self.acme.ask_now("/v1/ledger/events")
        for asked, (status, kept) in self.answers.items():
            now, answer = await self.get(asked)
            assert (now, {name: answer.get(name) for name in kept}) == (status, kept), asked


@pytest.mark.parametrize("seed", [1, 3, 5])
async def test_an_answer_as_of_a_position_never_changes(dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    async with serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin", "read"])
        asked = QueryRecorder(acme, key, chance)
        for body in history(chance):
            assert (await acme.deliver(body))[0] == 200
            if chance.random() < 0.2:
                await asked.make_internal_event()
            if chance.random() < 0.2:
                await asked.record_answers()

        await asked.check()
        for month in ("2023-12", "2024-01", "2024-02"):
            status, period = await acme.ask(f"/v1/periods/{month}")
            if status == 200:
                items = sum(Decimal(item["points"]) for item in period["prior_period_items"])
                assert items == sum(Decimal(total["prior_period"]) for total in period["totals"])
        assert (await rebuild(dsn)).differing == {}
        await asked.check()
