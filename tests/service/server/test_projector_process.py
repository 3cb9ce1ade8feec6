"""The projector process: rows follow, also after it was killed. A ledger that cannot be projected delays no other."""

import multiprocessing
import os
import signal

import pytest
from aiohttp.test_utils import TestServer

from ledger.database import connect
from ledger.store import api_keys, registry
from projections.engine import advance
from service.server.app import make_app
from service.server.projector_process import projector_process
from service.settings import Settings
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.contract import CheckedClient
from tests.support.payloads import issued


async def test_rows_follow_deliveries_and_continue_after_the_projector_is_killed(dsn: str) -> None:
    app = make_app(dsn, Settings(), MASTER_KEY, project=False)
    app.cleanup_ctx.append(projector_process(dsn))
    async with CheckedClient(TestServer(app)) as client:
        connection = await connect(dsn)
        ledger = await registry.create_ledger(connection, "acme")
        acme = TenantClient(client, ledger, await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"]))
        acme.inbound["capillary"] = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")

        await acme.deliver(issued("a", 0, 1, 10))
        first = (await acme.ask_now("/v1/customers/capillary:9001:1"))["accounts"]
        [process] = multiprocessing.active_children()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await acme.deliver(issued("b", 1, 1, 5))
        second = (await acme.ask_now("/v1/customers/capillary:9001:1"))["accounts"]
        await connection.close()

    assert [account["available"] for account in (*first, *second)] == ["10", "15"]
    assert multiprocessing.active_children() == []


async def test_a_ledger_that_cannot_be_projected_holds_no_other_one_up(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(dsn, "stuck", "sound") as (stuck, sound):
        write = advance._write_batch

        async def write_or_fail(connection: object, ledger_id: int, *batch: object) -> bool:
            if ledger_id == stuck.ledger.ledger_id:
                raise ZeroDivisionError
            return await write(connection, ledger_id, *batch)  # type: ignore[arg-type]

        monkeypatch.setattr(advance, "_write_batch", write_or_fail)
        await stuck.deliver(issued("a", 0, 1, 10))
        for number in range(3):
            await sound.deliver(issued(str(number), number, 1, 10))
            await sound.ask_now("/v1/customers/capillary:9001:1")
        answer = await sound.ask_now("/v1/customers/capillary:9001:1")

        assert [account["available"] for account in answer["accounts"]] == ["30"]
        assert f"projections of ledger {stuck.ledger.ledger_id} wait 1 s: ZeroDivisionError" in caplog.text
        monkeypatch.undo()
        await stuck.ask_now("/v1/customers/capillary:9001:1")
