"""An exported ledger is put back equal, elsewhere or under another name; what was altered on the way is refused."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import migrations
from ledger.database import Connection, connect
from ledger.errors import ExportWrong, MasterKeyWrong
from ledger.events import Origin
from ledger.intake.identify import identify
from ledger.privacy.access_log import accesses_after, record_access
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import read
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from ledger.transparency import tree_heads
from ledger.transparency.checkpoints import write_hash
from ledger.transparency.kept_checkpoints import read_kept_checkpoints
from ledger.transparency.signer import Signer
from projections.engine import generations
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from service.embedded.server import EmbeddedPostgres
from service.importing.exported_ledger import compare_checkpoints, open_output, restore_ledger, write_export
from tests.support.payloads import delivery, issued, sample, samples

MASTER_KEY = MasterKey(bytes(range(32)))
OTHER_KEY = MasterKey(bytes(32))
PARTS = """
    SELECT position, subject, key_id, ciphertext, commitment FROM ledger.personal WHERE ledger_id = $1 ORDER BY 1, 2
"""


def quiet(_done: int, _of: int) -> None: ...


async def fill(connection: Connection, ledger: Ledger) -> Vault:
    """Every published payload of two vendors, one event twice with other contents, and what is no JSON."""
    vault = Vault(MASTER_KEY)
    bodies = [("capillary", body) for body in samples("capillary")] + [("fabric", body) for body in samples("fabric")]
    bodies += [("capillary", issued("a", 0, 1, 10)), ("capillary", issued("a", 0, 1, 99)), ("capillary", b"{,}")]
    mask = vault.body_hash_key(ledger.ledger_id)
    block = [identify(Origin(ledger.name, "c", source, None, mask), body) for source, body in bodies]
    await append(connection, vault, ledger.ledger_id, block)
    return vault


async def exported(connection: Connection, ledger: Ledger, *, with_keys: bool = True) -> bytes:
    file = io.BytesIO()
    await write_export(connection, MASTER_KEY, ledger, file, with_keys=with_keys, report_progress=quiet)
    return file.getvalue()


async def put_back(connection: Connection, text: bytes, name: str, key: MasterKey = MASTER_KEY) -> Ledger:
    return (await restore_ledger(connection, io.BytesIO(text), name, MASTER_KEY, key, quiet)).ledger


async def whole(connection: Connection, ledger: Ledger) -> Any:
    """Everything of a ledger that must be equal."""
    last = await read.tail(connection, ledger.ledger_id)
    events = await read.stored_events_between(connection, ledger.ledger_id, 0, last)
    return events, [tuple(row) for row in await connection.fetch(PARTS, ledger.ledger_id)]


async def rows(connection: Connection, ledger: Ledger) -> str:
    await generations.ensure_active_generation(connection)
    await catch_up(connection, ledger.ledger_id)
    return (await compute_digest(connection, ledger.ledger_id)).digest


async def test_a_ledger_is_put_back_equal_on_another_server(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    vault = await fill(connection, ledger)
    text = await exported(connection, ledger)

    with EmbeddedPostgres.start(tmp_path / "data") as postgres:
        await migrations.upgrade(postgres.dsn())
        there = await connect(postgres.dsn())
        back = await put_back(there, text, "acme")

        assert back == ledger
        assert await whole(there, back) == await whole(connection, ledger)
        assert await rows(there, back) == await rows(connection, ledger)
        assert await exported(there, back) == text
        payload = (await read.event_at(there, back.ledger_id, 1)).payload
        assert await Vault(MASTER_KEY).reveal(there, back.ledger_id, 1, payload) == await vault.reveal(
            connection, ledger.ledger_id, 1, payload
        )
        await fill(there, back)
        assert await whole(there, back) == await whole(connection, ledger), "each of them is a duplicate"
        await there.close()


async def test_the_access_log_is_put_back_once(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    for reason in ("first", "second"):
        await record_access(connection, ledger.ledger_id, "a key", "customer:1", reason)
    text = await exported(connection, ledger)

    await put_back(connection, text, "copy")
    back = await put_back(connection, text, "copy")

    assert await accesses_after(connection, back.ledger_id, 0, 10) == await accesses_after(
        connection, ledger.ledger_id, 0, 10
    )


async def test_a_file_of_the_first_format_is_put_back(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger)

    back = await put_back(connection, text.replace(b"loyalty-ledger-export/2", b"loyalty-ledger-export/1"), "copy")

    assert await whole(connection, back) == await whole(connection, ledger)


async def test_a_ledger_is_put_back_under_another_name_and_another_master_key(
    connection: Connection, ledger: Ledger
) -> None:
    body = sample("capillary", "customerAdded")
    vault = Vault(MASTER_KEY)
    origin = Origin("acme", "c", "capillary", None, b"mask")
    await append(connection, vault, ledger.ledger_id, [identify(origin, body)])

    back = await put_back(connection, await exported(connection, ledger), "copy", OTHER_KEY)

    assert back.ledger_id != ledger.ledger_id
    assert await whole(connection, back) == await whole(connection, ledger)
    assert await rows(connection, back) == await rows(connection, ledger)
    other, payload = Vault(OTHER_KEY), (await read.event_at(connection, back.ledger_id, 1)).payload
    assert await other.reveal(connection, back.ledger_id, 1, payload) == body
    (part,) = [part for part in identify(origin, body).parts if part.identifiers]
    for what, value in part.identifiers:
        assert await other.find(connection, back.ledger_id, what, value) == [part.subject]


async def test_without_keys_nobody_opens_what_was_sealed(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger, with_keys=False)

    back = await put_back(connection, text, "copy")

    payload = (await read.event_at(connection, back.ledger_id, 1)).payload
    assert b'"wrapped"' not in text
    assert await Vault(MASTER_KEY).reveal(connection, back.ledger_id, 1, payload) == payload
    assert await whole(connection, back) == await whole(connection, ledger)


async def test_what_comes_in_afterwards_goes_on_behind_it(connection: Connection, ledger: Ledger) -> None:
    vault = await fill(connection, ledger)
    back = await put_back(connection, await exported(connection, ledger), "copy")
    last = await read.tail(connection, ledger.ledger_id)
    origin = Origin("copy", "c", "capillary", None, vault.body_hash_key(back.ledger_id))

    told = await append(
        connection,
        vault,
        back.ledger_id,
        [identify(origin, body) for body in (issued("a", 0, 1, 10), issued("a", 0, 1, 99), issued("b", 0, 1, 5))],
    )

    outcomes = [one.outcome for (one,) in told]
    assert outcomes == ["duplicate", "duplicate", "appended"]
    assert told[-1][0].position == last + 1


async def test_keys_of_another_master_key_are_named(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger)

    with pytest.raises(MasterKeyWrong, match=MASTER_KEY.name):
        await restore_ledger(connection, io.BytesIO(text), "copy", OTHER_KEY, OTHER_KEY, quiet)


def with_event(change: Callable[[dict[str, Any]], Any]) -> Callable[[list[bytes]], list[bytes]]:
    """Change the first event that holds something personal."""

    def changed(lines: list[bytes]) -> list[bytes]:
        at = next(n for n, line in enumerate(lines) if b'"parts":' in line)
        line = json.loads(lines[at])
        change(line)
        return [*lines[:at], json.dumps(line).encode() + b"\n", *lines[at + 1 :]]

    return changed


ALTERED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "an entry": with_event(lambda line: line.update(entry=line["entry"].replace('"ordinal":0', '"ordinal":1'))),
    "a payload": with_event(lambda line: line.update(payload=line["payload"] + " ")),
    "no payload": with_event(lambda line: line.pop("payload")),
    "a sealed part less": with_event(lambda line: line.pop("parts")),
    "a hash": with_event(lambda line: line.update(leaf_hash="AAAA")),
    "a key": with_event(lambda line: line.update(event_key="AAAAAAAAAAAAAAAAAAAAAA==")),
    "where its body stands": with_event(lambda line: line.update(delivery_position=1)),
    "an event left out": lambda lines: [*lines[:3], *lines[4:]],
    "an event twice": lambda lines: [*lines[:4], *lines[3:]],
    "two events changed over": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "the last event left out": lambda lines: [line for line in lines if b'"position\\":90,' not in line],
    "no end": lambda lines: lines[:-1],
    "more after the end": lambda lines: [*lines, lines[3]],
    "no beginning": lambda lines: lines[1:],
    "no export at all": lambda _lines: [b'{"eventName": "pointsIssued"}\n'],
    "no JSON": lambda lines: [lines[0], b"{,}\n", *lines[2:]],
    "another format": lambda lines: [lines[0].replace(b"export/2", b"export/9"), *lines[1:]],
}


@pytest.mark.parametrize("altered", ALTERED)
async def test_what_was_altered_is_refused(connection: Connection, ledger: Ledger, altered: str) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger)
    lines = ALTERED[altered](text.splitlines(keepends=True))

    assert b"".join(lines) != text
    with pytest.raises(ExportWrong):
        await put_back(connection, b"".join(lines), "copy")


async def test_what_broke_off_goes_on(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger)
    begun = b"".join(text.splitlines(keepends=True)[:20])

    with pytest.raises(ExportWrong, match="truncated"):
        await put_back(connection, begun[: begun.rindex(b"\n", 0, -1) + 1], "copy")
    back = await put_back(connection, text, "copy")
    await put_back(connection, text, "copy")

    assert await whole(connection, back) == await whole(connection, ledger)


async def test_a_ledger_that_holds_other_events_is_not_touched(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger)
    other = await create_ledger(connection, "other")
    await append(
        connection,
        Vault(MASTER_KEY),
        other.ledger_id,
        [identify(Origin("other", "c", "capillary", None, b"m"), issued("z", 0, 1, 1))],
    )
    before = await whole(connection, other)

    with pytest.raises(ExportWrong, match="holds other events"):
        await put_back(connection, text, "other")

    assert await whole(connection, other) == before


async def test_the_role_of_the_service_may_not_put_entries_back(connection: Connection, ledger: Ledger) -> None:
    await fill(connection, ledger)
    text = await exported(connection, ledger)
    await connection.execute("SET ROLE loyalty_service")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await put_back(connection, text, "copy")


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "out.ndjson.gz"

    with suppress(RuntimeError), open_output(file) as half:
        half.write(b"half")
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


async def test_a_ledger_that_is_put_back_is_compared_with_checkpoints_that_were_kept(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    signer = Signer(tmp_path / "signer", site="logs.example")
    await fill(connection, ledger)
    first = await tree_heads.sign_head(connection, signer, ledger)
    await append(connection, Vault(MASTER_KEY), ledger.ledger_id, [delivery(issued("later", 0, 1, 10))])
    second = await tree_heads.sign_head(connection, signer, ledger)
    restored = await restore_ledger(
        connection, io.BytesIO(await exported(connection, ledger)), "copy", MASTER_KEY, MASTER_KEY, quiet
    )
    anchor = first.note + b"\n" + second.note + b"\n"

    assert await compare_checkpoints(connection, restored, read_kept_checkpoints(first.note)) == (
        f"the checkpoint of {first.size} events of logs.example/acme is of this history"
    )
    assert (await compare_checkpoints(connection, restored, read_kept_checkpoints(anchor))).endswith(
        "is of this history, and 1 before it"
    )
    other = read_kept_checkpoints(first.note.replace(write_hash(first.root).encode(), write_hash(bytes(32)).encode()))
    with pytest.raises(ExportWrong, match=f"the checkpoint of {first.size} events is of another history"):
        await compare_checkpoints(connection, restored, other)
    with pytest.raises(ExportWrong, match="the export is older"):
        await compare_checkpoints(connection, restored._replace(events=first.size), read_kept_checkpoints(anchor))
    stranger = [
        one._replace(head=one.head._replace(origin="logs.example/other")) for one in read_kept_checkpoints(first.note)
    ]
    with pytest.raises(ExportWrong, match="of several logs"):
        await compare_checkpoints(connection, restored, [*stranger, *read_kept_checkpoints(first.note)])
