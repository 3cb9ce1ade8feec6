"""A failure of pure code costs the event or the subject that it fails on: never a ledger, a rebuild or a report.

Each case makes our own code raise, at one boundary, on what concerns customer 2 of one ledger, with an exception that
nobody foresees. Then everything that runs over the ledgers runs, and everybody else's figures are as they should be.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple, cast

import pytest

from ledger import facts
from ledger.database import Connection, connect
from ledger.facts import Fact, Occurrence
from ledger.facts.accounts import Redeemed
from ledger.facts.merges import HolderMerged
from ledger.intake.interpret import interpret
from ledger.store import read
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from ledger.vendors.capillary import CAPILLARY
from ledger.vendors.repair_report import list_repairs
from ledger.vendors.vendor import EventType, Identity, ParsedEvent
from projections.accounts import ACCOUNTS
from projections.definition import fold_until_failure
from projections.engine import snapshots
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from projections.queries.account_history import histories, snapshot
from projections.queries.as_of import AsOf, fold_known, load_known
from projections.queries.explain import account_steps
from projections.rebuild import rebuild
from projections.rebuild.estimate import plan_rebuild
from projections.rebuild.recheck_events import recheck_events
from projections.rebuild.scope import EVERYTHING
from projections.rebuild.verify_rows import check_rows
from tests.properties.test_terms import terms_set
from tests.support.client import serving
from tests.support.interpretation import deliver
from tests.support.payloads import PROGRAMME, VAULT, adjusted, delivery, expired, issued, merged, redeemed

POISONED = "capillary:9001:2"
TERMS = {"effective_from": "2020-01-01", "time_zone": "UTC", "expiry": {"rule": "never"}}


class Unforeseen(Exception):
    """Nothing in the software knows of it."""


def fail(error: type[BaseException] = Unforeseen) -> Any:
    raise error("what it says may be personal: Ann, ann@example.com")


@contextmanager
def replaced(thing: Any, name: str, value: Any) -> Iterator[None]:
    """Put another attribute in a frozen value's place for a while."""
    before = getattr(thing, name)
    object.__setattr__(thing, name, value)
    try:
        yield
    finally:
        object.__setattr__(thing, name, before)


@contextmanager
def exchanged(mapping: Any, key: Any, value: Any) -> Iterator[None]:
    before = mapping[key]
    mapping[key] = value
    try:
        yield
    finally:
        mapping[key] = before


def concerns(something: Any) -> bool:
    """Say whether customer 2 is meant, by a document, a shape, a fact or a name."""
    return something == POISONED or "'customerId': 2}" in repr(something) or "customer_id='2'" in repr(something)


class Boundary(NamedTuple):
    """Where pure code is made to fail, and what that costs: an event that is not read, or a subject that is parked."""

    inject: Callable[[type[BaseException]], ExitStack]
    costs: str  # "event" or "subject"


def injected(*managers: Any) -> ExitStack:
    stack = ExitStack()
    for manager in managers:
        stack.enter_context(manager)
    return stack


def in_facts(error: type[BaseException]) -> ExitStack:
    kind = CAPILLARY.kinds["pointsRedeemed"]
    failing = replace(kind, facts=lambda event, context: fail(error) if concerns(event) else kind.facts(event, context))
    return injected(exchanged(CAPILLARY.kinds, "pointsRedeemed", failing))


def in_time(error: type[BaseException]) -> ExitStack:
    kind = CAPILLARY.kinds["pointsRedeemed"]
    failing = replace(kind, occurred=lambda event: fail(error) if concerns(event) else None)
    return injected(exchanged(CAPILLARY.kinds, "pointsRedeemed", failing))


def in_model(error: type[BaseException]) -> ExitStack:
    kind: EventType[Any] = CAPILLARY.kinds["pointsRedeemed"]

    class Failing(kind.model):  # type: ignore[name-defined, misc]
        @classmethod
        def model_validate(cls, body: Any, **how: Any) -> Any:
            return fail(error) if concerns(body) else kind.model.model_validate(body, **how)

    return injected(exchanged(CAPILLARY.kinds, "pointsRedeemed", replace(kind, model=Failing)))


