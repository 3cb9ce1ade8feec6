"""Facts by position: a filtered list equals a scan, and a reader that follows a ledger misses nothing."""

import csv
import json
from typing import Any

from service.queries import facts as facts_query
from service.queries.facts import FactFilter, FactPlace, list_facts_after, start_after
from service.settings import Settings
from tests.support.client import TenantClient, serving
from tests.support.payloads import issued, redeemed, samples

PATH = "/v1/facts"
QUIET = Settings(erase_on_request=False)  # a published payload asks for an erasure, which is an event more


async def deliver_samples(acme: TenantClient) -> None:
    """Deliver every published payload, and wait for its facts."""
    for source in ("capillary", "ascenda", "fabric", "voucherify"):
        for body in samples(source):
            await acme.deliver(body, source)
    await acme.ask_now("/v1/projections")


async def all_facts(acme: TenantClient, limit: int = 1000, **query: str) -> list[dict[str, Any]]:
    """Take page after page."""
    items: list[dict[str, Any]] = []
    page = await acme.ask_now(PATH, limit=str(limit), **query)
    while True:
        items += page["items"]
        if page["next"] is None:
            return items
        page = await acme.ask_now(PATH, limit=str(limit), cursor=page["next"], **query)


def place_of(fact: dict[str, Any]) -> tuple[int, int]:
    return fact["position"], fact["ordinal"]


async def test_facts_are_listed_once_each_in_the_order_of_their_events(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_samples(acme)

        facts = await all_facts(acme)
        by_threes = await all_facts(acme, limit=3)

        async with acme.database() as connection:
            stored = await connection.fetch("SELECT position, ordinal FROM facts WHERE ledger_id = 1")
        assert by_threes == facts
        assert list(map(place_of, facts)) == sorted(map(tuple, stored))
        assert len(facts) > 150
        detail = await acme.ask_now(f"/v1/ledger/events/{facts[0]['position']}")
        assert facts[0]["fields"] == detail["facts"][0]["fields"]
        assert facts[0]["event"] == {name: detail[name] for name in ("position", "kind", "source", "recorded_at")}


async def test_filtered_facts_equal_a_scan_of_all_facts(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_samples(acme)
        facts = await all_facts(acme)

        for name in ("fact", "subject_kind", "subject"):
            values = sorted({fact[name] for fact in facts})
            for value in values[:: max(1, len(values) // 8)]:
                scanned = [fact for fact in facts if fact[name] == value]
                assert await all_facts(acme, **{name: value}) == scanned, (name, value)
                after = scanned[0]["position"]
                later = [fact for fact in scanned if fact["position"] > after]
                counted = await acme.ask_now(PATH, after=str(after), limit="1", total="true", **{name: value})
                assert counted["total"] == len(later)
                assert await all_facts(acme, limit=2, after=str(after), **{name: value}) == later


async def test_facts_are_sent_as_files(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_samples(acme)
        facts = await all_facts(acme, subject_kind="account")
        bearer = {"Authorization": f"Bearer {acme.key}"}

        asked = {"subject_kind": "account", "format": "csv"}
        file = await acme.client.get(PATH, params=asked, headers=bearer)
        lines = await acme.client.get(PATH, params={**asked, "format": "ndjson"}, headers=bearer)

        rows = list(csv.DictReader((await file.text()).splitlines()))
        assert [(row["position"], row["fact"]) for row in rows] == [
            (str(one["position"]), one["fact"]) for one in facts
        ]
        assert [json.loads(row["fields"]) for row in rows] == [one["fields"] for one in facts] != []
        assert [json.loads(line) for line in (await lines.text()).splitlines()] == facts


async def test_a_reader_that_follows_a_ledger_misses_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        after, seen = 0, list[tuple[int, int]]()
        for number in range(6):
            await acme.deliver(issued(f"i{number}", number, 100 + number, 10))
            await acme.deliver(redeemed(f"r{number}", 50 + number, 100 + number, 5))
            status, page = await acme.ask(PATH, after=str(after), limit="1000")  # perhaps before the rows are there
            assert (status, page["next"]) == (200, None)
            seen += map(place_of, page["items"])
            after = page["as_of_position"]

        seen += map(place_of, await all_facts(acme, after=str(after)))

        assert seen == list(map(place_of, await all_facts(acme)))


async def test_a_page_reads_a_limited_number_of_facts_and_names_the_next_one(dsn: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(facts_query, "CANDIDATES_MAX", 3)
    async with serving(dsn, "acme") as [acme]:
        for number in range(8):
            await acme.deliver(issued(f"i{number}", number, 100 + number, 10))
        await acme.deliver(redeemed("r", 50, 100, 5))
        last = (await all_facts(acme))[-1]
        async with acme.database() as connection:
            found, pages = [], 0
            after: FactPlace | None = start_after(0)
            while after is not None:
                listed = await list_facts_after(connection, 1, after, 10, FactFilter(kind=last["fact"]))
                found += [(fact.position, fact.ordinal) for fact in listed.facts]
                after, pages = listed.following, pages + 1

    assert found == [place_of(last)]
    assert pages > 2


async def test_facts_of_an_event_that_lost_a_conflict_are_not_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("same", 5, 101, 10))
        await acme.ask_now("/v1/projections")
        await acme.deliver(issued("same", 0, 101, 20))  # it occurred earlier, so it wins

        facts = await all_facts(acme)

        assert {fact["position"] for fact in facts} == {2}
