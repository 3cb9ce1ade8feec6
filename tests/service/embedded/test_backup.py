"""A restore drill: back up under load, destroy everything, restore, verify, and go on."""

import asyncio
import base64
import contextlib
import json
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import migrations
from ledger.database import connect
from ledger.store import api_keys, registry
from ledger.transparency.signer import Signer
from service.embedded.server import EmbeddedPostgres
from service.server.app import make_app
from service.settings import Settings
from tests.service.cli.test_cli import ROOT, Run, clean_environment
from tests.support.client import MASTER_KEY, Served, TenantClient
from tests.support.contract import CheckedClient
from tests.support.payloads import issued

SMALL = {"shared_buffers": "16MB"}
CUSTOMERS = 5
EVENTS_BEFORE, EVENTS_AFTER = 40, 30


@contextlib.asynccontextmanager
async def serving_folder(data: Path) -> AsyncIterator[CheckedClient]:
    """Serve the embedded database of a folder, and sign each second."""
    with EmbeddedPostgres.start(data, settings=SMALL) as server:
        await migrations.upgrade(server.dsn())
        signer = Signer(data / "signer", site="logs.example")
        settings = Settings(checkpoint_seconds=0.2, data=data)
        async with CheckedClient(Served(make_app(server.dsn(), settings, MASTER_KEY, signer=signer))) as client:
            yield client


async def sign_up(data: Path, client: CheckedClient) -> TenantClient:
    """Create a ledger with a key and a connection."""
    with EmbeddedPostgres.start(data) as server:
        connection = await connect(server.dsn())
        ledger = await registry.create_ledger(connection, "acme")
        acme = TenantClient(client, ledger, await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"]))
        acme.inbound["capillary"] = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
        await connection.close()
    return acme


async def deliver(acme: TenantClient, first: int, last: int) -> list[str]:
    """Deliver numbered events. Return the outcome of each."""
    bodies = [issued(f"e{number}", number, number % CUSTOMERS, 10) for number in range(first, last)]
    answers = [await acme.deliver(body) for body in bodies]
    assert {status for status, _ in answers} == {200}
    return [body["events"][0]["outcome"] for _, body in answers]


async def until_signed(data: Path, size: int) -> None:
    """Wait until the signer remembers a head of at least this size."""
    async with asyncio.timeout(30):
        while signed_size(data) < size:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def signed_size(data: Path) -> int:
    head = Signer(data / "signer").last_head("acme")
    return 0 if head is None else int(head.splitlines()[1])


async def problem_of_sealer(acme: TenantClient) -> str:
    """Wait until the sealer has reported why it signs nothing."""
    async with asyncio.timeout(30):
        while (checkpoint := (await acme.ask("/v1/ledger/checkpoint"))[1])["problem"] is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return json.dumps(checkpoint["problem"])


def put_keys_back(kept: Path, data: Path) -> None:
    data.mkdir(mode=0o700)
    shutil.copy(kept / "master.key", data)
    shutil.copytree(kept / "signer", data / "signer")


async def run(*words: str) -> Run:
    """Run a command in a process of its own, beside the service of the test."""
    command = [sys.executable, "-m", "service.cli.main", *words]
    environment = clean_environment()
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return Run(process.returncode, out.decode(), err.decode())


@pytest.mark.timeout(240)
async def test_a_backup_under_load_is_restored_and_the_service_goes_on(tmp_path: Path) -> None:
    data, kept, backup = tmp_path / "data", tmp_path / "kept", tmp_path / "backups" / "monday"
    data.mkdir(mode=0o700)
    (data / "master.key").write_text(base64.b64encode(bytes(range(32))).decode())
    async with serving_folder(data) as client:
        acme = await sign_up(data, client)
        await deliver(acme, 0, EVENTS_BEFORE)
        load = asyncio.create_task(deliver(acme, EVENTS_BEFORE, EVENTS_BEFORE + EVENTS_AFTER))
        backed_up = await run("backup", str(backup), "--data", str(data), "--json")
        await load
        await deliver(acme, EVENTS_BEFORE + EVENTS_AFTER, EVENTS_BEFORE + 2 * EVENTS_AFTER)
        await until_signed(data, EVENTS_BEFORE + 2 * EVENTS_AFTER)
    assert backed_up.code == 0, backed_up.err
    assert json.loads(backed_up.out)["ledgers"][0]["position"] >= EVENTS_BEFORE
    assert {path.name for path in backup.iterdir()} == {"postgres", "postgres.password", "backup.json"}

    kept.mkdir()
    shutil.copy(data / "master.key", kept)
    shutil.copytree(data / "signer", kept / "signer")
    shutil.rmtree(data)
    without_key = await run("restore", str(backup), "--data", str(data))
    assert (without_key.code, (data / "postgres").exists()) == (3, False)
    assert "master.key" in without_key.err
    put_keys_back(kept, data)
    restored = await run("restore", str(backup), "--data", str(data), "--json")

    [end] = json.loads(restored.out)["ledgers"]
    assert restored.code == 1, restored.err
    assert EVENTS_BEFORE <= end["position"] <= EVENTS_BEFORE + EVENTS_AFTER
    assert end["signed_later"] == EVENTS_BEFORE + 2 * EVENTS_AFTER - end["position"]
    assert (await run("verify", "--projections", "--data", str(data))).code == 0
    again = await run("restore", str(backup), "--data", str(data))
    assert (again.code, "holds a database already" in again.err) == (3, True)

    async with serving_folder(data) as client:
        acme.client = client
        outcomes = await deliver(acme, 0, EVENTS_BEFORE + 2 * EVENTS_AFTER)
        account = await acme.ask_now("/v1/accounts/capillary:9001:1:77:points")
        problem = await problem_of_sealer(acme)
    assert outcomes == ["duplicate"] * end["position"] + ["appended"] * end["signed_later"]
    assert account["available"] == str(10 * (EVENTS_BEFORE + 2 * EVENTS_AFTER) // CUSTOMERS)
    assert signed_size(data) == EVENTS_BEFORE + 2 * EVENTS_AFTER  # nothing else was signed: the log did not fork
    assert "does not continue the last head" in problem

    assert (await run("seal", "--ledger=acme", "--data", str(data))).code == 1
    assert (await run("seal", "--ledger=acme", "--adopt", "--data", str(data))).code == 0
    verified = await run("verify", "--data", str(data))
    assert verified.code == 0, verified.out


async def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    data, backup, there = tmp_path / "data", tmp_path / "backup", tmp_path / "there"
    with EmbeddedPostgres.start(data, settings=SMALL) as server:
        await migrations.upgrade(server.dsn())
        assert (await run("backup", str(backup), "--data", str(data))).code == 0
        taken = await run("backup", str(backup), "--data", str(data))
    damaged = max((backup / "postgres" / "base").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    there.mkdir(mode=0o700)
    (there / "master.key").write_text(base64.b64encode(bytes(range(32))).decode())

    refused = await run("restore", str(backup), "--data", str(there))
    none = await run("restore", str(tmp_path), "--data", str(there))

    assert (taken.code, "exists already" in taken.err) == (3, True)
    assert (refused.code, "is damaged or incomplete" in refused.err) == (1, True)
    assert (none.code, "is not a folder that `loyalty backup` made" in none.err) == (3, True)
    assert not (there / "postgres").exists()