def in_envelope(error: type[BaseException]) -> ExitStack:
    parse = CAPILLARY.parse_envelope
    return injected(
        replaced(
            CAPILLARY,
            "parse_envelope",
            lambda document, kind: (
                fail(error)
                if concerns(document.value) and document.value["eventName"] == "pointsRedeemed"
                else parse(document, kind)
            ),
        )
    )


def in_identity(error: type[BaseException]) -> ExitStack:
    parse = CAPILLARY.parse_envelope

    def failing(document: Any, kind: str | None) -> list[ParsedEvent] | None:
        members = parse(document, kind)
        if members and members[0].kind == "pointsRedeemed" and concerns(document.value):
            return [members[0]._replace(identity=lambda: fail(error))]
        return members

    return injected(replaced(CAPILLARY, "parse_envelope", failing))


def in_content(error: type[BaseException]) -> ExitStack:
    """Identity is worked out, but what it gives cannot be hashed."""
    parse = CAPILLARY.parse_envelope

    def failing(document: Any, kind: str | None) -> list[ParsedEvent] | None:
        members = parse(document, kind)
        if members and members[0].kind == "pointsRedeemed" and concerns(document.value):
            return [members[0]._replace(identity=lambda: Identity(("id", "1"), {"a": object()}))]
        return members

    return injected(replaced(CAPILLARY, "parse_envelope", failing))


def in_persons(error: type[BaseException]) -> ExitStack:
    person = CAPILLARY.personal.person
    failing = replace(
        CAPILLARY.personal,
        person=lambda key, structure: fail(error) if structure.get("poison") else person(key, structure),
    )
    return injected(replaced(CAPILLARY, "personal", failing))


class Nameless(Fact, frozen=True, kw_only=True):
    subject_kind = "account"

    @property
    def subject(self) -> str:
        raise Unforeseen


def in_subject(error: type[BaseException]) -> ExitStack:
    kind = CAPILLARY.kinds["pointsRedeemed"]
    failing = replace(
        kind, facts=lambda event, context: [Nameless()] if concerns(event) else kind.facts(event, context)
    )
    return injected(exchanged(CAPILLARY.kinds, "pointsRedeemed", failing))


def in_rule(error: type[BaseException]) -> ExitStack:
    rule = ACCOUNTS.on[Redeemed]

    def failing(state: Any, fact: Redeemed, occurrence: Occurrence) -> None:
        rule(fail(error) if fact.holder == POISONED else state, fact, occurrence)

    return injected(exchanged(ACCOUNTS.on, Redeemed, failing))


def in_rows(error: type[BaseException]) -> ExitStack:
    """The rows cannot be made from the redemption of 33 on."""
    rows = ACCOUNTS.rows

    def failing(subject: str, wallet: Any) -> Any:
        made = rows(subject, wallet)
        if subject == POISONED and any(row.redeemed for row in cast(Any, made["accounts"])):
            fail(error)
        return made

    return injected(replaced(ACCOUNTS, "rows", failing))


def in_lines(error: type[BaseException]) -> ExitStack:
    lines = ACCOUNTS.take_rows
    assert lines is not None

    def failing(subject: str, wallet: Any) -> Any:
        if subject == POISONED and any(line.kind == "Redeemed" for line in wallet.lines):
            fail(error)
        return lines(subject, wallet)

    return injected(replaced(ACCOUNTS, "take_rows", failing))


def in_states(error: type[BaseException]) -> ExitStack:
    """No state can be written down or read back: everybody is folded from the facts."""

    class Failing:
        def encode(self, _state: Any) -> bytes:
            return fail(error)  # type: ignore[no-any-return]

    return injected(replaced(snapshots, "_ENCODER", Failing()), replaced(snapshots, "FACTS_PER_SNAPSHOT", 1))


def in_stored_facts(error: type[BaseException]) -> ExitStack:
    decoder = facts._DECODERS["Redeemed"]

    class Failing:
        def decode(self, body: bytes) -> Any:
            return fail(error) if POISONED.encode() in body else decoder.decode(body)

    return injected(exchanged(facts._DECODERS, "Redeemed", Failing()))


