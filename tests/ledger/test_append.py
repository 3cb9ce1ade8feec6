"""Invariants 1 to 3 at the append function: dense, in order, once; and the ledger cannot be changed."""

import asyncio
import hashlib
import json
from collections.abc import Callable

import asyncpg
import pytest

from ledger.database import Connection, connect
from ledger.errors import LedgerUnknown
from ledger.store import read
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from tests.support.payloads import VAULT, delivery, issued, sample

CLIENTS = 8
EVENTS_PER_CLIENT = 1_000
EVENTS_PER_CALL = 20


async def outcomes(connection: Connection, ledger: Ledger, *bodies: bytes) -> list[tuple[int, str]]:
    appended = await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
    return [tuple(one) for of_delivery in appended for one in of_delivery]  # type: ignore[misc]


async def test_positions_begin_at_1_and_follow_without_gaps(connection: Connection, ledger: Ledger) -> None:
    first = await outcomes(connection, ledger, issued("a", 0, 1, 10), issued("b", 1, 1, 10))
    second = await outcomes(connection, ledger, issued("c", 2, 1, 10))

    assert [*first, *second] == [(1, "appended"), (2, "appended"), (3, "appended")]


async def test_an_event_told_twice_in_one_call_is_appended_once(connection: Connection, ledger: Ledger) -> None:
    told = await outcomes(connection, ledger, issued("a", 0, 1, 10), issued("a", 0, 1, 10), issued("b", 0, 1, 10))

    assert told == [(1, "appended"), (1, "duplicate"), (2, "appended")]


async def test_the_same_key_with_other_content_is_a_conflict_and_kept(connection: Connection, ledger: Ledger) -> None:
    told = await outcomes(connection, ledger, issued("a", 0, 1, 10), issued("a", 0, 1, 99), issued("a", 0, 1, 99))
    again = await outcomes(connection, ledger, issued("a", 0, 1, 99), issued("a", 0, 1, 10), issued("a", 5, 1, 10))

    assert told == [(1, "appended"), (2, "conflict"), (2, "duplicate")]
    assert again == [(2, "duplicate"), (1, "duplicate"), (3, "conflict")]


async def test_another_dispatch_time_or_spelling_is_no_conflict(connection: Connection, ledger: Ledger) -> None:
    body = sample("capillary", "pointsIssued")
    document = json.loads(body)
    document[" timeStamp"] += 30_000
    respelt = json.dumps(document, indent=8, sort_keys=True).encode()

    told = await outcomes(connection, ledger, body, respelt)

    assert told == [(1, "appended"), (1, "duplicate")]


def wrapped(body: bytes) -> dict[str, bytes]:
    """Wrap an event in the captures in which it was seen, whose headers are the visitor's own."""
    event = json.loads(body)
    wrappers = {
        "E7": {"event": {"body": event, "client_ip": "203.0.113.7", "headers": {"device_id": "d-1"}, "method": "POST"}},
        "E7, other headers": {"event": {"body": event, "client_ip": "203.0.113.8", "headers": {"user-agent": "x"}}},
        "E8": {"body": event, "headers": {"client_ip": "203.0.113.9", "email": "proxy@example.com"}},
        "E9": {"data": event, "errors": None, "warnings": None},
    }
    return {name: json.dumps(wrapper).encode() for name, wrapper in wrappers.items()}


def with_name(name: str) -> bytes:
    event = json.loads(issued("a", 0, 1, 10))
    event["data"]["customerIdentifiers"]["instore"] = {"mobile": "918900003219", "firstName": name}
    return json.dumps(event).encode()


@pytest.mark.parametrize("body", [issued("a", 0, 1, 10), with_name("Ann")], ids=["nothing personal", "a person"])
async def test_a_redelivery_in_a_capture_with_other_headers_is_a_duplicate(
    connection: Connection, ledger: Ledger, body: bytes
) -> None:
    captures = [delivery(capture, "capillary") for capture in wrapped(body).values()]

    first = await append(connection, VAULT, ledger.ledger_id, [captures[0]])
    told = await append(connection, VAULT, ledger.ledger_id, [delivery(body), *captures])

    assert [tuple(one) for one in first[0]] == [(1, "appended")]
    assert {tuple(one) for of_delivery in told for one in of_delivery} == {(1, "duplicate")}


