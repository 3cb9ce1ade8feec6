"""Changes of balances, tiers and order items: the same messages whatever the batches, the generation and the order."""

import json
import random
from typing import Any

import pytest

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from service.operations.conflict_policy import set_conflict_policy
from service.operations.programme_terms import set_terms
from service.outgoing import fact_feed
from service.outgoing.endpoints import Endpoint
from service.outgoing.fact_feed import read_page
from service.outgoing.messages import FeedCursor, Message
from tests.service.outgoing.conftest import make_endpoint, record
from tests.support.payloads import VAULT, delivery, expired, issued, merged, redeemed, redemption_reversed, samples

TWO_YEARS = 2 * 365 * 24 * 3600
CHANGES = ["balance.changed", "tier.changed", "order_item.failed"]


async def read_all(connection: Connection, endpoint: Endpoint, after: int = 0) -> list[Message]:
    """Read the whole feed of an endpoint, page by page."""
    cursor, messages = FeedCursor(after), list[Message]()
    while (page := await read_page(connection, endpoint, cursor)).end != cursor:
        messages += page.messages
        cursor = page.end
    return messages


def balances(messages: list[Message], account: str = "capillary:9001:1:77:points") -> list[tuple[str, str, str]]:
    """Return (before, after, reason) of each change of one account."""
    found = [json.loads(one.data) for one in messages if one.type == "balance.changed"]
    return [(one["before"], one["after"], one["reason"]) for one in found if one["account"] == account]


async def test_each_change_of_a_balance_has_before_after_and_reason(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100), redeemed("b", 20, 1, 30, "r1"))
    await record(connection, ledger, issued("late", 5, 1, 50))
    await record(connection, ledger, redemption_reversed("c", 30, 1, 30, "r1"))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["balance.changed"])

    messages = await read_all(connection, endpoint)

    assert balances(messages) == [
        ("0", "100", "Issued"),
        ("100", "70", "Redeemed"),
        ("70", "120", "Issued"),
        ("120", "150", "RedemptionReversed"),
    ]
    assert messages[0].identifier == "1/balance.changed/capillary:9001:1:77:points"


async def test_a_redelivery_and_a_claim_change_no_balance(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100), issued("a", 10, 1, 100))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["balance.changed"])

    assert balances(await read_all(connection, endpoint)) == [("0", "100", "Issued")]


async def test_a_merge_moves_the_balance_of_the_victim(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100), issued("b", 11, 2, 40), merged("m", 20, 2, 1))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["balance.changed"])

    messages = await read_all(connection, endpoint)

    assert balances(messages)[-1][:2] == ("100", "140")
    assert balances(messages, "capillary:9001:2:77:points")[-1][1] == "0"


async def test_an_event_that_wins_a_conflict_changes_the_balance_once(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100))
    await record(connection, ledger, issued("a", 5, 1, 60))  # the same event, dated earlier: it wins
    await record(connection, ledger, issued("a", 15, 1, 99))  # this one loses at once
    endpoint = await make_endpoint(connection, ledger, "https://example.com/")

    messages = await read_all(connection, endpoint)

    assert [(before, after) for before, after, _ in balances(messages)] == [("0", "100"), ("100", "60")]
    retracted = [one.identifier for one in messages if one.type == "fact.retracted"]
    assert retracted == ["2/fact.retracted/1/0"]


async def test_a_policy_takes_facts_back_and_lets_others_count(
    connection: Connection, ledger: Ledger, dsn: str
) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100), issued("a", 20, 1, 7), issued("b", 30, 1, 1))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/")
    before = await read_all(connection, endpoint)

    await set_conflict_policy(connection, VAULT, ledger, "capillary", "pointsIssued", "latest", by="test")
    await catch_up(connection, ledger.ledger_id)
    since = await read_all(connection, endpoint, after=3)
    whole = await read_all(connection, endpoint)

    assert balances(before) == [("0", "100", "Issued"), ("100", "101", "Issued")]
    assert [(one[0], one[1]) for one in balances(since)] == [("101", "8")]
    assert [one.identifier for one in since if one.type.startswith("fact")][-2:] == [
        "4/fact.retracted/1/0",
        "4/fact.recorded/2/0",
    ]
    assert [one.identifier for one in whole] == [one.identifier for one in (*before, *since)]
    assert [one.data for one in whole] == [one.data for one in (*before, *since)]


