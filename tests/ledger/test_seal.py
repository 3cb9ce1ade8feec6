"""Sealing: every event a leaf, once, whoever seals and is killed; and heads that continue what was signed before."""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from ledger.database import Connection, connect
from ledger.errors import EventsChanged, HeadForgotten, HeadInconsistent, KeyWrong, SignerUnknown
from ledger.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from ledger.store import read
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.transparency import tiles, tree_heads
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import read_note, verify
from ledger.transparency.signer import Signer, read_seeds
from ledger.transparency.tree import load_frontier, seal_all, seal_block
from tests.support.payloads import VAULT, delivery, issued

KILLS = 6
# Seals and signs without end, as fast as it can.
SEALER = """
import asyncio, sys
from pathlib import Path
from ledger.database import connect
from ledger.transparency.tree_heads import sign_head
from ledger.store.registry import find_ledger
from ledger.transparency.signer import Signer

async def main():
    connection = await connect(sys.argv[1])
    ledger = await find_ledger(connection, "acme")
    while True:
        await sign_head(connection, Signer(Path(sys.argv[2])), ledger)
        print("signed", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "signer", site="logs.example")


async def append_events(connection: Connection, ledger: Ledger, count: int, name: str = "e") -> None:
    deliveries = [delivery(issued(f"{name}{number}", number, 1, 10)) for number in range(count)]
    await append(connection, VAULT, ledger.ledger_id, deliveries)


async def leaves_of(connection: Connection, ledger: Ledger) -> list[bytes]:
    tail = await read.tail(connection, ledger.ledger_id)
    return [leaf_hash(entry) for entry in await read.entries_between(connection, ledger.ledger_id, 0, tail)]


async def meddle(connection: Connection, statement: str, *arguments: object) -> None:
    """Change what cannot be changed, as the owner of the database can."""
    async with connection.transaction():
        await connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL")
        await connection.execute("ALTER TABLE ledger.tiles DISABLE TRIGGER ALL")
        await connection.execute("ALTER TABLE ledger.checkpoints DISABLE TRIGGER ALL")
        await connection.execute(statement, *arguments)
        for table in ("events", "tiles", "checkpoints"):
            await connection.execute(f"ALTER TABLE ledger.{table} ENABLE ALWAYS TRIGGER append_only")
            await connection.execute(f"ALTER TABLE ledger.{table} ENABLE ALWAYS TRIGGER no_truncate")


async def test_a_checkpoint_is_over_every_event_at_once(connection: Connection, ledger: Ledger, signer: Signer) -> None:
    await append_events(connection, ledger, 600)

    signed = await tree_heads.sign_head(connection, signer, ledger)

    leaves = await leaves_of(connection, ledger)
    note = read_note(signed.note)
    assert Checkpoint.read(note.text) == ("logs.example/acme", 600, root_of(leaves))
    [key] = await tree_heads.log_keys(connection, ledger.ledger_id)
    assert verify(note, [key.key]) == [key.key]
    assert key.key.name == "logs.example/acme"
    assert await tiles.count_full_tiles(connection, ledger.ledger_id, 0) == 2


async def test_an_empty_ledger_has_a_head_too(connection: Connection, ledger: Ledger, signer: Signer) -> None:
    empty = await tree_heads.sign_head(connection, signer, ledger)
    await append_events(connection, ledger, 1)
    one = await tree_heads.sign_head(connection, signer, ledger)

    assert Checkpoint.read(read_note(empty.note).text) == ("logs.example/acme", 0, root_of([]))
    assert one.size == 1


async def test_every_event_and_every_older_checkpoint_is_proven(
    connection: Connection, ledger: Ledger, signer: Signer
) -> None:
    sizes = []
    for number, count in enumerate((255, 1, 44, 300)):
        await append_events(connection, ledger, count, f"{number}-")
        sizes.append((await tree_heads.sign_head(connection, signer, ledger)).size)

    leaves = await leaves_of(connection, ledger)
    assert sizes == [255, 256, 300, 600]
    for size in sizes:
        assert await tiles.compute_root(connection, ledger.ledger_id, size) == root_of(leaves[:size])
        for index in (0, 1, 100, size - 1):
            proof = await tiles.prove_inclusion(connection, ledger.ledger_id, index, size)
            assert verify_inclusion(leaves[index], index, size, proof, root_of(leaves[:size]))
        for old in sizes:
            if old <= size:
                proof = await tiles.prove_consistency(connection, ledger.ledger_id, old, size)
                assert verify_consistency(old, size, root_of(leaves[:old]), root_of(leaves[:size]), proof)


async def test_the_role_of_the_service_may_seal(connection: Connection, ledger: Ledger, signer: Signer) -> None:
    await append_events(connection, ledger, 300)
    await connection.execute("SET ROLE loyalty_service")

    await tree_heads.sign_head(connection, signer, ledger)
    signed = await tree_heads.sign_head(connection, signer, ledger)
    await tree_heads.record_seal_problem(connection, ledger.ledger_id, EventsChanged("told"))

    assert signed.size == 300
    problem = await tree_heads.current_seal_problem(connection, ledger.ledger_id)
    assert problem is not None
    assert problem.kind == "EventsChanged"


async def test_two_sealers_at_once_keep_each_tile_once(dsn: str, connection: Connection, ledger: Ledger) -> None:
    await append_events(connection, ledger, 2_000)
    others = [await connect(dsn) for _ in range(3)]

    frontiers = await asyncio.gather(*(seal_all(other, ledger.ledger_id) for other in others))

    leaves = await leaves_of(connection, ledger)
    assert {frontier.size for frontier in frontiers} == {1_792}
    assert {frontier.root() for frontier in frontiers} == {root_of(leaves[:1_792])}
    assert (await load_frontier(connection, ledger.ledger_id)).rows() == frontiers[0].rows()
    for other in others:
        await other.close()


async def test_a_sealer_that_fell_behind_another_goes_on_from_there(connection: Connection, ledger: Ledger) -> None:
    await append_events(connection, ledger, 256)
    behind = await load_frontier(connection, ledger.ledger_id)
    await seal_all(connection, ledger.ledger_id)
    await append_events(connection, ledger, 256, "more")

    frontier = await seal_all(connection, ledger.ledger_id, behind)

    assert frontier.root() == root_of(await leaves_of(connection, ledger))


async def test_a_sealer_may_be_killed_at_any_moment(
    dsn: str, connection: Connection, ledger: Ledger, signer: Signer, tmp_path: Path
) -> None:
    chance = random.Random(7)
    for kill in range(KILLS):
        program = (sys.executable, "-c", SEALER, dsn, str(tmp_path / "signer"))
        sealer = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert sealer.stdout is not None
        await sealer.stdout.readline()  # it is at work
        for block in range(chance.randint(1, 4)):
            await append_events(connection, ledger, chance.randint(1, 700), f"{kill}-{block}-")
        os.kill(sealer.pid, signal.SIGKILL)
        await sealer.wait()

    signed = await tree_heads.sign_head(connection, signer, ledger)

    leaves = await leaves_of(connection, ledger)
    assert (signed.size, signed.root) == (len(leaves), root_of(leaves))
    rows = await connection.fetch("SELECT size, root FROM ledger.checkpoints ORDER BY checkpoint")
    assert [row["size"] for row in rows] == sorted(row["size"] for row in rows)
    for size, root in rows:
        assert root == root_of(leaves[:size])


async def test_sealing_stops_at_an_event_that_was_changed_or_removed(
    connection: Connection, ledger: Ledger, signer: Signer
) -> None:
    await append_events(connection, ledger, 300)
    await meddle(connection, "UPDATE ledger.events SET entry = entry || ' '::bytea WHERE position = 7")

    with pytest.raises(EventsChanged, match="position 7 does not have its hash"):
        await tree_heads.sign_head(connection, signer, ledger)
    await meddle(connection, "DELETE FROM ledger.events WHERE position = 7")
    with pytest.raises(EventsChanged, match="1 missing"):
        await seal_block(connection, ledger.ledger_id, await load_frontier(connection, ledger.ledger_id))

    assert await tree_heads.latest_checkpoint(connection, ledger.ledger_id) is None


async def test_an_old_copy_of_the_database_is_noticed_and_not_signed(
    connection: Connection, ledger: Ledger, signer: Signer
) -> None:
    await append_events(connection, ledger, 200)
    await tree_heads.sign_head(connection, signer, ledger)
    await meddle(connection, "DELETE FROM ledger.events WHERE position > 150")
    await meddle(connection, "DELETE FROM ledger.checkpoints")

    with pytest.raises(HeadInconsistent, match="150 events, and a head of 200"):
        await tree_heads.sign_head(connection, signer, ledger)
    await append_events(connection, ledger, 100, "afterwards")  # and it goes on, beyond where it was
    with pytest.raises(HeadInconsistent, match="first 200 events differ"):
        await tree_heads.sign_head(connection, signer, ledger)


async def test_a_ledger_rewritten_with_all_its_hashes_is_noticed_and_not_signed(
    connection: Connection, ledger: Ledger, signer: Signer
) -> None:
    await append_events(connection, ledger, 300)
    await tree_heads.sign_head(connection, signer, ledger)
    rewrite = "UPDATE ledger.events SET entry = $1, leaf_hash = sha256('\\x00'::bytea || $1) WHERE position = 5"
    await meddle(connection, rewrite, b"{}")
    await meddle(connection, "DELETE FROM ledger.tiles")
    await meddle(connection, "DELETE FROM ledger.checkpoints")

    with pytest.raises(HeadInconsistent, match="first 300 events differ"):
        await tree_heads.sign_head(connection, signer, ledger)


async def test_a_checkpoint_that_was_edited_is_noticed(connection: Connection, ledger: Ledger, signer: Signer) -> None:
    await append_events(connection, ledger, 3)
    await tree_heads.sign_head(connection, signer, ledger)
    await meddle(connection, "UPDATE ledger.checkpoints SET size = 2")

    with pytest.raises(HeadInconsistent, match="was changed"):
        await tree_heads.sign_head(connection, signer, ledger)


async def test_what_was_adopted_is_another_log(connection: Connection, ledger: Ledger, signer: Signer) -> None:
    await append_events(connection, ledger, 200)
    first = await tree_heads.sign_head(connection, signer, ledger)
    await meddle(connection, "DELETE FROM ledger.events WHERE position > 150")

    adopted = await tree_heads.sign_head(connection, signer, ledger, adopt=True)
    again = await tree_heads.sign_head(connection, signer, ledger)

    origins = [Checkpoint.read(read_note(one.note).text).origin for one in (first, adopted, again)]
    assert origins == ["logs.example/acme", "logs.example/acme/2", "logs.example/acme/2"]
    assert [one.log for one in (first, adopted, again)] == [1, 2, 2]


async def test_a_ledger_that_was_moved_goes_on_as_the_same_log(
    connection: Connection, ledger: Ledger, signer: Signer
) -> None:
    await append_events(connection, ledger, 300)
    await tree_heads.sign_head(connection, signer, ledger)
    [before] = await tree_heads.log_keys(connection, ledger.ledger_id)
    for table in ("logs", "log_keys", "tiles", "checkpoints"):  # as another database is, that has its events only
        await connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
        await connection.execute(f"DELETE FROM ledger.{table}")  # noqa: S608
    await append_events(connection, ledger, 1, "later")

    moved = await tree_heads.sign_head(connection, Signer(signer.folder, site="elsewhere.example"), ledger)

    assert Checkpoint.read(read_note(moved.note).text)[:2] == ("logs.example/acme", 301)
    assert verify(read_note(moved.note), [before.key]) == [before.key]


async def test_a_signer_without_memory_does_not_take_the_databases_word(
    connection: Connection, ledger: Ledger, signer: Signer, tmp_path: Path
) -> None:
    await append_events(connection, ledger, 3)
    await tree_heads.sign_head(connection, signer, ledger)
    newcomer = Signer(tmp_path / "elsewhere", given_seeds=signer.seeds())
    stranger = Signer(tmp_path / "nowhere")

    with pytest.raises(HeadForgotten):
        await tree_heads.sign_head(connection, newcomer, ledger)
    adopted = await tree_heads.sign_head(connection, newcomer, ledger, adopt=True)
    assert adopted.log == 1  # it continues what was signed, so it is the same log
    assert await tree_heads.sign_head(connection, newcomer, ledger)
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere/acme.checkpoint").write_bytes(adopted.note)
    with pytest.raises(SignerUnknown):
        await tree_heads.sign_head(connection, stranger, ledger)
    assert stranger.seeds() == []


async def test_a_key_is_rotated_while_the_old_one_goes_on_until_it_is_retired(
    connection: Connection, ledger: Ledger, signer: Signer
) -> None:
    await append_events(connection, ledger, 3)
    first = await tree_heads.sign_head(connection, signer, ledger)
    signer.add_key()
    both = await tree_heads.sign_head(connection, signer, ledger)
    signer.drop_key(signer.seeds()[0])
    last = await tree_heads.sign_head(connection, signer, ledger)

    old, new = [one.key for one in await tree_heads.log_keys(connection, ledger.ledger_id)]
    assert verify(read_note(first.note), [old]) == [old]
    assert verify(read_note(both.note), [old, new]) == [old, new]
    assert verify(read_note(last.note), [old, new]) == [new]
    with pytest.raises(KeyWrong):
        signer.drop_key(signer.seeds()[0])


def test_a_key_is_made_once_for_its_owners_eyes_only(tmp_path: Path) -> None:
    signer = Signer(tmp_path / "signer")
    signer.ensure_key()
    [seed] = signer.seeds()
    signer.ensure_key()

    assert signer.seeds() == [seed]
    assert (tmp_path / "signer").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "signer/keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "AAAA", "*", "AAAA" * 11, " ".join(["A" * 43 + "="] * 9)])
def test_what_is_no_key_to_sign_with_is_refused(text: str) -> None:
    with pytest.raises(KeyWrong):
        read_seeds(text)


@pytest.mark.parametrize("table", ["logs", "log_keys", "tiles", "checkpoints"])
async def test_what_was_sealed_and_signed_stays(
    connection: Connection, ledger: Ledger, signer: Signer, table: str
) -> None:
    await append_events(connection, ledger, 300)
    await tree_heads.sign_head(connection, signer, ledger)

    for statement in ("UPDATE ledger.{} SET ledger_id = 2", "DELETE FROM ledger.{}", "TRUNCATE ledger.{}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute(statement.format(table))