BOUNDARIES = {
    "its facts": Boundary(in_facts, "event"),
    "its time": Boundary(in_time, "event"),
    "its shape": Boundary(in_model, "event"),
    "its envelope": Boundary(in_envelope, "event"),
    "its identity": Boundary(in_identity, "nothing"),
    "its content": Boundary(in_content, "nothing"),
    "its persons": Boundary(in_persons, "body"),
    "its subject": Boundary(in_subject, "event"),
    "a rule": Boundary(in_rule, "subject"),
    "rows": Boundary(in_rows, "subject"),
    "lines": Boundary(in_lines, "subject"),
    "states": Boundary(in_states, "nothing"),
    "a stored fact": Boundary(in_stored_facts, "stored"),
}


@pytest.fixture
async def beta(connection: Connection) -> Ledger:
    return await create_ledger(connection, "beta")


def poisoned_redemption() -> bytes:
    return redeemed("5", 5, 2, 33).replace(b'"data": {', b'"data": {"mobile": "6123456789", "poison": true, ', 1)


async def balances(connection: Connection, ledger: Ledger) -> dict[str, Decimal]:
    rows = await connection.fetch("SELECT subject, available FROM accounts WHERE ledger_id = $1", ledger.ledger_id)
    return {row["subject"].rpartition(":")[2]: row["available"] for row in rows}


@pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES.keys())
async def test_an_unforeseen_failure_costs_one_event_or_one_subject(
    connection: Connection, dsn: str, ledger: Ledger, beta: Ledger, boundary: Boundary
) -> None:
    bodies = [issued("1", 0, 1, 100), issued("2", 1, 2, 50), issued("3", 2, 3, 70), redeemed("4", 4, 1, 10)]
    with boundary.inject(Unforeseen):
        await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
        await catch_up(connection, ledger.ledger_id)
        await append(
            connection, VAULT, ledger.ledger_id, [delivery(poisoned_redemption()), delivery(redeemed("6", 6, 3, 7))]
        )
        await append(connection, VAULT, beta.ledger_id, [delivery(issued("1", 0, 2, 40), ledger="beta")])

        for one in (ledger, beta):
            await catch_up(connection, one.ledger_id)
        live = [await compute_digest(connection, one.ledger_id, untimed=True) for one in (ledger, beta)]
        report = await rebuild(dsn, workers=1)
        again = await connect(dsn)

        is_stored = boundary.costs == "stored"  # live had the fact in its hands before it was stored
        left = 17 if boundary.costs == "nothing" or is_stored else 50
        assert await balances(again, ledger) == {"1": 90, "2": left, "3": 63}
        assert (await balances(again, beta))["2"] == 40
        assert report.promoted is not is_stored
        if not is_stored:
            assert [await compute_digest(again, one.ledger_id, untimed=True) for one in (ledger, beta)] == live
            assert (await check_rows(again, ledger)).wrong == []
        assert (await recheck_events(again, ledger, lambda _done, _of: None)).events == 6
        await plan_rebuild(again, ledger, EVERYTHING, "ledger", 1)
        async with snapshot(again):
            assert len([book async for book in histories(again, ledger.ledger_id, 5)]) == 3
        for known in await load_known(again, ledger.ledger_id, ACCOUNTS, [POISONED], AsOf()):
            fold_known(ACCOUNTS, known)
            list(account_steps(known, f"{POISONED}:{PROGRAMME}:points"))
        event = await read.event_at(again, ledger.ledger_id, 5)
        list_repairs(CAPILLARY, event.kind, event.payload)
        meaning = interpret(event)
        await _names_the_failure(again, ledger, boundary, meaning.reason)
        await again.close()


async def _names_the_failure(connection: Connection, ledger: Ledger, boundary: Boundary, reason: str | None) -> None:
    """It is told which exception it was and where, and nothing that it said."""
    unread = [row["reason"] for row in await connection.fetch("SELECT reason FROM unread")]
    parked = [row["parked"] for row in await connection.fetch("SELECT parked FROM subjects WHERE parked IS NOT NULL")]
    match boundary.costs:
        case "event" | "body":
            assert unread == [reason]
            assert parked == []
        case "subject":
            assert unread == []
            assert len(parked) == 1
            reason = parked[0]
        case _:
            assert unread == []
            return
    assert reason is not None
    assert "Unforeseen" in reason
    assert "Ann" not in reason


