"""Bundles changed at random, sums made to fit: what is verified all the same says nothing that is not true.

Of a whole ledger that was attested, nothing can be changed but words about the bundle itself. Of a part, nothing that
an entry, a payload or a proof holds; its rows were attested by nobody, and only what follows from facts is found.
"""

import json
import random
from pathlib import Path

import asyncpg
import loyalty_verify
import pytest

from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from ledger.transparency import tree_heads
from ledger.transparency.signer import Signer
from projections.engine.digest import digested_tables
from service.audit.attestation import attest
from service.audit.bundle import BundleScope
from tests.service.audit.test_bundle import MASTER_KEY, bundle, tell, verified, wrong
from tests.service.audit.test_hostile_bundles import members_of, packed
from tests.support.payloads import issued, merged, redeemed, samples

MUTATIONS = 250  # of each kind, of each of three bundles
OF_THE_BUNDLE = {"made_at", "customer", "parked", "subject_kinds"}  # in the manifest: nothing is shown by them
OF_ITS_ROWS = {"rows_position", "tables"}  # of a part: its rows are attested by nobody, nor how far they reach


@pytest.fixture
async def bundles(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, tmp_path: Path
) -> dict[str, tuple[bytes, bytes, str]]:
    """A whole ledger, one customer and a range of it; the checkpoint that was kept before, and the key."""
    signer = Signer(tmp_path / "signer", site="logs.example")
    for source in ("capillary", "voucherify", "ascenda", "fabric"):
        await tell(connection, ledger, samples(source), source)
    await tell(
        connection, ledger, [issued(f"e{n}", n, n % 3, 10, bill=f"b{n}", lapses="2099-12-31") for n in range(60)]
    )
    kept = (await tree_heads.sign_head(connection, signer, ledger)).note
    await tell(connection, ledger, [redeemed("r1", 400, 1, 40, "r1"), merged("m1", 500, 2, 0)])
    await attest(connection, Vault(MASTER_KEY), ledger)
    [key] = [one.key.write() for one in await tree_heads.log_keys(connection, ledger.ledger_id)]
    scopes = {
        "whole": BundleScope(),
        "customer": BundleScope("capillary:9001:1"),
        "range": BundleScope(positions=(3, 90)),
    }
    return {name: (await bundle(dsn, signer, ledger, scope, kept), kept, key) for name, scope in scopes.items()}


def spoilt(content: bytes, seeded: random.Random) -> bytes:
    """Change content a little: a bit, some bytes, a digit, or a line taken out, doubled or moved."""
    made = bytearray(content)
    lines = content.splitlines(keepends=True)
    at = seeded.randrange(len(made)) if made else 0
    match seeded.randrange(7):
        case 0:
            made[at] ^= 1 << seeded.randrange(8)
        case 1:
            made[at : at + seeded.randrange(1, 9)] = seeded.randbytes(seeded.randrange(9))
        case 2:
            digits = [place for place, byte in enumerate(made) if chr(byte).isdigit()]
            if digits:
                made[seeded.choice(digits)] = seeded.choice(b"0123456789")
        case 3:
            del lines[seeded.randrange(len(lines))]
            return b"".join(lines)
        case 4:
            place = seeded.randrange(len(lines))
            return b"".join([*lines[: place + 1], *lines[place:]])
        case 5:
            seeded.shuffle(lines)
            return b"".join(lines)
        case _:
            del made[at:]
    return bytes(made)


def is_harmless(name: str, old: bytes, new: bytes) -> bool:
    """Say whether a changed member still says the same of the ledger, to who has the key."""
    if name == "keys":
        return True  # the auditor's own was given
    if name == "checkpoint":  # signatures by nobody whom the auditor knows
        return new.partition(b"\n\n")[0] == old.partition(b"\n\n")[0]
    if name == "manifest.json":
        said, says = json.loads(old), json.loads(new)
        differing = {key for key in said.keys() | says.keys() if said.get(key) != says.get(key)}
        return differing <= (OF_THE_BUNDLE if said["scope"] == "ledger" else OF_THE_BUNDLE | OF_ITS_ROWS)
    if name.startswith("proofs/"):
        return not wrong_of_proof(old, new)
    return False


def wrong_of_proof(old: bytes, new: bytes) -> bool:
    """Say whether a proof says something else: the extra, which is not believed, and strangers' signatures aside."""

    def proven(content: bytes) -> tuple[list[bytes], bytes]:
        head, _, note = content.partition(b"\n\n")
        return [line for line in head.split(b"\n") if not line.startswith(b"extra ")], note.partition(b"\n\n")[0]

    return proven(old) != proven(new)


@pytest.mark.parametrize("scope", ["whole", "customer", "range"])
async def test_bytes_changed_anywhere_are_refused(bundles: dict[str, tuple[bytes, bytes, str]], scope: str) -> None:
    content, kept, key = bundles[scope]
    assert wrong(content, kept, [key]) == []
    honest = members_of(content)
    seeded = random.Random(7)
    for _ in range(MUTATIONS):
        made = bytearray(content)
        for _ in range(seeded.choice((1, 1, 2, 8))):
            made[seeded.randrange(len(made))] ^= 1 << seeded.randrange(8)
        if not wrong(bytes(made), kept, [key]):
            assert members_of(bytes(made)) == honest, "no byte that anybody reads was changed"


@pytest.mark.parametrize("scope", ["whole", "customer", "range"])
async def test_what_a_forger_changes_is_refused_or_says_the_same(
    bundles: dict[str, tuple[bytes, bytes, str]], scope: str
) -> None:
    content, kept, key = bundles[scope]
    honest = members_of(content)
    seeded = random.Random(11)
    taken = [name for name in honest if scope == "whole" or not name.startswith("rows/")]
    for _ in range(MUTATIONS):
        folder = seeded.choice(sorted({name.split("/")[0] for name in taken}))
        name = seeded.choice([one for one in taken if one.split("/")[0] == folder])
        changed = spoilt(honest[name], seeded)
        if changed == honest[name] or wrong(packed({**honest, name: changed}), kept, [key]):
            continue
        differing = [
            pair for pair in zip(honest[name].split(b"\n"), changed.split(b"\n"), strict=False) if len(set(pair)) == 2
        ]
        assert is_harmless(name, honest[name], changed), (name, differing[:3])


async def test_members_left_out_or_exchanged_are_missed(bundles: dict[str, tuple[bytes, bytes, str]]) -> None:
    for content, kept, key in bundles.values():
        honest = members_of(content)
        names = [name for name in honest if name != "keys"]  # the auditor's own was given
        for name in random.Random(3).sample(names, min(60, len(names))):
            less = packed({one: body for one, body in honest.items() if one != name})
            assert wrong(less, kept, [key]), name
        seeded = random.Random(4)
        for _ in range(60):
            one, other = seeded.sample(names, 2)
            if honest[one] != honest[other]:
                assert wrong(packed({**honest, one: honest[other], other: honest[one]}), kept, [key]), (one, other)


async def test_rows_that_are_called_older_than_their_attestation_are_not_taken_unattested(
    bundles: dict[str, tuple[bytes, bytes, str]],
) -> None:
    content, kept, key = bundles["whole"]
    honest = members_of(content)
    manifest = {**json.loads(honest["manifest.json"]), "rows_position": 5}

    found = verified(packed({**honest, "manifest.json": json.dumps(manifest).encode()}), kept, [key])

    assert not found["attestation"][0]


def test_the_verifier_knows_the_columns_that_it_looks_into() -> None:
    ours = {table.name: " ".join(table.columns) for table in digested_tables()}

    assert ours | loyalty_verify.COLUMNS == ours
