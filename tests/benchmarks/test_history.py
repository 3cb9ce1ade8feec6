from collections import Counter
from datetime import UTC, datetime

from benchmarks.history import history
from benchmarks.simulation import Mix, SentDelivery
from ledger.events import Event, Origin
from ledger.intake.identify import identify
from ledger.intake.interpret import interpret

DELIVERIES = 3_000
RECORDED_AT = datetime(2026, 1, 1, tzinfo=UTC)


def told(sent: SentDelivery) -> list[Event]:
    origin = Origin("bench", "connection", sent.source, None, b"mask")
    delivery = identify(origin, sent.body)
    return [
        Event(
            position=1,
            source=draft.source,
            org=draft.org,
            kind=draft.kind,
            event_key=draft.event_key,
            content=draft.content,
            occurred_at=draft.occurred_at,
            recorded_at=RECORDED_AT,
            ordinal=draft.ordinal,
            payload=delivery.payload,
        )
        for draft in delivery.events
    ]


def test_a_seed_tells_the_same_history_again() -> None:
    assert list(history(DELIVERIES)) == list(history(DELIVERIES))


def test_a_longer_history_begins_as_a_shorter_one_does() -> None:
    assert list(history(2 * DELIVERIES))[:DELIVERIES] == list(history(DELIVERIES))


def test_every_delivery_is_recognised_and_has_a_time() -> None:
    for sent in history(DELIVERIES):
        for event in told(sent):
            meaning = interpret(event)

            assert meaning.status is None, (event.kind, meaning.reason)
            assert not any(one.occurrence.untimed for one in meaning.facts)


def test_shares_of_duplicates_and_conflicts_are_as_asked_for() -> None:
    mix = Mix(late=0.05, duplicates=0.1, conflicts=0.02)

    contents: dict[bytes, list[bytes]] = {}
    for sent in history(DELIVERIES, mix):
        for event in told(sent):
            contents.setdefault(event.event_key, []).append(event.content)

    again = Counter("duplicate" if len(set(of)) == 1 else "conflict" for of in contents.values() if len(of) > 1)
    assert 0.05 < again["duplicate"] / DELIVERIES < 0.15
    assert 0.005 < again["conflict"] / DELIVERIES < 0.03


def test_histories_of_two_seeds_share_no_event() -> None:
    keys = [
        {event.event_key for sent in history(DELIVERIES, Mix(seed=seed)) for event in told(sent)} for seed in (1, 2)
    ]

    assert not keys[0] & keys[1]


def test_some_customers_appear_far_more_often_than_others() -> None:
    holders = Counter(
        one.fact.subject
        for sent in history(DELIVERIES, Mix(customers=1_000))
        for event in told(sent)
        for one in interpret(event).facts
        if one.fact.subject_kind == "account"
    )

    top = sum(count for _, count in holders.most_common(len(holders) // 20))
    assert top > holders.total() / 6
