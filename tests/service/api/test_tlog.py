"""The log as a stranger reads it: by the rules of C2SP, and with code that is not ours if there is some."""

import base64
import gzip
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from proofbundle import checkpoint as oracle_of_notes
from proofbundle import merkle as oracle
from proofbundle.tlogproof import verify_tlog_proof

from ledger.database import Connection
from ledger.privacy.access_log import accesses_after
from ledger.store import api_keys, read
from ledger.store.append import append
from ledger.transparency import public_logs, tiles, tree_heads
from ledger.transparency.signer import Signer
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import VAULT, delivery, issued

EVENTS = 600


class Reader(NamedTuple):
    """A reader who knows an address and a public key, and nothing else."""

    neighbour: TenantClient
    prefix: str
    key: str
    headers: dict[str, str] = {}

    async def get(self, path: str) -> tuple[int, bytes, Any]:
        response = await self.neighbour.client.get(f"{self.prefix}/{path}", headers=self.headers)
        return response.status, await response.read(), response.headers

    async def fetch(self, path: str) -> bytes:
        status, body, _ = await self.get(path)
        assert status == 200, path
        return body


class Sealed(NamedTuple):
    neighbour: TenantClient
    signer: Signer
    reader: Reader


@pytest.fixture
async def sealed(dsn: str, connection: Connection, tmp_path: Any) -> AsyncIterator[Sealed]:
    signer = Signer(tmp_path / "signer", site="logs.example")
    async with serving(dsn, "acme", "other") as [acme, _]:
        await append_events(connection, acme, EVENTS)
        await tree_heads.sign_head(connection, signer, acme.ledger)
        token = await public_logs.publish(connection, MASTER_KEY, acme.ledger)
        [key] = signer.keys("logs.example/acme")
        yield Sealed(acme, signer, Reader(acme, f"/v1/logs/{token}", key.public.write()))


async def append_events(connection: Connection, neighbour: TenantClient, count: int, name: str = "e") -> None:
    deliveries = [delivery(issued(f"{name}{number}", number, 1, 10)) for number in range(count)]
    await append(connection, VAULT, neighbour.ledger.ledger_id, deliveries)


def unbundled(bundle: bytes) -> list[bytes]:
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return entries


async def test_a_stranger_reads_every_entry_and_finds_the_signed_root(sealed: Sealed) -> None:
    note = (await sealed.reader.fetch("checkpoint")).decode()
    told = oracle_of_notes.verify_checkpoint(note, sealed.reader.key)
    paths = ("tile/entries/000", "tile/entries/001", "tile/entries/002.p/88")
    entries = [entry for path in paths for entry in unbundled(await sealed.reader.fetch(path))]

    assert told["ok"]
    assert told["origin"] == "logs.example/acme"
    assert int(told["tree_size"]) == len(entries) == EVENTS
    assert oracle.merkle_tree_hash(entries) == base64.b64decode(note.splitlines()[2])


async def test_tiles_follow_the_tlog_tiles_specification(sealed: Sealed) -> None:
    entries = [entry for n in ("000", "001") for entry in unbundled(await sealed.reader.fetch(f"tile/entries/{n}"))]
    level_1 = b"".join(oracle.merkle_tree_hash(entries[at : at + 256]) for at in (0, 256))
    level_0 = b"".join(oracle.leaf_hash(entry) for entry in entries)

    assert await sealed.reader.fetch("tile/0/000") == level_0[:8192]
    assert await sealed.reader.fetch("tile/0/001") == level_0[8192:]
    assert await sealed.reader.fetch("tile/0/001.p/7") == level_0[8192 : 8192 + 7 * 32]
    assert await sealed.reader.fetch("tile/1/000.p/2") == level_1
    assert await sealed.reader.fetch("tile/1/000.p/1") == level_1[:32]
    assert len(await sealed.reader.fetch("tile/0/002.p/88")) == 88 * 32


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/002",  # not full yet
        "tile/0/002.p/89",
        "tile/0/003.p/1",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/2/000.p/1",
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/0/x001/x234/067",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/entries/002",
        "tile/data/000",
        "tile/0/000/",
        "nothing",
    ],
)
async def test_what_is_not_there_is_not_served(sealed: Sealed, path: str) -> None:
    status, _, _ = await sealed.reader.get(path)

    assert status == 404


