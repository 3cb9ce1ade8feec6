"""Two contents under one event key: both are kept, and a policy that can be changed decides which is folded."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.database import connect
from ledger.store import api_keys
from ledger.store.append import append
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from service.reconciliation.lists import ListQuery
from service.reconciliation.unread import CONFLICTS, read_conflicts
from tests.service.finance.test_periods import close
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import VAULT, capillary, delivery, issued

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"


async def set_policy(acme: TenantClient, dsn: str, policy: str, of: str = "capillary/pointsIssued") -> tuple[int, Any]:
    connection = await connect(dsn)
    key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin"])
    await connection.close()
    response = await acme.client.put(
        f"/v1/reconciliation/policies/{of}",
        json={"policy": policy},
        headers={"Authorization": f"Bearer {key}"},
    )
    return response.status, await response.json()


@pytest.mark.parametrize("order", [1, -1])
async def test_both_contents_are_listed_and_the_earliest_is_folded_whichever_came_first(dsn: str, order: int) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in [issued("a", 5, 1, 10), issued("a", 9, 1, 99)][::order]:
            await acme.deliver(body)

        [conflict] = (await acme.ask_now("/v1/reconciliation/conflicts"))["items"]
        account = await acme.ask_now(ACCOUNT)

        told = {content["payload"]["data"]["totalPointsIssued"]: content["folded"] for content in conflict["contents"]}
        assert (conflict["kind"], conflict["policy"], told) == ("pointsIssued", "earliest", {10: True, 99: False})
        assert account["available"] == "10"


@pytest.mark.parametrize(("policy", "available"), [("latest", "99"), ("both", "109"), ("earliest", "10")])
async def test_another_policy_and_the_rows_follow(dsn: str, policy: str, available: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 5, 1, 10), issued("a", 9, 1, 99), issued("b", 9, 2, 7)):
            await acme.deliver(body)
        await acme.ask_now(ACCOUNT)

        status, done = await set_policy(acme, dsn, policy)

        assert (status, done["conflicts"]) == (200, 1)
        assert (await acme.ask_now(ACCOUNT))["available"] == available
        assert (await acme.ask_now("/v1/accounts/capillary:9001:2:77:points"))["available"] == "7"


async def test_a_policy_holds_for_conflicts_to_come(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await set_policy(acme, dsn, "latest")
        for body in (issued("a", 5, 1, 10), issued("a", 9, 1, 99), issued("a", 7, 1, 50)):
            await acme.deliver(body)

        assert (await acme.ask_now(ACCOUNT))["available"] == "99"
        listed = await acme.ask_now("/v1/reconciliation/policies")
        assert listed["items"] == [{"source": "capillary", "kind": "pointsIssued", "policy": "latest"}]


async def test_an_unknown_policy_is_refused(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await set_policy(acme, dsn, "loudest")

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")


@pytest.mark.parametrize("of", ["nobody/pointsIssued", "capillary/pointsissu", "fabric/refundPosted", "fabric/%00"])
async def test_a_policy_for_events_that_nobody_sends_is_refused(dsn: str, of: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await set_policy(acme, dsn, "latest", of)

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")
        assert (await acme.ask_now("/v1/reconciliation/policies"))["items"] == []


async def test_a_conflict_of_events_that_nobody_knows_is_settled_too(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (capillary("pointsDreamt", "a", 5, 1, how=1), capillary("pointsDreamt", "a", 5, 1, how=2)):
            await acme.deliver(body)
        before = (await acme.ask_now("/v1/reconciliation"))["items"]

        status, done = await set_policy(acme, dsn, "earliest", "capillary/pointsDreamt")

        assert (status, done["conflicts"]) == (200, 1)
        assert [one["open_count"] for one in before if one["name"] == "conflicts"] == [1]


@pytest.mark.parametrize("order", [1, -1])
async def test_what_was_known_before_a_policy_stays_as_it_was_known(dsn: str, order: int) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in [issued("a", 5, 1, 10), issued("a", 9, 1, 99)][::order]:
            await acme.deliver(body)
        await acme.deliver(issued("b", 9, 2, 7))
        then = {"at": "2024-01-01T00:00:00Z"}
        asked: list[tuple[str, dict[str, str]]] = [
            (ACCOUNT, then),
            (f"{ACCOUNT}/statement", then),
            ("/v1/customers/capillary:9001:1", then),
            ("/v1/trial-balance", then),
            ("/v1/liability", {"from": "2023-11-01", "to": "2023-11-30", "by": "month"}),
        ]

        async def known(position: int) -> list[Any]:
            found = [await acme.ask_now(path, **query, as_of_position=str(position)) for path, query in asked]
            return [{name: it for name, it in one.items() if name != "events_behind"} for one in found]

        before = [await known(position) for position in (1, 2, 3)]
        positions = [(await set_policy(acme, dsn, policy))[1]["position"] for policy in ("latest", "both", "latest")]
        await acme.deliver(issued("a", 11, 1, 1000))
        now = await acme.ask_now(ACCOUNT)

        assert positions == [4, 5, 6]
        assert [await known(position) for position in (1, 2, 3)] == before
        assert [(await known(position))[0]["available"] for position in (3, 4, 5, 6, 7)] == [
            "10",
            "99",
            "109",
            "99",
            "1000",
        ]
        assert now["available"] == "1000"
        await rebuild(dsn)
        assert [await known(position) for position in (1, 2, 3)] == before


async def test_a_month_that_is_closed_stays_so_whatever_policy_is_set_later(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 5, 1, 10), issued("a", 9, 1, 99), issued("b", 9, 2, 7)):
            await acme.deliver(body)
        await close(acme, "2023-11")
        november = {"from": "2023-11-01", "to": "2023-11-30", "by": "month"}
        before = (await acme.ask_now("/v1/liability", **november))["items"]

        await set_policy(acme, dsn, "latest")
        december = await acme.ask_now("/v1/periods/2023-12")

        assert (await acme.ask_now("/v1/liability", **november))["items"] == before
        assert [(item["account"], item["points"]) for item in december["prior_period_items"]] == [
            ("capillary:9001:1:77:points", "89")
        ]


async def test_setting_the_same_policy_twice_appends_one_event(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        first, again = [(await set_policy(acme, dsn, "earliest"))[1]["position"] for _ in range(2)]

        assert (first, again) == (1, None)
        [event] = (await acme.ask_now("/v1/ledger/events"))["items"]
        assert (event["source"], event["kind"]) == ("loyalty", "conflictPolicySet")


async def test_an_event_of_three_thousand_contents_is_listed_at_once_and_shows_a_few(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme], acme.database() as connection:
        for start in range(0, 3_000, 500):
            twins = [delivery(issued("a", n, 1, n + 1)) for n in range(start, start + 500)]
            await append(connection, VAULT, acme.ledger.ledger_id, [*twins, delivery(issued(f"b{start}", 1, 2, 3))])
        await append(connection, VAULT, acme.ledger.ledger_id, [delivery(issued("b0", 2, 2, 4))])
        asked = ListQuery(acme.ledger.ledger_id, datetime.now(UTC), datetime.now(UTC), 10, (0,))
        begun = time.process_time()
        items, following = await read_conflicts(connection, asked)
        totals = await CONFLICTS.count(connection, acme.ledger.ledger_id, datetime.now(UTC))
        spent = time.process_time() - begun
        first, _ = await read_conflicts(connection, asked._replace(limit=1))
        second, _ = await read_conflicts(connection, asked._replace(limit=1, after=(first[0].position,)))

    assert [(item.details["contents_count"], len(item.details["contents"])) for item in items] == [(3_000, 20), (2, 2)]
    assert [content["folded"] for content in items[0].details["contents"]] == [True] + [False] * 19
    assert (following, totals.items) == (None, 2)
    assert [first[0].id, second[0].id] == [item.id for item in items]
    assert spent < 2


async def test_a_row_that_settles_conflicts_without_an_event_is_undone(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 5, 1, 10), issued("a", 9, 1, 99)):
            await acme.deliver(body)
        await acme.ask_now(ACCOUNT)

        async with acme.database() as connection:
            await connection.execute(
                "INSERT INTO policies VALUES ($1, 'capillary', 'pointsIssued', 'latest')", acme.ledger.ledger_id
            )
            await catch_up(connection, acme.ledger.ledger_id)
        await acme.deliver(issued("a", 11, 1, 1000))

        assert (await acme.ask_now(ACCOUNT))["available"] == "10"
        assert (await acme.ask_now("/v1/reconciliation/policies"))["items"] == []
