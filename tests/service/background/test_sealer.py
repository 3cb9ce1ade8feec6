"""The sealer in the running service: the times of signing, reported problems, and the receivers of checkpoints."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ledger import clock
from ledger.database import Connection
from ledger.errors import SignerUnknown
from ledger.merkle import root_of
from ledger.store import api_keys, registry
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.transparency import tree_heads
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import Note, read_note, verify
from ledger.transparency.signer import Signer
from ledger.transparency.witness import Witness, WitnessRequest
from service.background import sealer
from service.server.app import make_app
from service.server.witness_app import make_witness_app
from service.settings import Settings
from tests.support.client import MASTER_KEY
from tests.support.payloads import VAULT, delivery, issued

WAIT_SECONDS_MAX = 30.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(sealer, "RETRY_SECONDS", 0.05)


@contextlib.asynccontextmanager
async def sealing(dsn: str, folder: Path, **settings: Any) -> AsyncIterator["TestClient[Any, Any]"]:
    """A service that seals, with a signer in a folder."""
    signer = Signer(folder / "signer", site="logs.example")
    app = make_app(dsn, Settings(**settings), MASTER_KEY, signer=signer)
    async with TestClient(TestServer(app)) as client:
        yield client


async def append_events(connection: Connection, ledger: Ledger, count: int, name: str = "e") -> None:
    deliveries = [delivery(issued(f"{name}{number}", number, 1, 10)) for number in range(count)]
    await append(connection, VAULT, ledger.ledger_id, deliveries)


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """Poll until there is a result."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not (found := await look()):  # noqa: ASYNC110 -- what is awaited is in another program's hands
            await asyncio.sleep(0.02)
    return found


async def size_of(connection: Connection, ledger: Ledger) -> int:
    signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
    return 0 if signed is None else signed.size


async def until_size(connection: Connection, ledger: Ledger, size: int) -> None:
    async def reached() -> bool:
        return await size_of(connection, ledger) == size

    await until(reached)