async def test_a_capture_of_an_event_that_names_another_person_is_a_conflict(
    connection: Connection, ledger: Ledger
) -> None:
    other = delivery(wrapped(with_name("Bob"))["E7"], "capillary")

    told = await append(connection, VAULT, ledger.ledger_id, [delivery(with_name("Ann")), other])

    assert [tuple(one) for of_delivery in told for one in of_delivery] == [(1, "appended"), (2, "conflict")]


async def test_ledgers_number_for_themselves(connection: Connection, ledger: Ledger) -> None:
    other = await create_ledger(connection, "other")

    here = await outcomes(connection, ledger, issued("a", 0, 1, 10))
    there = await outcomes(connection, other, issued("a", 0, 1, 10))

    assert here == there == [(1, "appended")]


async def test_a_delivery_of_several_events_keeps_its_body_once(connection: Connection, ledger: Ledger) -> None:
    one = json.loads(sample("fabric", "offers.redemption.coupon.created"))
    second = json.loads(json.dumps(one["events"][0]))
    second["id"] = "another"
    one["events"].append(second)
    body = json.dumps(one).encode()

    appended = await append(connection, VAULT, ledger.ledger_id, [delivery(body, "fabric")])

    assert [tuple(event) for event in appended[0]] == [(1, "appended"), (2, "appended")]
    events = await read.events_after(connection, ledger.ledger_id, 0, 10)
    assert [(event.ordinal, event.payload) for event in events] == [(0, body), (1, body)]
    stored = await connection.fetch("SELECT payload IS NULL AS elsewhere FROM ledger.events ORDER BY position")
    assert [row["elsewhere"] for row in stored] == [False, True]


async def test_a_body_stays_with_the_first_new_event_of_its_delivery(connection: Connection, ledger: Ledger) -> None:
    one = json.loads(sample("fabric", "offers.redemption.coupon.created"))
    alone = json.dumps(one).encode()
    second = json.loads(json.dumps(one["events"][0]))
    second["id"] = "another"
    one["events"].append(second)
    both = json.dumps(one).encode()

    await append(connection, VAULT, ledger.ledger_id, [delivery(alone, "fabric")])
    appended = await append(connection, VAULT, ledger.ledger_id, [delivery(both, "fabric")])

    assert [tuple(event) for event in appended[0]] == [(1, "duplicate"), (2, "appended")]
    event = await read.event_at(connection, ledger.ledger_id, 2)
    assert (event.ordinal, event.payload) == (1, both)


async def test_an_unknown_ledger_takes_nothing(connection: Connection) -> None:
    with pytest.raises(LedgerUnknown):
        await append(connection, VAULT, 404, [delivery(issued("a", 0, 1, 10))])


async def test_the_entry_names_the_event_and_the_leaf_hashes_the_entry(connection: Connection, ledger: Ledger) -> None:
    body = issued("a", 0, 1, 10)
    await append(connection, VAULT, ledger.ledger_id, [delivery(body)])

    head = (await read.event_headers_after(connection, ledger.ledger_id, 0, 1))[0]
    entry = json.loads(head.entry)

    assert head.leaf_hash == hashlib.sha256(b"\x00" + head.entry).digest()
    assert entry["payload_sha256"] == hashlib.sha256(body).hexdigest()
    assert entry["recorded_at"] == head.recorded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert (entry["ledger"], entry["position"], entry["kind"]) == ("acme", 1, "pointsIssued")
    assert (entry["occurred_at"], entry["event_key"]) == ("2023-11-14T22:13:20.000000Z", head.event_key.hex())
    assert head.entry == json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