async def test_what_is_immutable_may_be_kept_and_the_checkpoint_not(sealed: Sealed) -> None:
    _, _, checkpoint = await sealed.reader.get("checkpoint")
    _, _, tile = await sealed.reader.get("tile/0/000")

    assert checkpoint["Content-Type"] == "text/plain; charset=utf-8"
    assert checkpoint["Cache-Control"] == "no-cache"
    assert tile["Content-Type"] == "application/octet-stream"
    assert tile["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_the_same_files_are_there_for_keys_and_for_nobody_else(connection: Connection, sealed: Sealed) -> None:
    tile = await sealed.reader.fetch("tile/0/000")
    basic = base64.b64encode(f"any:{sealed.neighbour.key}".encode()).decode()
    auditor = await api_keys.create_key(connection, MASTER_KEY, sealed.neighbour.ledger, ["audit"])
    sender = await api_keys.create_key(connection, MASTER_KEY, sealed.neighbour.ledger, ["reveal"])
    expected = {
        f"Bearer {sealed.neighbour.key}": 200,
        f"Bearer {auditor}": 200,
        f"Basic {basic}": 200,
        f"Bearer {sender}": 403,
        "Bearer nonsense": 401,
        "Basic nonsense": 401,
        "Digest x": 401,
        "": 401,
    }

    for given, status in expected.items():
        reader = Reader(sealed.neighbour, "/v1/ledger/tlog", "", {"Authorization": given} if given else {})
        answered, body, _ = await reader.get("tile/0/000")
        assert (answered, body == tile) == (status, status == 200), given


async def test_an_auditor_asks_for_proofs_with_a_key_that_reads_no_balance(
    connection: Connection, sealed: Sealed
) -> None:
    auditor = await api_keys.create_key(connection, MASTER_KEY, sealed.neighbour.ledger, ["audit"])

    for path in ("checkpoint", "keys", "proofs/inclusion?position=1", "proofs/consistency?from_size=1"):
        assert (await sealed.neighbour.ask(f"/v1/ledger/{path}", key=auditor))[0] == 200
    assert (await sealed.neighbour.ask("/v1/customers/1", key=auditor))[0] == 403


async def test_only_reads_of_the_log_with_scope_audit_are_recorded(connection: Connection, sealed: Sealed) -> None:
    auditor = await api_keys.create_key(connection, MASTER_KEY, sealed.neighbour.ledger, ["audit"])
    for key in (auditor, sealed.neighbour.key):
        reader = Reader(sealed.neighbour, "/v1/ledger/tlog", "", {"Authorization": f"Bearer {key}"})
        await reader.fetch("checkpoint?reason=yearly")
        await reader.fetch("tile/0/000")
        await reader.fetch("tile/entries/000")
        await sealed.neighbour.ask("/v1/ledger/proofs/inclusion", key=key, position="1", reason="yearly")
        await sealed.neighbour.ask("/v1/ledger/events/1/proof?reason=yearly", key="nonsense")
    await sealed.reader.fetch("tile/0/000")

    looks = await accesses_after(connection, sealed.neighbour.ledger.ledger_id, 0, 100)

    assert [(look.object, look.reason) for look in looks] == [
        ("the log's checkpoint", "yearly"),
        ("the log's tiles", ""),  # one look, however many tiles
        ("GET /v1/ledger/proofs/inclusion", "yearly"),
    ]
    assert {look.key_id for look in looks} == {auditor.split("_")[1]}


async def test_an_address_opens_its_ledger_only_until_it_is_withdrawn(connection: Connection, sealed: Sealed) -> None:
    token = sealed.reader.prefix.rpartition("/")[2]
    [published] = await public_logs.list_published(connection, sealed.neighbour.ledger)
    assert published.token == token

    await public_logs.withdraw(connection, MASTER_KEY, sealed.neighbour.ledger, token)

    assert (await sealed.reader.get("checkpoint"))[0] == 404
    assert (await Reader(sealed.neighbour, "/v1/logs/guessed", "").get("checkpoint"))[0] == 404


async def test_an_event_is_proven_by_a_file_alone(connection: Connection, sealed: Sealed) -> None:
    for position in (1, 256, 257, EVENTS):
        response = await sealed.neighbour.client.get(
            f"/v1/ledger/events/{position}/proof", headers={"Authorization": f"Bearer {sealed.neighbour.key}"}
        )
        content = await response.text()
        [entry] = await read.entries_between(connection, sealed.neighbour.ledger.ledger_id, position - 1, position)

        assert response.status == 200
        assert f'filename="acme-{position}.tlog-proof"' in response.headers["Content-Disposition"]
        assert base64.b64decode(content.splitlines()[1].removeprefix("extra ")) == entry
        verdict = verify_tlog_proof(content, entry, sealed.reader.key, expected_origin="logs.example/acme")
        assert verdict["ok"]
        assert verdict["index"] == position - 1
        assert not verify_tlog_proof(content, entry + b" ", sealed.reader.key)["ok"]


async def test_proofs_are_answered_for_any_sealed_size(sealed: Sealed) -> None:
    _, inclusion = await sealed.neighbour.ask("/v1/ledger/proofs/inclusion", position="300", size="500")
    _, consistency = await sealed.neighbour.ask("/v1/ledger/proofs/consistency", from_size="300", to_size="500")
    _, newest = await sealed.neighbour.ask("/v1/ledger/proofs/consistency", from_size="300")

    def hashes(answer: Any) -> list[bytes]:
        return [bytes.fromhex(one) for one in answer["proof"]]

    entry = unbundled(await sealed.reader.fetch("tile/entries/001"))[300 - 257]
    root = bytes.fromhex(inclusion["root"])
    assert inclusion["leaf_index"] == 299
    assert oracle.verify_inclusion(entry, 299, 500, hashes(inclusion), root)
    roots = bytes.fromhex(consistency["from_root"]), bytes.fromhex(consistency["to_root"])
    assert roots[1] == root
    assert oracle.verify_consistency(300, 500, hashes(consistency), *roots)
    assert oracle.verify_consistency(300, EVENTS, hashes(newest), roots[0], bytes.fromhex(newest["to_root"]))


async def test_proofs_of_what_cannot_be_proven_are_refused(connection: Connection, sealed: Sealed) -> None:
    await append_events(connection, sealed.neighbour, 1, "unsealed")
    expected = {
        "/v1/ledger/proofs/inclusion": 400,
        "/v1/ledger/proofs/inclusion?position=0": 400,
        "/v1/ledger/proofs/inclusion?position=x": 400,
        "/v1/ledger/proofs/inclusion?position=601&size=600": 404,
        "/v1/ledger/proofs/inclusion?position=1&size=9007199254740991": 400,
        "/v1/ledger/proofs/consistency?from_size=1&to_size=9007199254740991": 400,
        f"/v1/ledger/checkpoint?reason={'x' * 501}": 400,
        "/v1/ledger/proofs/inclusion?position=601&size=601": 503,
        "/v1/ledger/proofs/consistency": 400,
        "/v1/ledger/proofs/consistency?from_size=5&to_size=4": 400,
        "/v1/ledger/proofs/consistency?from_size=5&to_size=601": 503,
        "/v1/ledger/events/601/proof": 503,
        "/v1/ledger/events/602/proof": 404,
        "/v1/ledger/events/0/proof": 400,
    }

    for path, status in expected.items():
        response = await sealed.neighbour.client.get(path, headers={"Authorization": f"Bearer {sealed.neighbour.key}"})
        assert response.status == status, path


async def test_the_checkpoint_states_its_delay(connection: Connection, sealed: Sealed) -> None:
    await append_events(connection, sealed.neighbour, 5, "more")

    _, told = await sealed.neighbour.ask("/v1/ledger/checkpoint")
    _, keys = await sealed.neighbour.ask("/v1/ledger/keys")

    assert (told["origin"], told["size"], told["unsealed_events"]) == ("logs.example/acme", EVENTS, 5)
    assert told["checkpoint"].encode() == await sealed.reader.fetch("checkpoint")
    assert told["root"] == (await tiles.compute_root(connection, sealed.neighbour.ledger.ledger_id, EVENTS)).hex()
    assert told["problem"] is None
    assert [(one["key"], one["signs_now"]) for one in keys["items"]] == [(sealed.reader.key, True)]


async def test_a_ledger_without_a_checkpoint_answers_so(dsn: str) -> None:
    async with serving(dsn, "new") as [new]:
        status, told = await new.ask("/v1/ledger/checkpoint")
        assert (status, told) == (
            200,
            {"size": 0, "unsealed_events": 0, "checkpoint": None, "problem": None, "clock": None},
        )
        assert (await new.ask("/v1/ledger/tlog/checkpoint"))[0] == 503
        assert (await new.ask("/v1/ledger/keys"))[1] == {"items": [], "next": None}


async def test_entries_are_compressed_for_clients_that_accept_it(sealed: Sealed) -> None:
    plain = await sealed.reader.fetch("tile/entries/000")
    session = sealed.neighbour.client.session
    session._auto_decompress = False
    response = await sealed.neighbour.client.get(
        f"{sealed.reader.prefix}/tile/entries/000", headers={"Accept-Encoding": "gzip"}
    )
    packed = await response.read()

    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == plain


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity, gzip; q=0.0", None), ("x-gzip", None), ("", None)],
)
async def test_a_refused_content_coding_is_not_used(sealed: Sealed, accepted: str, coding: str | None) -> None:
    sealed.neighbour.client.session._auto_decompress = False
    response = await sealed.neighbour.client.get(
        f"{sealed.reader.prefix}/tile/entries/000", headers={"Accept-Encoding": accepted}
    )

    assert (response.headers.get("Content-Encoding"), response.headers["Vary"]) == (coding, "Accept-Encoding")