async def test_events_are_sealed_while_the_service_runs(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    other = await registry.create_ledger(connection, "other")
    async with sealing(dsn, tmp_path, checkpoint_seconds=0):
        await append_events(connection, ledger, 300)
        await append_events(connection, other, 1)

        await until_size(connection, ledger, 300)
        await until_size(connection, other, 1)


async def test_a_checkpoint_waits_for_enough_events_or_time(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    async with sealing(dsn, tmp_path, checkpoint_events=10, checkpoint_seconds=3600):
        await append_events(connection, ledger, 1)
        await until_size(connection, ledger, 1)  # the first checkpoint is due at once
        await append_events(connection, ledger, 9, "nine")
        await append_events(connection, ledger, 1, "tenth")
        await until_size(connection, ledger, 11)

    sizes = [row["size"] for row in await connection.fetch("SELECT size FROM ledger.checkpoints ORDER BY checkpoint")]
    assert sizes == [1, 11]


async def test_a_role_without_the_right_to_seal_logs_it_once(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await append_events(connection, ledger, 1)
    as_projector = f"{dsn}{'&' if '?' in dsn else '?'}options=-c%20role%3Dloyalty_projector"
    task = asyncio.create_task(sealer.Sealer(as_projector, Signer(tmp_path / "signer"), Settings()).run())

    async def told() -> bool:
        return "nothing is sealed here" in caplog.text

    await until(told)
    task.cancel()
    assert await size_of(connection, ledger) == 0


async def test_an_unsigned_ledger_reports_the_problem_and_still_accepts_events(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await append_events(connection, ledger, 5)
    key = await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
    async with sealing(dsn, tmp_path, checkpoint_seconds=0):
        await until_size(connection, ledger, 5)
    await connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
    await connection.execute("DELETE FROM ledger.events WHERE position > 3")
    await connection.execute("ALTER TABLE ledger.events ENABLE ALWAYS TRIGGER append_only")

    async with sealing(dsn, tmp_path, checkpoint_seconds=0) as client:

        async def problem() -> Any:
            response = await client.get("/v1/ledger/checkpoint", headers={"Authorization": f"Bearer {key}"})
            return (await response.json())["problem"]

        told = await until(problem)
        assert told["kind"] == "HeadInconsistent"
        assert "3 events, and a head of 5" in told["detail"]
        assert (await client.get("/ready")).status == 200
        await append_events(connection, ledger, 5, "later")

        async def rewritten() -> Any:
            return "first 5 events differ" in (await problem())["detail"]

        await until(rewritten)

    assert "NOT SEALED here: ledger acme" in caplog.text
    assert await size_of(connection, ledger) == 5
    assert await connection.fetchval("SELECT count(*) FROM ledger.seal_problems") == 2  # each is logged once


async def test_an_old_event_that_was_changed_is_found_without_asking_and_signing_waits_until_it_is_right(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await append_events(connection, ledger, 600)
    change = "UPDATE ledger.events SET entry = $1 WHERE position = 300"
    entry = await connection.fetchval("SELECT entry FROM ledger.events WHERE position = 300")
    async with sealing(dsn, tmp_path, checkpoint_seconds=0):
        await until_size(connection, ledger, 600)
        await connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        await connection.execute(change, entry + b" ")

        async def problem() -> Any:
            return await tree_heads.current_seal_problem(connection, ledger.ledger_id)

        found = await until(problem)
        assert found.detail.endswith("(position 300 does not have its hash)")
        await append_events(connection, ledger, 1, "later")
        restoring = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute(change, entry)
        await until_size(connection, ledger, 601)
        signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
        assert signed is not None
        assert signed.signed_at > restoring
        await connection.execute("ALTER TABLE ledger.tiles DISABLE TRIGGER ALL")
        await connection.execute("UPDATE ledger.tiles SET root = $1 WHERE number = 1", bytes(32))

        found = await until(problem)
        assert found.kind == "TreeChanged"


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_service_with_a_wrong_clock_seals_in_time_and_reports_the_clock(
    dsn: str,
    connection: Connection,
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    hours: int,
) -> None:
    monkeypatch.setattr(clock, "CLOCK", clock.Clock(lambda: clock.wall_time() + timedelta(hours=hours)))
    key = await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
    await append_events(connection, ledger, 1)
    async with sealing(dsn, tmp_path, checkpoint_seconds=0.5) as client:
        await until_size(connection, ledger, 1)
        await append_events(connection, ledger, 1, "later")
        await until_size(connection, ledger, 2)
        told = await (await client.get("/v1/ledger/checkpoint", headers={"Authorization": f"Bearer {key}"})).json()
        ready = await client.get("/ready")

        expected = f"the clock of this service is 7200 s {'ahead of' if hours > 0 else 'behind'} the database's"
        assert (told["problem"], told["clock"]) == (None, expected)
        assert (ready.status, (await ready.json())["clock"]) == (200, expected)
        off = clock.now() - await connection.fetchval("SELECT clock_timestamp()")
        assert abs(off) < timedelta(seconds=clock.WARN_SECONDS_MIN)
        await clock.CLOCK.compare(connection)

    assert caplog.text.count(expected) == 1, "it is told once"


async def test_a_checkpoint_is_due_after_some_seconds_though_the_databases_clock_was_set_back(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await append_events(connection, ledger, 1)
    async with sealing(dsn, tmp_path, checkpoint_seconds=0.3):
        await until_size(connection, ledger, 1)
        await connection.execute("ALTER TABLE ledger.checkpoints DISABLE TRIGGER ALL")
        await connection.execute("UPDATE ledger.checkpoints SET signed_at = signed_at + interval '2 hours'")
        await append_events(connection, ledger, 1, "later")

        await until_size(connection, ledger, 2)

    assert await connection.fetchval(
        "SELECT max(signed_at) FILTER (WHERE size = 2) >= max(signed_at) FROM ledger.checkpoints"
    )


async def test_a_sealer_without_the_signers_folder_signs_nothing_and_troubles_nobody(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await append_events(connection, ledger, 1)
    async with sealing(dsn, tmp_path, checkpoint_seconds=0):
        await until_size(connection, ledger, 1)
        stranger = asyncio.create_task(
            sealer.Sealer(dsn, Signer(tmp_path / "elsewhere"), Settings(checkpoint_seconds=0)).run()
        )

        async def told() -> bool:
            size = await size_of(connection, ledger)
            await append_events(connection, ledger, 1, f"after{size}")
            await until_size(connection, ledger, size + 1)
            return "mount its folder (LOYALTY_SIGNER); --adopt only if that is lost" in caplog.text

        await until(told)
        stranger.cancel()
        await asyncio.gather(stranger, return_exceptions=True)

    assert await connection.fetchval("SELECT count(*) FROM ledger.seal_problems") == 0
    assert await connection.fetchval("SELECT count(*) FROM ledger.log_keys") == 1
    assert not (tmp_path / "elsewhere" / "keys").exists()


async def test_a_ledger_that_nobody_else_seals_has_a_problem_without_its_signer(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealer, "SIGNED_ELSEWHERE_SECONDS", 0.2)
    await append_events(connection, ledger, 1)
    await tree_heads.sign_head(connection, Signer(tmp_path / "lost", site="logs.example"), ledger)
    await append_events(connection, ledger, 1, "later")
    async with sealing(dsn, tmp_path, checkpoint_seconds=0):

        async def problem() -> Any:
            return await tree_heads.current_seal_problem(connection, ledger.ledger_id)

        assert (await until(problem)).kind == "HeadForgotten"


async def test_of_two_signers_that_begin_at_once_one_signs(
    connection: Connection, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append_events(connection, ledger, 1)
    one, other = Signer(tmp_path / "one", site="logs.example"), Signer(tmp_path / "other", site="logs.example")
    sign = Signer.sign

    def sign_late(self: Signer, *arguments: Any, **more: Any) -> bytes:
        note = sign(self, *arguments, **more)
        if self is other:  # the first is faster at this moment
            text = "INSERT INTO ledger.log_keys (ledger_id, log, key) VALUES ($1, 1, $2)"
            one.ensure_key()
            [key] = one.keys("logs.example/acme")
            asyncio.run_coroutine_threadsafe(
                connection.execute(text, ledger.ledger_id, key.public.write()), loop
            ).result()
        return note

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Signer, "sign", sign_late)

    with pytest.raises(SignerUnknown):
        await tree_heads.sign_head(connection, other, ledger)

    assert await connection.fetchval("SELECT count(*) FROM ledger.checkpoints") == 0


@contextlib.asynccontextmanager
async def a_witness(folder: Path) -> AsyncIterator[tuple[Witness, str]]:
    made = Witness(folder, "witness.example/w1")
    async with TestServer(make_witness_app(made)) as server:
        yield made, str(server.make_url("")).rstrip("/")


async def test_witnesses_cosign_and_their_word_is_served_with_the_checkpoint(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    key = await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
    signer = Signer(tmp_path / "signer", site="logs.example")
    signer.ensure_key()
    async with a_witness(tmp_path / "witness") as (witness, url):
        [log] = signer.keys("logs.example/acme")
        witness.trust(log.public)
        settings = {"checkpoint_seconds": 0, "witnesses": f"{witness.key.write()} {url}"}
        async with sealing(dsn, tmp_path, **settings) as client:
            for size in (3, 300):
                await append_events(connection, ledger, size - await size_of(connection, ledger), str(size))

                async def cosigned(size: int = size) -> Any:
                    headers = {"Authorization": f"Bearer {key}"}
                    response = await client.get("/v1/ledger/tlog/checkpoint", headers=headers)
                    note = await response.read()
                    is_whole = note.startswith(f"logs.example/acme\n{size}\n".encode())
                    return note if is_whole and note.count("\N{EM DASH} ".encode()) == 2 else None

                note = read_note(await until(cosigned))
                assert verify(note, [log.public, witness.key]) == [log.public, witness.key]


async def test_an_old_copy_is_noticed_by_a_witness_that_has_seen_more(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await append_events(connection, ledger, 5)
    old = Signer(tmp_path / "old", site="logs.example")
    await tree_heads.sign_head(connection, old, ledger)
    [log] = old.keys("logs.example/acme")
    async with a_witness(tmp_path / "witness") as (witness, url):
        witness.trust(log.public)
        text = Checkpoint("logs.example/acme", 9, root_of([])).write()
        seen = Note(text, [log.sign(text)]).write().encode()
        assert witness.add_checkpoint(WitnessRequest(0, [], seen).write(), 1).status == 200
        settings = {"checkpoint_seconds": 0, "witnesses": f"{witness.key.write()} {url}"}
        (tmp_path / "signer").mkdir()
        for name in ("keys", "acme.checkpoint"):
            (tmp_path / "signer" / name).write_bytes((tmp_path / "old" / name).read_bytes())
        async with sealing(dsn, tmp_path, **settings):
            await append_events(connection, ledger, 1, "one")

            async def told() -> bool:
                return "it has cosigned 9 events, and this ledger has 6" in caplog.text

            await until(told)

    assert await connection.fetchval("SELECT count(*) FROM ledger.cosignatures") == 0


async def test_checkpoints_are_left_at_anchors(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[bytes] = []

    async def receive(request: web.Request) -> web.Response:
        received.append(await request.read())
        return web.Response(status=500 if len(received) == 1 else 204)

    place = web.Application()
    place.router.add_post("/anchor", receive)
    file = tmp_path / "anchors"
    async with TestServer(place) as server:
        settings = {"checkpoint_seconds": 0, "anchors": f"{file} {server.make_url('/anchor')}"}
        async with sealing(dsn, tmp_path, **settings):
            for size in (1, 2):
                await append_events(connection, ledger, 1, str(size))

                async def arrived(size: int = size) -> bool:
                    return len(received) == size

                await until(arrived)

    notes = [row["note"] for row in await connection.fetch("SELECT note FROM ledger.checkpoints ORDER BY checkpoint")]
    assert received == notes
    assert file.read_bytes() == b"".join(note + b"\n" for note in notes)
    assert "it answers 500" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"witnesses": "https://witness.example"},
        {"witnesses": "witness.example+00000000+AAAA https://witness.example"},
        {"signing_key": "AAAA"},
        {"log_origin": "with blank"},
        {"checkpoint_events": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        Settings(**settings)
