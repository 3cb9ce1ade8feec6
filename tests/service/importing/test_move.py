"""A ledger is moved to another database while it takes deliveries: nothing acknowledged is lost, nothing forks."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.database import Session, connect
from ledger.errors import LedgerBusy, LedgerMoved, MoveFailed
from ledger.events import Delivery
from ledger.privacy.access_log import accesses_after, record_access
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import read
from ledger.store.append import AppendResult, append
from ledger.store.registry import Ledger, create_connection, create_ledger, find_connection, find_ledger
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from service.embedded.server import EmbeddedPostgres
from service.importing import move
from service.importing.move import LedgerMove, MasterKeys
from service.operations.erase import erase
from service.outgoing import endpoints
from tests.conftest import fresh_database
from tests.service.outgoing.conftest import dispatching, make_endpoint, state_of, until_delivered
from tests.support.client import MASTER_KEY
from tests.support.payloads import capillary, delivery, issued, samples
from tests.support.receiver import receiving

URL = "https://other.example"
KEYS = MasterKeys(MASTER_KEY, MASTER_KEY)
EVENTS_BEFORE, SENDERS = 40, 4


@pytest.fixture(autouse=True)
def watchdog() -> None:
    """A move is a command of its own: no request waits for its event loop."""


@pytest.fixture
async def databases(postgres: EmbeddedPostgres) -> AsyncIterator[tuple[str, str]]:
    """Two databases, each with an active generation."""
    async with fresh_database(postgres) as here, fresh_database(postgres) as there:
        yield here, there


@pytest.fixture
async def sessions(databases: tuple[str, str]) -> AsyncIterator[tuple[Session, Session]]:
    source, target = [await connect(dsn) for dsn in databases]
    yield source, target
    await source.close()
    await target.close()


async def fill(source: Session) -> Ledger:
    await create_ledger(source, "stays")
    ledger = await create_ledger(source, "acme")
    vault = Vault(MASTER_KEY)
    bodies = [delivery(body) for body in samples("capillary")]
    bodies += [delivery(issued(f"{n}", n, n % 5, 10)) for n in range(EVENTS_BEFORE)]
    await append(source, vault, ledger.ledger_id, bodies)
    return ledger


def mover(sessions: tuple[Session, Session]) -> LedgerMove:
    return LedgerMove(*sessions, KEYS, lambda _done, _of: None)


async def test_a_ledger_moves_under_load_and_nothing_acknowledged_is_lost(
    databases: tuple[str, str], sessions: tuple[Session, Session]
) -> None:
    source, target = sessions
    ledger = await fill(source)
    acknowledged: dict[str, AppendResult] = {}
    redirected: list[str] = []

    async def send(sender: int) -> None:
        session, vault = await connect(databases[0], lock_seconds_max=1.0), Vault(MASTER_KEY)
        for n in range(100_000):
            name = f"load-{sender}-{n}"
            try:
                [[acknowledged[name]]] = await append(session, vault, ledger.ledger_id, [load_delivery(name)])
            except LedgerBusy:
                pass
            except LedgerMoved as error:
                redirected.append(error.url)
                break
            await asyncio.sleep(0.02)
        await session.close()

    async with asyncio.TaskGroup() as tasks:  # a failed move cancels the senders
        for number in range(SENDERS):
            tasks.create_task(send(number))
        result = await mover(sessions).run("acme", URL)

    moved = await find_ledger(target, "acme")
    names = list(acknowledged)
    again = await append(target, Vault(MASTER_KEY), moved.ledger_id, [load_delivery(name) for name in names])
    assert redirected == [URL] * SENDERS
    assert names
    assert [one.position for [one] in again] == [acknowledged[name].position for name in names]
    assert {one.outcome for [one] in again} == {"duplicate"}
    assert result.events == await read.tail(source, ledger.ledger_id) == await read.tail(target, moved.ledger_id)
    await catch_up(source, ledger.ledger_id)
    assert await compute_digest(target, moved.ledger_id) == await compute_digest(source, ledger.ledger_id)


def load_delivery(name: str) -> Delivery:
    """Return the delivery of a sender: `name` is load-SENDER-NUMBER."""
    number = int(name.rpartition("-")[2])
    return delivery(issued(name, number, number % 200, 1))


async def test_connections_and_persons_keys_move_and_erased_persons_stay_erased(
    sessions: tuple[Session, Session],
) -> None:
    source, target = sessions
    ledger = await fill(source)
    inbound = await create_connection(source, MASTER_KEY, ledger, source="capillary", label="shop")
    body = capillary("pointsIssued", "ann", 1, 77, totalPointsIssued=5,
                     customerIdentifiers={"customerId": 77, "instore": {"email": "ann@example.com"}})  # fmt: skip
    [[stored]] = await append(source, Vault(MASTER_KEY), ledger.ledger_id, [delivery(body)])
    await catch_up(source, ledger.ledger_id)
    await move_once_in_vain(sessions)
    subject = await source.fetchval("SELECT subject FROM ledger.personal WHERE position = $1", stored.position)
    await erase(source, Vault(MASTER_KEY), ledger, subject, by="test", reason="asked")

    await mover(sessions).run("acme", URL)

    moved = await find_ledger(target, "acme")
    keys = "SELECT count(*) FROM ledger.personal_keys WHERE ledger_id = $1"
    assert (await find_connection(target, MASTER_KEY, inbound.connection_id)).secrets == inbound.secrets
    assert await target.fetchval(keys, moved.ledger_id) == await source.fetchval(keys, ledger.ledger_id) > 0
    assert await target.fetchval(f"{keys} AND subject = $2", moved.ledger_id, subject) == 0


async def test_the_access_log_moves_and_goes_on_there(sessions: tuple[Session, Session]) -> None:
    source, target = sessions
    ledger = await fill(source)
    await record_access(source, ledger.ledger_id, "a key", "customer:1", "asked")
    await move_once_in_vain(sessions)
    await record_access(source, ledger.ledger_id, "a key", "customer:2", "asked")
    entries = await accesses_after(source, ledger.ledger_id, 0, 10)

    await mover(sessions).run("acme", URL)

    moved = await find_ledger(target, "acme")
    await record_access(target, moved.ledger_id, "a key", "customer:3", "asked")
    [*copied, last] = await accesses_after(target, moved.ledger_id, 0, 10)
    assert [entry.object for entry in entries] == ["customer:1", "customer:2"]
    assert copied == entries
    assert (last.number, last.object) == (3, "customer:3")


async def test_commands_about_a_ledger_that_has_not_moved_completely_stay_in_the_access_log_there(
    sessions: tuple[Session, Session],
) -> None:
    source, target = sessions
    ledger = await fill(source)
    await record_access(source, ledger.ledger_id, "a key", "customer:1", "asked")
    await move_once_in_vain(sessions)
    moved = await find_ledger(target, "acme")
    await record_access(target, moved.ledger_id, "operator", "command promote 2", "(command line, root)")
    await record_access(source, ledger.ledger_id, "a key", "customer:2", "asked")

    await mover(sessions).run("acme", URL)

    entries = [(entry.number, entry.object) for entry in await accesses_after(target, moved.ledger_id, 0, 10)]
    assert entries == [(1, "customer:1"), (2, "command promote 2"), (3, "customer:2")]


async def test_endpoints_move_with_their_positions_and_send_on_from_there_only(
    databases: tuple[str, str], sessions: tuple[Session, Session]
) -> None:
    source, target = sessions
    ledger = await fill(source)
    await catch_up(source, ledger.ledger_id)
    other_key = MasterKey(bytes(range(1, 33)))
    async with receiving() as receiver:
        made = await make_endpoint(source, ledger, receiver.url, types=["fact.recorded"], after=EVENTS_BEFORE)
        stopped = await make_endpoint(source, ledger, receiver.url)
        await endpoints.disable_endpoint(source, MASTER_KEY, stopped)
        async with dispatching(databases[0]):
            await until_delivered(source, made)
        before = len(receiver.ids)

        await LedgerMove(source, target, MasterKeys(MASTER_KEY, other_key), lambda _done, _of: None).run("acme", URL)
        moved = await find_ledger(target, "acme")
        body = delivery(issued("after", 1, 1, 1))
        await append(target, Vault(other_key), moved.ledger_id, [body])
        await catch_up(target, moved.ledger_id)
        there = await endpoints.find_endpoint(target, other_key, made.endpoint_id)
        async with dispatching(databases[0]), dispatching(databases[1], master_key=other_key):
            await until_delivered(target, there)

    assert len(receiver.ids) == len(set(receiver.ids)) > before
    receiver.verify(made.newest_secret or "")  # signed by the same secret
    assert (await endpoints.find_endpoint(source, MASTER_KEY, made.endpoint_id)).disabled_at is not None
    assert (await endpoints.find_endpoint(target, other_key, stopped.endpoint_id)).disabled_at is not None


async def test_a_move_that_fails_leaves_endpoints_at_work_here(sessions: tuple[Session, Session]) -> None:
    source, target = sessions
    ledger = await fill(source)
    made = await make_endpoint(source, ledger, "https://example.com/")
    broken = mover(sessions)
    with pytest.raises(asyncpg.PostgresError):
        await broken.run("acme", "\0")  # the ledger cannot be closed with this address

    assert (await endpoints.find_endpoint(source, MASTER_KEY, made.endpoint_id)).disabled_at is None
    waiting = await endpoints.find_endpoint(target, MASTER_KEY, made.endpoint_id)
    assert waiting.disabled_at is not None
    assert (await state_of(target, waiting))["stop_reason"] == "moved"
    await mover(sessions).run("acme", URL)
    assert (await endpoints.find_endpoint(target, MASTER_KEY, made.endpoint_id)).disabled_at is None


async def move_once_in_vain(sessions: tuple[Session, Session]) -> None:
    """Move all but the last step, as a command that is killed there does."""
    broken = mover(sessions)

    async def fail(_url: str) -> bytes:
        raise MoveFailed("killed")

    broken._finish = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(MoveFailed, match="killed"):
        await broken.run("acme", URL)


async def test_a_move_that_was_broken_off_is_repeated(sessions: tuple[Session, Session]) -> None:
    source, target = sessions
    ledger = await fill(source)
    await move_once_in_vain(sessions)
    await append(source, Vault(MASTER_KEY), ledger.ledger_id, [delivery(issued("later", 1, 1, 10))])

    result = await mover(sessions).run("acme", URL)

    assert result.events == await read.tail(target, (await find_ledger(target, "acme")).ledger_id)


async def test_a_ledger_whose_copy_differs_stays_and_takes_deliveries(
    sessions: tuple[Session, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = sessions
    ledger = await fill(source)

    async def catch_up_wrongly(connection: Session, ledger_id: int) -> None:
        await catch_up(connection, ledger_id)
        if connection is target:
            await connection.execute("UPDATE accounts SET available = available + 1 WHERE ledger_id = $1", ledger_id)

    monkeypatch.setattr(move, "catch_up", catch_up_wrongly)

    with pytest.raises(MoveFailed, match=r"rows differ at position .* in accounts"):
        await mover(sessions).run("acme", URL)

    [[after]] = await append(source, Vault(MASTER_KEY), ledger.ledger_id, [delivery(issued("later", 1, 1, 10))])
    assert after.outcome == "appended"


async def test_only_the_moved_ledger_is_closed(sessions: tuple[Session, Session]) -> None:
    source, _ = sessions
    await fill(source)
    await mover(sessions).run("acme", URL)
    stays = await find_ledger(source, "stays")

    [[after]] = await append(
        source, Vault(MASTER_KEY), stays.ledger_id, [delivery(issued("1", 1, 1, 1), ledger="stays")]
    )

    assert after == (1, "appended")