READ_BY = """
    SELECT indexrelname, idx_scan, idx_tup_read FROM pg_stat_user_indexes
     WHERE schemaname = 'ledger' AND relname = 'events' AND idx_scan > 0
"""
READ_WHOLE = "SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'ledger' AND relname = 'events'"


async def test_keys_are_looked_up_one_by_one_also_by_plans_from_when_the_ledger_was_empty(
    dsn: str, ledger: Ledger
) -> None:
    own = await connect(dsn)
    await outcomes(own, ledger, issued("first", 0, 1, 10))
    for number in range(20):
        told = [issued(f"{number}-{n}", n, 1, 10) for n in range(20)]
        await outcomes(own, ledger, *told, issued("first", 0, 1, 10), issued("first", 0, 1, 99))
    await own.execute("SELECT pg_stat_force_next_flush()")

    read_by = {row["indexrelname"]: (row["idx_scan"], row["idx_tup_read"]) for row in await own.fetch(READ_BY)}
    assert read_by == {
        "events_pkey": (21, 20),  # the last position, once a call
        "events_ledger_id_event_key_key": (1 + 20 * 22 + 20, 20 * 2 + 19),  # each key; then the conflict's own
    }
    assert await own.fetchval(READ_WHOLE) == 0
    await own.close()


async def test_recorded_times_never_go_backwards(connection: Connection, ledger: Ledger) -> None:
    for number in range(20):
        await outcomes(connection, ledger, issued(str(number), 0, 1, 10))

    times = await connection.fetch("SELECT recorded_at FROM ledger.events ORDER BY position")
    assert [row[0] for row in times] == sorted(row[0] for row in times)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.events SET payload = 'x'",
        "DELETE FROM ledger.events",
        "TRUNCATE ledger.events",
        "UPDATE ledger.ledgers SET name = 'x'",
        "DELETE FROM ledger.ledgers",
        "TRUNCATE ledger.ledgers",
    ],
)
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
async def test_not_even_the_owner_changes_the_ledger(
    connection: Connection, ledger: Ledger, statement: str, replication_role: str
) -> None:
    await outcomes(connection, ledger, issued("a", 0, 1, 10))
    await connection.execute(f"SET session_replication_role = {replication_role}")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.events SELECT * FROM ledger.events",
        "UPDATE ledger.events SET payload = 'x'",
        "DELETE FROM ledger.events",
        "TRUNCATE ledger.events",
        "ALTER TABLE ledger.events DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP TABLE ledger.events",
    ],
)
async def test_the_role_of_the_service_may_append_and_no_more(
    connection: Connection, ledger: Ledger, statement: str
) -> None:
    await connection.execute("SET ROLE loyalty_service")
    await outcomes(connection, ledger, issued("a", 0, 1, 10))

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)


async def follow(dsn: str, ledger: Ledger, done: Callable[[], bool]) -> list[int]:
    """Read positions as a projector does: after the last one seen, until the writers are done and nothing is left."""
    connection = await connect(dsn)
    seen: list[int] = []
    while True:
        over = done()
        events = await read.events_after(connection, ledger.ledger_id, seen[-1] if seen else 0, 500)
        seen += [event.position for event in events]
        if over and not events:
            await connection.close()
            return seen


async def test_a_reader_beside_eight_writers_misses_nothing(connection: Connection, dsn: str, ledger: Ledger) -> None:
    async def write(client: int) -> None:
        own = await connect(dsn)
        for start in range(0, EVENTS_PER_CLIENT, EVENTS_PER_CALL):
            bodies = [issued(f"{client}-{start + n}", n, client, 10) for n in range(EVENTS_PER_CALL)]
            await append(own, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
        await own.close()

    writers = [asyncio.create_task(write(client)) for client in range(CLIENTS)]
    seen = await follow(dsn, ledger, lambda: all(writer.done() for writer in writers))
    await asyncio.gather(*writers)

    assert seen == list(range(1, CLIENTS * EVENTS_PER_CLIENT + 1))
    assert await read.tail(connection, ledger.ledger_id) == CLIENTS * EVENTS_PER_CLIENT
