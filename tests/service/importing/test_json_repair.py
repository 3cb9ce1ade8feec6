"""Mending lines of an import that are not JSON: what copying did outside strings is undone, and nothing else is."""

import json

import pytest

from ledger.database import Connection
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger, create_connection
from service.importing.block_appender import BlockAppender
from service.importing.deliveries import ImportSummary, import_lines
from service.importing.json_repair import MARKDOWN_ESCAPE, MISSING_BRACE, TRAILING_COMMA, repair_json
from service.importing.split import DeliveryLine
from tests.support.payloads import VAULT, sample

# As Fabric's documents print a payload (004), and Ascenda's one of theirs (000), shortened.
FABRIC = (
    rb'{ "specversion": "v1", "type": "offers:redemption:coupon:created", "tenantid": "t-1", "events": \[ {'
    rb' "id": "e-1", "time": "2023-06-01T13:29:40.000Z", "data": { "status": "CREATED", "id": "r-1",'
    rb' "callbackUrls": \[ "https://example.com/1" \] } } \] }'
)
ASCENDA = b"""{
"event_type": "order_item.fulfillment.failed",
"event_id": "376b9ff8-0000-4000-8000-000000000000",
"order_item": {
"id": "i-1",
"status": "failed",
"points_paid": 999900,
"updated_at": "2025-03-18T06:19:44.605Z",
},
"order": {"id": "o-1", "user_id": "u-1"}
}"""
COMMENTED = b'{\n"order_item": {\n// Order item details\n"id": "i-1"\n}\n}'


@pytest.mark.parametrize(
    ("text", "mended", "places"),
    [
        (b'{"a": 1,}', b'{"a": 1}', {TRAILING_COMMA: 1}),
        (b'{"a": [1, 2 ,\n ], }', b'{"a": [1, 2 \n ] }', {TRAILING_COMMA: 2}),
        (b'{"a": 1,},\r\n', b'{"a": 1}', {TRAILING_COMMA: 2}),
        (rb'{"a": \[1\]}', b'{"a": [1]}', {MARKDOWN_ESCAPE: 2}),
        (rb'{"a": \[1,\]}', b'{"a": [1]}', {MARKDOWN_ESCAPE: 2, TRAILING_COMMA: 1}),
        (b'"a": 1}', b'{"a": 1}', {MISSING_BRACE: 1}),
        (b'\n "a": {"b": 1,}}', b'{\n "a": {"b": 1}}', {MISSING_BRACE: 1, TRAILING_COMMA: 1}),
        (rb'{"a": "1,}", "b": "\\[", "c": "\",]",}', rb'{"a": "1,}", "b": "\\[", "c": "\",]"}', {TRAILING_COMMA: 1}),
    ],
)
def test_a_text_is_mended_outside_its_strings(text: bytes, mended: bytes, places: dict[str, int]) -> None:
    assert repair_json(text) == (mended, places)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1}',  # sound
        b'{"a": 1, "a": 2}',  # JSON, if not one that we accept
        b"",
        b"pointsIssued",
        COMMENTED,
        b'{"a": 1,} // a comment',
        b'{"a": 1},{"b": 2},',
        b'{"a": 1,,}',
        rb'{"a": "\[x"}',  # an escape inside a string may be anybody's
        b'{"a": 1',
        b'{a: CustomerId., b": 1}',
        b"'a': 1}",
    ],
)
def test_what_is_sound_or_cannot_be_mended_is_left_alone(text: bytes) -> None:
    assert repair_json(text) is None


@pytest.mark.parametrize("unit", [b",", b", ", b"\\[", b'"', b'\\"', b'"\\"', b" ", b'",'])
def test_a_long_text_that_cannot_be_mended_takes_no_long_time(unit: bytes) -> None:
    assert repair_json(b"{" + unit * 200_000) is None


async def imported(
    connection: Connection, dsn: str, ledger: Ledger, source: str, *bodies: bytes, repair: bool, quarantine: bool = True
) -> ImportSummary:
    inbound = await create_connection(connection, MasterKey(bytes(range(32))), ledger, source=source)
    lines = iter([DeliveryLine(number, body) for number, body in enumerate(bodies, 1)])
    async with BlockAppender(dsn, VAULT, ledger.ledger_id) as appender:
        return await import_lines(appender, inbound, lines, lambda _: None, repair=repair, quarantine=quarantine)


async def test_lines_are_mended_on_request_and_the_mended_text_is_appended(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    fabric = await imported(connection, dsn, ledger, "fabric", FABRIC, COMMENTED, repair=True)
    ascenda = await imported(connection, dsn, ledger, "ascenda", ASCENDA, repair=True)

    assert (fabric.appended, fabric.unreadable, fabric.repaired_lines) == (2, 1, 1)
    assert fabric.repaired_places == {MARKDOWN_ESCAPE: 4}
    assert (ascenda.appended, ascenda.unreadable, ascenda.repaired_places) == (1, 0, {TRAILING_COMMA: 1})
    rows = await connection.fetch("SELECT kind, payload FROM ledger.events ORDER BY position")
    assert [row["kind"] for row in rows] == [
        "offers:redemption:coupon:created",
        "unreadable",
        "order_item.fulfillment.failed",
    ]
    assert rows[0]["payload"] == FABRIC.replace(rb"\[", b"[").replace(rb"\]", b"]")


async def test_what_was_mended_once_is_a_duplicate_when_it_is_imported_again(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await imported(connection, dsn, ledger, "fabric", FABRIC, repair=True)

    again = await imported(connection, dsn, ledger, "fabric", FABRIC, repair=True)

    assert (again.appended, again.duplicates) == (0, 1)


async def test_without_request_nothing_is_mended(connection: Connection, dsn: str, ledger: Ledger) -> None:
    summary = await imported(connection, dsn, ledger, "ascenda", ASCENDA, repair=False)

    assert (summary.appended, summary.unreadable, summary.repaired_lines) == (1, 1, 0)


async def test_sound_lines_are_appended_as_they_stand(connection: Connection, dsn: str, ledger: Ledger) -> None:
    body = sample("fabric", "offers.redemption.coupon.created")

    summary = await imported(connection, dsn, ledger, "fabric", body, repair=True)

    assert (summary.appended, summary.repaired_lines) == (1, 0)
    assert json.loads(await connection.fetchval("SELECT payload FROM ledger.events")) == json.loads(body)


async def test_what_cannot_be_read_is_stored_on_request_only(connection: Connection, dsn: str, ledger: Ledger) -> None:
    summary = await imported(connection, dsn, ledger, "ascenda", b"oops", ASCENDA, repair=False, quarantine=False)

    assert (summary.lines, summary.appended, summary.unreadable, summary.unreadable_lines) == (2, 0, 2, [1, 2])
    assert await connection.fetchval("SELECT count(*) FROM ledger.events") == 0


async def test_an_array_that_was_damaged_is_unpacked_after_its_repair(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    summary = await imported(connection, dsn, ledger, "fabric", rb'\[ {"a": 1}, {"b": 2} \]', repair=True)

    assert (summary.appended, summary.kinds) == (2, {"unknown": 2})
