"""Messages, signatures and the schedule of retries."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from ledger.credentials import make_standard
from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from service.outgoing import retry_schedule
from service.outgoing.endpoints import find_endpoint, rotate_secret, settle_secret
from service.outgoing.fact_feed import in_feed_order, read_page
from service.outgoing.message_types import MESSAGE_TYPES
from service.outgoing.messages import (
    CHANGES,
    FACTS,
    RETRACTIONS,
    FeedCursor,
    Message,
    encode_body,
    encode_message,
    request_id,
    sequence_of,
)
from service.outgoing.notices import read_notices
from service.outgoing.retry_schedule import is_given_up, retry_seconds
from service.outgoing.signatures import signature_headers
from service.server.openapi.document import build_document
from tests.service.outgoing.conftest import make_endpoint, record
from tests.service.outgoing.test_changes import read_all
from tests.support.client import MASTER_KEY
from tests.support.payloads import VAULT, delivery, issued, sample, samples
from tests.support.receiver import errors_of

SOURCES = ("ascenda", "capillary", "fabric", "voucherify")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def message(position: int, ordinal: int = 0, group: int = FACTS) -> Message:
    sequence = sequence_of(position, group, ordinal)
    return Message(FeedCursor(position), f"{position}/{group}/{ordinal}", "t", "s", NOW, sequence, b"{}")


def test_sequences_sort_as_texts_in_the_order_of_messages() -> None:
    places = [(1, FACTS, 0), (1, FACTS, 9_999), (1, RETRACTIONS, 1), (1, CHANGES, 3), (2, FACTS, 0), (10**13, FACTS, 7)]
    sequences = [sequence_of(*place) for place in places]

    assert sequences == sorted(sequences)
    assert {len(one) for one in sequences} == {20}


def test_a_request_is_verified_by_the_published_library_with_each_live_secret() -> None:
    old, new, other = make_standard(), make_standard(), make_standard()
    body = encode_body([message(1), message(2)], "acme", batched=True)
    at = datetime.now(UTC)

    headers = dict(signature_headers([old.encode(), new.encode()], "msg_1", at, body))

    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(other).verify(body, headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(old).verify(body + b" ", headers)


def test_the_id_of_a_request_names_its_messages_and_its_endpoint() -> None:
    ids = {
        request_id("ep_1", [message(1)]), request_id("ep_1", [message(1)]), request_id("ep_2", [message(1)]),
        request_id("ep_1", [message(1), message(2)]),
    }  # fmt: skip

    assert len(ids) == 3


def test_a_feed_goes_on_inside_an_event() -> None:
    messages = [message(5, 0), message(5, 1), message(5, 1, CHANGES), message(7)]

    whole = in_feed_order(messages, FeedCursor(4))

    assert [one.cursor for one in whole] == [FeedCursor(4, 1), FeedCursor(4, 2), FeedCursor(4, 3), FeedCursor(6, 1)]
    assert in_feed_order(messages, FeedCursor(4, 2)) == whole[2:]
    assert in_feed_order(messages[3:], FeedCursor(6, 1)) == []


def test_pauses_grow_to_hours_with_jitter_and_keep_the_receivers_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_schedule, "RETRY_SECONDS", 5.0)
    monkeypatch.setattr(retry_schedule, "RETRY_SECONDS_MAX", 14_400.0)

    longest = [retry_seconds(failures, 0.0) for failures in (1, 2, 3, 12, 1_000)]

    assert longest == [5.0, 10.0, 20.0, 10_240.0, 14_400.0]
    assert retry_seconds(3, 1.0) == 10.0
    assert retry_seconds(1, 0.0, asked_seconds=60) == 60
    assert retry_seconds(1, 0.0, asked_seconds=10**9) == 14_400
    assert is_given_up(NOW - timedelta(days=5), NOW, 5)
    assert not is_given_up(NOW - timedelta(days=4), NOW, 5)


async def test_a_rotation_signs_by_two_secrets_until_it_is_settled(connection: Connection, ledger: Ledger) -> None:
    made = await make_endpoint(connection, ledger, "https://example.com/")
    first = made.secrets[0].decode()

    second = await rotate_secret(connection, MASTER_KEY, made)
    rotated = await find_endpoint(connection, MASTER_KEY, made.endpoint_id)
    await settle_secret(connection, MASTER_KEY, rotated)
    settled = await find_endpoint(connection, MASTER_KEY, made.endpoint_id)

    assert [secret.decode() for secret in rotated.secrets] == [first, second]
    assert [secret.decode() for secret in settled.secrets] == [second]
    assert second.encode() not in await connection.fetchval("SELECT secrets[1] FROM outgoing.endpoints")


async def test_messages_hold_no_personal_value_of_a_sample(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, sample("capillary", "customerAdded"), issued("a", 0, 1, 10))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/")

    page = await read_page(connection, endpoint, FeedCursor(0))

    body = encode_body(page.messages, "acme", batched=True).decode()
    assert "fact.recorded" in body
    assert "@" not in body


async def test_an_event_that_loses_a_conflict_takes_its_facts_back(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 10, 1, 10))
    await record(connection, ledger, issued("a", 5, 1, 7))  # the same event, dated earlier: it wins
    endpoint = await make_endpoint(connection, ledger, "https://example.com/")

    page = await read_page(connection, endpoint, FeedCursor(0))

    kinds = [(one.identifier, one.type) for one in page.messages if "lot" not in one.identifier]
    assert ("1/0", "fact.recorded") in kinds
    assert ("2/fact.retracted/1/0", "fact.retracted") in kinds
    assert kinds.index(("2/0", "fact.recorded")) < kinds.index(("2/fact.retracted/1/0", "fact.retracted"))


async def test_every_message_of_all_samples_follows_the_published_schema(
    connection: Connection, ledger: Ledger
) -> None:
    for source in SOURCES:
        for body in samples(source):
            await append(connection, VAULT, ledger.ledger_id, [delivery(body, source)])
    await record(connection, ledger, issued("a", 10, 1, 100), issued("a", 5, 1, 60))  # a conflict
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", notice_days=366)

    feed = await read_all(connection, endpoint)
    notices = await read_notices(connection, endpoint, datetime(2026, 1, 1, tzinfo=UTC))
    events = [json.loads(encode_message(one, "acme")) for one in [*feed, *(notice.message for notice in notices)]]

    assert [error for event in events for error in errors_of(event)] == []
    assert {event["type"] for event in events} >= {
        "fact.recorded", "fact.retracted", "balance.changed", "tier.changed", "order_item.failed",
        "reconciliation.opened",
    }  # fmt: skip


def test_every_type_is_documented_with_a_valid_example() -> None:
    document = build_document()

    assert document["webhooks"].keys() == MESSAGE_TYPES.keys()
    for name, path in document["webhooks"].items():
        content = path["post"]["requestBody"]["content"]["application/cloudevents+json"]
        assert content["example"]["type"] == name
        assert set(content["example"]) >= set(content["schema"]["required"])
        assert errors_of(json.loads(json.dumps(content["example"], default=str))) == []