@pytest.mark.parametrize("error", [RecursionError, MemoryError, ArithmeticError, KeyError, AssertionError])
def test_whatever_is_raised_is_contained(error: type[Exception]) -> None:
    bodies = [issued("1", 0, 2, 50), redeemed("5", 5, 2, 33)]
    told = [one for body in bodies for _, meaning in deliver("capillary", body) for one in meaning.facts]

    with in_facts(error):
        [(_, unread)] = deliver("capillary", bodies[1])
    folded = []
    for inject in (in_rule, in_rows):
        with inject(error):
            folded.append(fold_until_failure(ACCOUNTS, POISONED, told))

    assert (unread.facts, unread.status) == ((), "unrecognised")
    for one in folded:
        assert [row.available for row in one.rows["accounts"]] == [50]  # type: ignore[attr-defined]
        assert one.facts == 1
        assert error.__name__ in str(one.parked)
        assert error.__name__ in str(unread.reason)


async def test_a_subject_whose_rows_failed_goes_on_once_they_can_be_made(
    connection: Connection, ledger: Ledger
) -> None:
    with in_rows(Unforeseen):
        await append(connection, VAULT, ledger.ledger_id, [delivery(issued("1", 0, 2, 50))])
        await append(connection, VAULT, ledger.ledger_id, [delivery(redeemed("2", 1, 2, 33))])
        await catch_up(connection, ledger.ledger_id)
        assert await balances(connection, ledger) == {"2": 50}

    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("3", 2, 2, 8))])
    await catch_up(connection, ledger.ledger_id)

    assert await balances(connection, ledger) == {"2": 25}
    assert await connection.fetchval("SELECT count(*) FROM subjects WHERE parked IS NOT NULL") == 0


async def test_a_merge_whose_rule_fails_parks_the_two_holders_alone(connection: Connection, ledger: Ledger) -> None:
    joins = ACCOUNTS.merging_facts[HolderMerged]
    bodies = [issued("1", 0, 1, 100), issued("2", 1, 2, 50), issued("3", 2, 3, 70), merged("4", 3, 1, 2)]

    with exchanged(
        ACCOUNTS.merging_facts, HolderMerged, lambda fact: fail() if fact.victim == POISONED else joins(fact)
    ):
        await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
        await catch_up(connection, ledger.ledger_id)
        await append(connection, VAULT, ledger.ledger_id, [delivery(expired("5", 4, 3, 20))])
        await catch_up(connection, ledger.ledger_id)

    assert (await balances(connection, ledger))["3"] == 50


async def test_terms_on_which_the_code_fails_leave_other_programmes_accounts_alone(
    connection: Connection, ledger: Ledger
) -> None:
    under = ACCOUNTS.attach_terms
    assert under is not None

    def failing(wallet: Any, terms: Any) -> None:
        fail()

    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("1", 0, 1, 100))])
    await catch_up(connection, ledger.ledger_id)
    with replaced(ACCOUNTS, "attach_terms", failing):
        await append(
            connection, VAULT, ledger.ledger_id, [delivery(terms_set("t", TERMS)), delivery(adjusted("a", 2, 1, 5))]
        )

        assert await catch_up(connection, ledger.ledger_id) == 3

    assert await connection.fetchval("SELECT count(*) FROM subjects WHERE parked IS NOT NULL") == 1


async def test_the_event_s_own_page_and_an_account_s_page_answer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        with in_rule(Unforeseen):
            await acme.deliver(issued("1", 0, 2, 50))
            status, _ = await acme.deliver(redeemed("2", 1, 2, 33))
            assert status == 200

            account = await acme.ask_now(f"/v1/accounts/{POISONED}:{PROGRAMME}:points")
            explained = await acme.ask_now(f"/v1/accounts/{POISONED}:{PROGRAMME}:points/explanation")
            event = await acme.ask_now("/v1/ledger/events/2")
            parked = await acme.ask_now("/v1/reconciliation/parked")

    assert account["available"] == "50"
    assert "Unforeseen" in str(explained)
    assert event["unread"] is None
    assert "Unforeseen" in parked["items"][0]["reason"]


async def test_a_fault_in_the_report_of_repairs_is_told_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.vendors.repair_report.field_parsers", lambda _models: fail())

    [told] = list_repairs(CAPILLARY, "pointsIssued", b'{"eventName": "pointsIssued"}')

    assert told.rule.startswith("the repairs cannot be listed: Unforeseen")
