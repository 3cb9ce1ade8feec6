"""Reading: no more at once than memory is meant for, and the body of a delivery once for all of its events."""

import json

import pytest

from ledger.database import Connection
from ledger.intake import interpret as interpreting
from ledger.intake.identify import parse_envelope
from ledger.intake.interpret import interpret, interpret_all
from ledger.store import read
from ledger.store.append import append
from ledger.store.registry import Ledger
from tests.support.payloads import VAULT, delivery, issued, sample, samples


def of_members(count: int) -> bytes:
    one = json.loads(sample("fabric", "offers.redemption.coupon.created"))
    one["events"] = [{**one["events"][0], "id": f"member-{number}"} for number in range(count)]
    return json.dumps(one).encode()


async def test_as_much_is_read_at_once_as_was_asked_for_in_bytes_but_never_nothing(
    connection: Connection, ledger: Ledger
) -> None:
    bodies = [issued(str(number), number, 1, 10) for number in range(5)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])

    two = await read.events_after(connection, ledger.ledger_id, 0, 10, bytes_max=len(bodies[0]) + 1)
    one = await read.events_after(connection, ledger.ledger_id, 2, 10, bytes_max=1)
    rest = await read.events_after(connection, ledger.ledger_id, 3, 10)

    assert [event.position for event in (*two, *one, *rest)] == [1, 2, 3, 4, 5]
    assert (len(two), len(one)) == (2, 1)


async def test_the_events_of_a_delivery_share_one_body_wherever_reading_begins(
    connection: Connection, ledger: Ledger
) -> None:
    body = of_members(50)
    await append(connection, VAULT, ledger.ledger_id, [delivery(body, "fabric")])

    whole = await read.events_after(connection, ledger.ledger_id, 0, 100)
    tail = await read.events_after(connection, ledger.ledger_id, 20, 100)

    assert [event.ordinal for event in tail] == list(range(20, 50))
    assert {id(event.payload) for event in whole} == {id(whole[0].payload)}
    assert {id(event.payload) for event in tail} == {id(tail[0].payload)}
    assert tail[0].payload == whole[0].payload


async def test_a_delivery_is_opened_once_for_all_of_its_events(
    connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [(body, source) for source in ("fabric", "capillary") for body in samples(source)]
    deliveries = [delivery(of_members(30), "fabric"), *(delivery(body, source) for body, source in bodies)]
    await append(connection, VAULT, ledger.ledger_id, deliveries)
    events = await read.events_after(connection, ledger.ledger_id, 0, 1_000)
    one_by_one = [interpret(event) for event in events]
    opened = list[str]()

    def open_counted(*arguments: object) -> object:
        opened.append("once")
        return parse_envelope(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(interpreting, "parse_envelope", open_counted)
    assert list(interpret_all(events[:30])) == one_by_one[:30]
    assert opened == ["once"]
    assert list(interpret_all(events)) == one_by_one
