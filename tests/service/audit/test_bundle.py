"""An audit bundle, made of a real ledger and verified by the file that shares nothing with it; and a live ledger."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import loyalty_verify
import pytest
from hypothesis import given, settings

from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.privacy.encryption import MasterKey
from ledger.privacy.redaction import MARKER
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.read import event_at
from ledger.store.registry import Ledger, create_ledger
from ledger.transparency import tree_heads
from ledger.transparency.kept_checkpoints import read_kept_checkpoints
from ledger.transparency.signer import Signer
from projections.engine.worker import catch_up
from service.audit.attestation import attest, latest_attestation
from service.audit.bundle import BundleScope, write_bundle
from service.audit.verify_ledger import verify_ledger
from service.operations.erase import erase
from tests.properties.histories import histories
from tests.support.payloads import capillary, delivery, issued, merged, redeemed, samples

MASTER_KEY = MasterKey(bytes(range(32)))
VERIFIER = Path(loyalty_verify.__file__)
WHOLE = BundleScope()


async def tell(connection: Any, ledger: Ledger, bodies: Sequence[bytes], source: str = "capillary") -> None:
    vault = Vault(MASTER_KEY)
    for body in bodies:
        await append(connection, vault, ledger.ledger_id, [delivery(body, source, ledger.name)])
    await catch_up(connection, ledger.ledger_id)


async def bundle(
    dsn: str, signer: Signer, ledger: Ledger, scope: BundleScope = WHOLE, older: bytes | None = None
) -> bytes:
    file = io.BytesIO()
    await write_bundle(dsn, signer, ledger, file, scope, None if older is None else read_kept_checkpoints(older))
    return file.getvalue()


def verified(content: bytes, older: bytes | None = None, keys: Sequence[str] = ()) -> dict[str, tuple[bool, str]]:
    """Verify, and give what each check said."""
    results = loyalty_verify.verify(io.BytesIO(content), older, [loyalty_verify.read_key(key) for key in keys])
    return {result.check: (result.holds, result.detail) for result in results}


def wrong(content: bytes, older: bytes | None = None, keys: Sequence[str] = ()) -> list[str]:
    return [f"{name}: {says}" for name, (holds, says) in verified(content, older, keys).items() if not holds]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "signer", site="logs.example")


async def test_every_sample_in_a_bundle_is_verified_by_a_process_of_its_own(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer, tmp_path: Path
) -> None:
    for source in ("capillary", "voucherify", "ascenda", "fabric"):
        await tell(connection, ledger, samples(source), source)
    await attest(connection, Vault(MASTER_KEY), ledger)

    (tmp_path / "bundle.tar").write_bytes(await bundle(dsn, signer, ledger))
    [key] = [one.key.write() for one in await tree_heads.log_keys(connection, ledger.ledger_id)]
    command = [sys.executable, "-I", str(VERIFIER), str(tmp_path / "bundle.tar"), "--key", key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)  # noqa: ASYNC221

    told = json.loads(done.stdout)
    assert (done.returncode, told["verified"], done.stderr) == (0, True, "")
    details = {check["check"]: check["detail"] for check in told["checks"]}
    assert "signed by the key that was given" in details["checkpoint"]
    assert re.match(r"\d\d tables are as attested", details["attestation"])
    live = await verify_ledger(connection, dsn, ledger, signer, master_key=MASTER_KEY, replay=True)
    assert [finding for finding in live if not finding.holds] == []


async def test_nothing_personal_is_in_a_bundle(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    person = {"customerIdentifiers": {"customerId": 7, "mobile": "918395082082", "email": "ann@canary.example"}}
    await tell(connection, ledger, [capillary("pointsIssued", "e1", 0, 7, totalPointsIssued=5, **person)])

    made = await bundle(dsn, signer, ledger)

    assert MARKER in made
    assert b"918395082082" not in made
    assert b"canary" not in made
    assert wrong(made) == []


async def test_a_customer_and_a_range_are_proven_to_be_parts_of_the_same_tree(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    await tell(connection, ledger, [issued(f"e{n}", n, n % 3, 10) for n in range(300)])
    kept = (await tree_heads.sign_head(connection, signer, ledger)).note
    await tell(connection, ledger, [redeemed("r1", 400, 1, 40), merged("m1", 500, 2, 1)])

    of_customer = verified(await bundle(dsn, signer, ledger, BundleScope("capillary:9001:1"), kept), kept)
    of_range = verified(await bundle(dsn, signer, ledger, BundleScope(positions=(250, 301)), kept), kept)

    assert all(holds for holds, _ in of_customer.values()), of_customer
    assert of_customer["entries"][1].startswith("202 entries are in the signed tree")  # the merged customer's, too
    assert of_customer["older checkpoint"][1] == "the first 300 events are the ones signed before"
    assert of_customer["balances"][1].startswith("2 accounts and 203 lines")
    assert all(holds for holds, _ in of_range.values()), of_range
    assert of_range["entries"][1].startswith("52 entries are in the signed tree")


async def test_what_is_not_in_the_ledger_is_in_no_bundle(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    await tell(connection, ledger, [issued("e1", 0, 1, 10)])

    with pytest.raises(SubjectUnknown):
        await bundle(dsn, signer, ledger, BundleScope("capillary:9001:2"))
    with pytest.raises(RequestInvalid):
        await bundle(dsn, signer, ledger, BundleScope(positions=(1, 2)))


async def test_an_empty_ledger_can_be_bundled(dsn: str, ledger: Ledger, signer: Signer) -> None:
    assert wrong(await bundle(dsn, signer, ledger)) == []


async def test_the_same_ledger_gives_the_same_bundle_but_for_when_it_was_made(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    await tell(connection, ledger, [issued(f"e{n}", n, 1, 10) for n in range(3)])

    one, other = [await bundle(dsn, signer, ledger) for _ in range(2)]

    def members(content: bytes) -> list[bytes]:
        archive = loyalty_verify.BundleArchive(io.BytesIO(content))
        return [archive.read(name) for name in archive.order if name not in ("manifest.json", "SHA256SUMS")]

    assert members(one) == members(other)


@settings(max_examples=15)
@given(history=histories())
async def test_whatever_happened_to_points_the_verifier_comes_to_the_same_balances(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path, history: list[bytes]
) -> None:
    """Every history that the laws are tried on, folded by the engine and again by the verifier's own arithmetic."""
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    ledger = await create_ledger(connection, f"ledger-{number}")
    await tell(connection, ledger, history)
    await attest(connection, Vault(MASTER_KEY), ledger)

    found = verified(await bundle(dsn, Signer(tmp_path / "signer", site="logs.example"), ledger))

    assert [text for holds, text in found.values() if not holds] == []
    assert "tables are as attested" in found["attestation"][1]