async def test_new_terms_announce_the_balances_that_they_change(connection: Connection, ledger: Ledger) -> None:
    await record(
        connection, ledger, issued("a", 0, 1, 100), issued("b", 0, 2, 50), redeemed("c", TWO_YEARS, 1, 30, "r")
    )
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["balance.changed"])
    before = await read_all(connection, endpoint)
    terms = {
        "effective_from": "2020-01-01T00:00:00Z", "time_zone": "UTC",
        "expiry": {"rule": "fixed", "months": 12, "round_to_end_of": "month"},
    }  # fmt: skip
    await set_terms(connection, VAULT, ledger, "capillary:9001:77", terms, by="test")
    await catch_up(connection, ledger.ledger_id)
    await record(connection, ledger, issued("d", TWO_YEARS + 10, 1, 5))

    whole = await read_all(connection, endpoint)
    since = await read_all(connection, endpoint, after=4)

    assert balances(whole) == [
        ("0", "100", "Issued"),
        ("100", "70", "Redeemed"),
        ("70", "0", "ProgrammeTermsSet"),
        ("0", "5", "Issued"),
    ]
    assert balances(whole, "capillary:9001:2:77:points") == [("0", "50", "Issued")]
    assert [one.identifier for one in whole[:3]] == [one.identifier for one in before]
    assert [one.data for one in since] == [whole[-1].data]
    assert [one.sequence for one in whole] == sorted(str(one.sequence) for one in whole)


def mixed_history() -> list[bytes]:
    """Return events of all kinds that concern balances, in an order of arrival that is not that of occurrence."""
    bodies = [issued(f"i{number}", number, number % 4 + 1, 10 + number) for number in range(24)]
    bodies += [redeemed(f"r{number}", 10 + number, number % 4 + 1, 5, f"x{number}") for number in range(8)]
    bodies += [redemption_reversed(f"v{number}", 40 + number, number % 4 + 1, 5, f"x{number}") for number in range(4)]
    bodies += [issued("i3", 2, 4, 99), issued("i5", 90, 2, 98), expired("e", 60, 1, 3), merged("m", 50, 3, 1)]
    random.Random(19).shuffle(bodies)
    return [*bodies, issued("i7", 1, 4, 97), *samples("capillary")]


async def test_batches_rebuilds_and_promotions_change_no_message(
    connection: Connection, ledger: Ledger, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [delivery(body) for body in mixed_history()]
    await append(connection, VAULT, ledger.ledger_id, bodies)
    await append(connection, VAULT, ledger.ledger_id, [delivery(body, source="ascenda") for body in samples("ascenda")])
    await catch_up(connection, ledger.ledger_id)
    endpoint = await make_endpoint(connection, ledger, "https://example.com/")

    whole = await read_all(connection, endpoint)
    monkeypatch.setattr(fact_feed, "POSITIONS_PER_READ_MAX", 1)
    one_by_one = await read_all(connection, endpoint)
    monkeypatch.setattr(fact_feed, "POSITIONS_PER_READ_MAX", 7)
    assert (await rebuild(dsn)).promoted
    promoted = await connect(dsn)
    rebuilt = await read_all(promoted, endpoint)
    await promoted.close()

    assert one_by_one == whole
    assert rebuilt == whole
    assert len({one.identifier for one in whole}) == len(whole)
    assert {one.type for one in whole} >= {"fact.recorded", "fact.retracted", *CHANGES}
    await assert_balances_follow_each_other(connection, ledger, whole)


async def assert_balances_follow_each_other(connection: Connection, ledger: Ledger, messages: list[Message]) -> None:
    """Each change begins where the one before ended, and the last one ends at the balance of now."""
    last: dict[str, str] = {}
    for one in messages:
        if one.type == "balance.changed":
            data: dict[str, Any] = json.loads(one.data)
            assert data["before"] == last.get(data["account"], "0"), one.identifier
            last[data["account"]] = data["after"]
    rows = await connection.fetch("SELECT account_id, available FROM accounts WHERE ledger_id = $1", ledger.ledger_id)
    assert {account: float(points) for account, points in last.items() if float(points)} == {
        row["account_id"]: float(row["available"]) for row in rows if row["available"]
    }
