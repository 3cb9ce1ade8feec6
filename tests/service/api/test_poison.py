"""Every authenticated body is accepted: one that cannot be read is answered 200, listed, and shown."""

import json
from random import Random

import pytest

from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.vendors import VENDORS
from projections.engine.worker import catch_up
from tests.service.operations.test_adjustments import ACCOUNT, WORDS, key_of, post
from tests.support.client import serving
from tests.support.golden import samples
from tests.support.mutations import damaged, muddled, planted, written
from tests.support.payloads import VAULT, capillary, delivery, issued
from tests.support.poison import poison

SAMPLES = [sample for sample in samples() if sample.parent.name in VENDORS]
PARKED = "SELECT subject, parked FROM subjects WHERE parked IS NOT NULL"
NO_NUMBERS = ("1e1000000", "-1e1000000", "1e999999999", "9" * 900_000, "NaN", "-Infinity", "1_000", "\u0663", "0x3c")
LONG = "".join(f"{n:04x}" for n in range(5_000))  # too long for an index, and incompressible


async def test_bodies_made_to_break_a_reader_are_kept_listed_and_shown(dsn: str) -> None:
    corpus = list(poison())

    async with serving(dsn, "acme") as [acme]:
        reasons = {}
        for name, body, reason in corpus:
            status, told = await acme.deliver(body)
            assert (status, [event["kind"] for event in told["events"]]) == (200, ["unreadable"]), name
            reasons[told["events"][0]["position"]] = reason

        quarantine = await acme.ask_now("/v1/reconciliation/quarantine", limit="500")
        assert {item["position"]: item["reason"] for item in quarantine["items"]} == reasons

        for position, reason in reasons.items():
            event = await acme.ask_now(f"/v1/ledger/events/{position}")
            assert event["payload"] == {"unreadable": reason, "body": "<personal>"}
            assert (event["unread"], event["reason"], event["facts"], event["repairs"]) == (
                "quarantined",
                reason,
                [],
                [],
            )


async def test_numbers_larger_than_a_machine_s_are_shown_as_they_stand(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, told = await acme.deliver(b'{"points": 18446744073709551616, "share": 0.10}')
        event = await acme.ask_now(f"/v1/ledger/events/{told['events'][0]['position']}")

        assert status == 200
        assert event["payload"] == {"points": 2**64, "share": 0.1}
        assert event["unread"] == "unrecognised"


async def test_what_reading_an_event_repairs_is_shown_with_it(dsn: str) -> None:
    body = b'{"event Name": "pointsIssued", "eventId": "1", "orgId": 7.0, "data": {"mobi le": "61 2345"}}'

    async with serving(dsn, "acme") as [acme]:
        _, told = await acme.deliver(body)
        event = await acme.ask_now(f"/v1/ledger/events/{told['events'][0]['position']}")

        assert event["repairs"] == [
            {"path": "/event Name", "rule": "blank in a key", "before": "event Name", "after": "eventName"},
            {
                "path": "/orgId",
                "rule": "a whole number spelt with a fraction or an exponent",
                "before": "7.0",
                "after": "7",
            },
            {"path": "/data/mobi le", "rule": "blank in a key", "before": "mobi le", "after": "mobile"},
        ]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"eventName": "pointsIssued", "eventId": LONG, "orgId": LONG, "data": {}}).encode(),
        json.dumps({"eventName": LONG, "data": {"customerId": LONG, "email": "a@example.com"}}).encode(),
        issued("1", 0, 1, 100).replace(b'"customerId": 1', b'"customerId": "%b"' % LONG.encode()),
        issued("1", 0, 1, 100).replace(b'"loyaltyProgramId": 77', b'"loyaltyProgramId": "%b"' % LONG.encode()),
        capillary("transactionAdded", "1", 0, 1, transactionId="1", amount="1e-20000"),
        capillary("transactionAdded", "1", 0, 1, transactionId=LONG),
        capillary("revokeEarnedPromotion", "1", 0, 1, revokedEarnedId=[*range(40_000)], promotionId=1),
    ],
    ids=["organisation", "name and customer", "holder", "programme", "amount", "bill", "40,000 things"],
)
async def test_a_value_that_no_row_can_hold_stops_neither_webhooks_nor_projections(dsn: str, body: bytes) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, _ = await acme.deliver(body)
        await acme.deliver(issued("2", 1, 2, 50))

        assert status == 200
        events = (await acme.ask_now("/v1/ledger/events"))["items"]
        assert [event["position"] for event in events] == [1, 2]
        assert (await acme.ask_now("/v1/reconciliation/parked"))["items"] == []


async def test_points_that_are_no_number_cost_their_own_event_only(dsn: str) -> None:
    """A number of nine characters once overflowed in parsing, and stopped the projections of its ledger for ever."""
    sound = capillary("pointsIssued", "0", 0, 2, totalPointsIssued=100)
    poisoned = [
        sound.replace(b'"eventId": "0"', b'"eventId": "%d"' % n).replace(b": 100", b': "%b"' % points.encode())
        for n, points in enumerate(NO_NUMBERS, 1)
    ]

    async with serving(dsn, "acme", "beta") as [acme, beta]:
        admin = await key_of(dsn, acme, "admin")
        statuses = [(await acme.deliver(body))[0] for body in poisoned]
        await acme.deliver(issued("good", 1, 1, 50))
        await beta.deliver(issued("good", 0, 1, 50))

        assert statuses == [200] * len(poisoned)
        for position in range(1, len(poisoned) + 1):
            event = await acme.ask_now(f"/v1/ledger/events/{position}")
            assert (event["unread"], event["facts"]) == ("unrecognised", [])
            assert "totalPointsIssued " in event["reason"]
        for house in (acme, beta):
            assert (await house.ask_now(ACCOUNT))["available"] == "50"
        for points in NO_NUMBERS:
            status, refused = await post(acme, admin, f"{ACCOUNT}/adjustments", {"points": points, **WORDS})
            assert (status, "points" in str(refused)) == (400, True), points


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_mutation_of_a_sample_stops_the_projections(connection: Connection, ledger: Ledger, seed: int) -> None:
    random = Random(seed)
    deliveries = []
    for sample in SAMPLES:
        for change in (damaged, muddled):
            document, _ = planted(sample.parent.name, sample.read_bytes())
            deliveries.append(delivery(written(change(document, random)), sample.parent.name))

    outcomes = await append(connection, VAULT, ledger.ledger_id, deliveries)

    assert await catch_up(connection, ledger.ledger_id) == max(one.position for told in outcomes for one in told)
    assert await connection.fetch(PARKED) == []