async def test_an_attestation_is_an_event_that_changes_no_view(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    await tell(connection, ledger, [issued("e1", 0, 1, 10), redeemed("r1", 5, 1, 4)])

    first = await attest(connection, Vault(MASTER_KEY), ledger)
    second = await attest(connection, Vault(MASTER_KEY), ledger)

    assert (first.position, first.event_position, second.position) == (2, 3, 3)
    assert first.digests == second.digests
    assert first.trial_balance == {"points": {"available": "6", "issued": "-10", "redeemed": "4"}}
    assert await latest_attestation(connection, ledger.ledger_id, 4) == second
    assert MARKER not in (await event_at(connection, ledger.ledger_id, 3)).payload


async def test_what_was_attested_is_derived_again_though_more_was_told_since(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    await tell(connection, ledger, [issued("e1", 10, 1, 10)])
    await attest(connection, Vault(MASTER_KEY), ledger)
    await tell(connection, ledger, [issued("e0", 0, 1, 5)])

    found = {f.check: f for f in await verify_ledger(connection, dsn, ledger, signer)}
    replayed = {f.check: f for f in await verify_ledger(connection, dsn, ledger, signer, replay=True)}

    assert "were not compared: events were recorded since" in found["attestation"].detail
    assert "agree with the attestation" in replayed["attestation"].detail
    generations = await connection.fetchval("SELECT count(*) FROM projections.generations")
    assert generations == 1, "the derived generation is gone again"


async def found_live(
    dsn: str,
    connection: "asyncpg.Connection[asyncpg.Record]",
    ledger: Ledger,
    signer: Signer,
    older: bytes | None = None,
) -> dict[str, tuple[bool, str]]:
    findings = await verify_ledger(connection, dsn, ledger, signer, master_key=MASTER_KEY, older=older)
    return {finding.check: (finding.holds, finding.detail) for finding in findings}


async def test_a_live_check_says_whether_the_signers_memory_was_there(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer, tmp_path: Path
) -> None:
    await tell(connection, ledger, [issued("e1", 0, 1, 10)])
    await tree_heads.sign_head(connection, signer, ledger)

    beside = await found_live(dsn, connection, ledger, signer)
    elsewhere = await found_live(dsn, connection, ledger, Signer(tmp_path / "elsewhere"))
    (signer.folder / "acme.checkpoint").write_bytes(b"spoilt")
    spoilt = await found_live(dsn, connection, ledger, signer)

    assert beside["signer"] == (True, "the head of 1 events that the signer remembers is among the checkpoints")
    assert elsewhere["signer"][0]
    assert elsewhere["signer"][1].startswith("nothing outside the database was compared")
    assert [name for name, (holds, _) in spoilt.items() if not holds] == ["signer"]
    assert spoilt["signer"][1].startswith("the remembered head cannot be read")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"", b"", None),
        (b"logs.example/acme\n", b"logs.example/other\n", "it is of logs.example/other, and this ledger is"),
        (b"\n1\n", b"\n2\n", "its signature by logs.example/acme is wrong"),
        (b"\n\n", b"\n", "it holds no checkpoint"),
    ],
)
async def test_a_checkpoint_that_somebody_kept_has_a_line_of_its_own(
    dsn: str,
    connection: "asyncpg.Connection[asyncpg.Record]",
    ledger: Ledger,
    signer: Signer,
    old: bytes,
    new: bytes,
    says: str | None,
) -> None:
    await tell(connection, ledger, [issued("e1", 0, 1, 10)])
    kept = (await tree_heads.sign_head(connection, signer, ledger)).note.replace(old, new, 1)
    await tell(connection, ledger, [issued("e2", 0, 1, 10)])

    live = await found_live(dsn, connection, ledger, signer, kept)
    of_bundle = verified(await bundle(dsn, signer, ledger), kept)

    for found in (live, of_bundle):
        wrong = [name for name, (holds, _) in found.items() if not holds]
        assert wrong == ([] if says is None else ["older checkpoint"])
    assert says is None or says in live["older checkpoint"][1]


async def test_who_was_forgotten_is_known_by_the_event_that_tells_of_it(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, signer: Signer
) -> None:
    person = {"customerIdentifiers": {"customerId": 7, "mobile": "918395082082"}}
    await tell(connection, ledger, [capillary("pointsIssued", "e1", 0, 7, totalPointsIssued=5, **person)])
    vault = Vault(MASTER_KEY)
    await erase(connection, vault, ledger, "capillary:9001:7", by="key x", reason="asked by letter")

    found = await found_live(dsn, connection, ledger, signer)

    assert [name for name, (holds, _) in found.items() if not holds] == []
    assert found["erasures"][1] == "each erasure has an event at its time"
    assert "1 belong to erased persons" in found["sealed parts"][1]
    assert "the variants of 1 cannot be derived" in found["entries"][1]
