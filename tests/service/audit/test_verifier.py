"""loyalty-verify as an auditor uses it: on a bare machine, with what was kept, for figures to tie to the accounts."""

import base64
import gzip
import hashlib
import io
import json
import quopri
import random
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import loyalty_verify
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.store.registry import Ledger, create_ledger
from ledger.transparency import tree_heads
from ledger.transparency.kept_checkpoints import read_kept_checkpoints
from ledger.transparency.signer import Signer
from service.audit.bundle import BundleScope
from service.cli.seals import email_of
from service.finance.liability import read_trial_balance
from tests.service.audit.test_bundle import bundle, found_live, tell, wrong
from tests.service.audit.test_hostile_bundles import members_of, packed
from tests.support.payloads import issued, redeemed, samples

VERIFIER = Path(loyalty_verify.__file__)


# --- signatures without a package -------------------------------------------------------------------------------------

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
        "d9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_published_signatures_are_right_and_their_neighbours_wrong(
    public: str, message: str, signature: str
) -> None:
    key, text, made = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)

    assert loyalty_verify.ed25519_verifies(key, made, text)
    assert not loyalty_verify.ed25519_verifies(key, made, text + b"\0")
    for length in (0, 63, 65):
        assert not loyalty_verify.ed25519_verifies(key, (made + b"\0")[:length], text)


def test_it_says_of_every_signature_what_a_library_says() -> None:
    seeded = random.Random(8032)
    said = []
    for number in range(60):
        private = Ed25519PrivateKey.from_private_bytes(seeded.randbytes(32))
        public, message = private.public_key().public_bytes_raw(), seeded.randbytes(number)
        signature = bytearray(private.sign(message))
        key = bytearray(public)
        match number % 4:
            case 1:
                signature[seeded.randrange(64)] ^= 1 << seeded.randrange(8)
            case 2:
                key[seeded.randrange(32)] ^= 1 << seeded.randrange(8)
            case 3:  # another spelling of the same number
                scalar = int.from_bytes(signature[32:], "little") + loyalty_verify.ORDER
                signature[32:] = scalar.to_bytes(32, "little")
        try:
            Ed25519PublicKey.from_public_bytes(bytes(key)).verify(bytes(signature), message)
            expected = True
        except (InvalidSignature, ValueError):
            expected = False
        said.append(loyalty_verify.ed25519_verifies(bytes(key), bytes(signature), message))
        assert said[-1] == expected, number

    assert said.count(True) == 15


# Encodings of the points of order 1, 2, 4 and 8, canonical or not: with such a key, anything is "signed".
SMALL = [0, 1, loyalty_verify.PRIME - 1, loyalty_verify.PRIME, loyalty_verify.PRIME + 1]
SMALL += [
    int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
    int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
]


@pytest.mark.parametrize("number", SMALL)
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_of_small_order_or_of_another_spelling_signs_nothing(number: int, sign: int) -> None:
    key = (number | sign << 255).to_bytes(32, "little")
    neutral = (1).to_bytes(32, "little")

    for message in (b"", b"a", b"b", b"c", b"d", b"e", b"f", b"g"):
        assert not loyalty_verify.ed25519_verifies(key, neutral + bytes(32), message)


# --- the command ------------------------------------------------------------------------------------------------------


class Scene(NamedTuple):
    """A bundle of a ledger in a folder, and what an auditor has beside it."""

    folder: Path
    content: bytes
    key: str
    notes: list[bytes]  # checkpoints that were kept, oldest first
    email: str


@pytest.fixture
async def scene(dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, tmp_path: Path) -> Scene:
    signer = Signer(tmp_path / "signer", site="logs.example")
    notes = []
    for number in range(3):
        await tell(connection, ledger, [issued(f"e{number}", number, 1, 10), redeemed(f"r{number}", number, 1, 3)])
        notes.append((await tree_heads.sign_head(connection, signer, ledger)).note)
    signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
    assert signed is not None
    keys = [one.key.write() for one in await tree_heads.log_keys(connection, ledger.ledger_id)]
    email = email_of(ledger, signed, signed.note.decode(), keys)
    content = await bundle(dsn, signer, ledger)
    (tmp_path / "acme.tar").write_bytes(content)
    return Scene(tmp_path, content, keys[0], notes, email)


def ask(scene: Scene, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in the scene's folder; give its exit code and what it printed."""
    named = [str(scene.folder / word) if (scene.folder / word).exists() else word for word in arguments]
    with pytest.raises(SystemExit) as ended:
        loyalty_verify.main(named)
    out, err = capsys.readouterr()
    return int(str(ended.value.code)), out, err


def test_it_runs_where_there_is_nothing_but_python(scene: Scene) -> None:
    command = [sys.executable, "-I", "-S", str(VERIFIER), "acme.tar", "--key", scene.key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scene.folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\nverified\n" in done.stdout


def test_it_tells_the_hash_of_the_file_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loyalty_verify.main(["--version"])

    assert hashlib.sha256(VERIFIER.read_bytes()).hexdigest() in capsys.readouterr().out


def test_without_a_key_there_is_no_verdict_unless_one_asks_for_less(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ask(scene, capsys, "acme.tar")
    assert (code, out) == (2, "")
    assert "--key is needed" in err

    code, out, err = ask(scene, capsys, "acme.tar", "--trust-bundle-key")
    assert (code, err) == (0, "")
    assert "verified, by the key in the bundle alone, which the maker of the bundle could have chosen" in out
    code, out, _ = ask(scene, capsys, "acme.tar", "--trust-bundle-key", "--json")
    assert (code, json.loads(out)["key"]) == (0, "in the bundle")

    witness = loyalty_verify.CheckpointKey("w", b"", loyalty_verify.COSIGNATURE, bytes(32))
    material = b"\x04" + witness.public
    key_hash = hashlib.sha256(b"w\n" + material).hexdigest()[:8]
    code, _, err = ask(scene, capsys, "acme.tar", "--key", f"w+{key_hash}+{base64.b64encode(material).decode()}")
    assert code == 2, "the key of a witness is not that of the log"


def test_exit_codes_tell_tampered_from_unreadable_from_misuse(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    folder, key = scene.folder, scene.key
    (folder / "changed.tar").write_bytes(scene.content.replace(b'"kind"', b'"kinD"', 1))
    (folder / "text.tar").write_bytes(b"# no bundle at all\n" * 100)
    (folder / "empty.tar").write_bytes(b"")
    packed_bundle = gzip.compress(scene.content)
    (folder / "whole.tar.gz").write_bytes(packed_bundle)
    (folder / "short.tar.gz").write_bytes(packed_bundle[: len(packed_bundle) // 2])
    (folder / "spoilt.tar.gz").write_bytes(packed_bundle[:900] + b"\xff" * 200 + packed_bundle[1100:])
    (folder / "bomb.tar.gz").write_bytes(gzip.compress(bytes(4 << 20)))
    (folder / "other.tar.zst").write_bytes(b"(\xb5/\xfd" + bytes(100))
    (folder / "kept.txt").write_bytes(scene.notes[0])
    expected = {
        ("acme.tar", "--key", key): 0,
        ("whole.tar.gz", "--key", key): 0,
        ("acme.tar", "--key", key, "--older", "kept.txt"): 0,
        ("changed.tar", "--key", key): 1,
        ("text.tar", "--key", key): 1,
        ("empty.tar", "--key", key): 1,
        ("acme.tar",): 2,
        ("acme.tar", "--key", "nonsense"): 2,
        ("acme.tar", "--key", key, "--at", "yesterday"): 2,
        ("acme.tar", "--key", key, "--at", "2026-03-31"): 2,
        ("acme.tar", "--key", key, "--account", "nobody"): 2,
        ("acme.tar", "--key", key, "--frobnicate"): 2,
        ("nowhere.tar", "--key", key): 3,
        (str(folder), "--key", key): 3,
        ("acme.tar", "--key", key, "--older", "nowhere.txt"): 3,
        ("acme.tar", "--key", key, "--older", str(folder)): 3,
        ("acme.tar", "--key", key, "--older", "text.tar"): 3,
        ("acme.tar", "--key", key, "--older", "acme.tar"): 3,
        ("short.tar.gz", "--key", key): 3,
        ("spoilt.tar.gz", "--key", key): 3,
        ("bomb.tar.gz", "--key", key): 3,
        ("other.tar.zst", "--key", key): 3,
    }

    found = {arguments: ask(scene, capsys, *arguments) for arguments in expected}

    assert {arguments: code for arguments, (code, _, _) in found.items()} == expected
    for code, out, err in found.values():
        assert "Traceback" not in err
        assert bool(err) == (code >= 2)
        assert bool(out) == (code <= 1 or "nobody" in err)


# --- what was kept ----------------------------------------------------------------------------------------------------


def kept_files(scene: Scene) -> dict[str, bytes]:
    """Write what was kept in every form in which it leaves the house or comes out of a mail program."""
    anchor = b"".join(note + b"\n" for note in scene.notes)
    encoded = quopri.encodestring(scene.email.partition("\n\n")[2].encode())
    return {
        "a checkpoint": scene.notes[-1],
        "a checkpoint with empty lines around it": b"\n\n" + scene.notes[-1] + b"\n\n",
        "a checkpoint with a mark of order": b"\xef\xbb\xbf" + scene.notes[-1],
        "the file of an anchor with one": scene.notes[-1] + b"\n",
        "the file of an anchor with many": anchor,
        "an e-mail": scene.email.encode(),
        "an e-mail with other line ends": scene.email.replace("\n", "\r\n").encode(),
        "an e-mail as it was sent": b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
        b"Content-Transfer-Encoding: quoted-printable\n\n" + encoded,
    }


async def test_what_was_kept_is_taken_in_every_form_in_which_it_was_handed_out(
    scene: Scene, dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger
) -> None:
    signer = Signer(scene.folder / "signer", site="logs.example")
    other = await create_ledger(connection, "other")
    await tell(connection, other, [issued("o", 1, 1, 10)])
    foreign = (await tree_heads.sign_head(connection, signer, other)).note
    forms = kept_files(scene) | {"an anchor of two ledgers": foreign + b"\n" + scene.notes[0] + b"\n"}

    for name, content in forms.items():
        size = 2 if "two ledgers" in name else 6
        assert wrong(scene.content, content, [scene.key]) == [], name
        assert (
            max(one.head.size for one in read_kept_checkpoints(content) if one.head.origin.endswith("acme")) == size
        ), name
        part = await bundle(dsn, signer, ledger, BundleScope(positions=(1, 2)), content)
        assert f"consistency/{size}" in members_of(part), name
        assert wrong(part, content, [scene.key]) == [], name
    live = await found_live(dsn, connection, ledger, signer, forms["the file of an anchor with many"])
    assert live["older checkpoint"] == (
        True,
        "it is of 6 events of logs.example/acme, signed by a key of that log, and 2 before it",
    )
    assert wrong(scene.content, foreign, [scene.key]) == [
        "older checkpoint: the earlier checkpoints cannot be used: it belongs to another log, logs.example/other"
    ]


def test_each_of_many_kept_checkpoints_is_compared(scene: Scene) -> None:
    [first, *rest] = scene.notes
    root = first.split(b"\n")[2]
    forged = first.replace(root, base64.b64encode(bytes(32)))

    found = wrong(scene.content, b"\n".join([forged, *rest]), [scene.key])

    assert found == ["older checkpoint: the signature of logs.example/acme is wrong"]


def test_a_checkpoint_of_more_events_than_the_bundle_has_is_not_passed_over(scene: Scene) -> None:
    seed = (scene.folder / "signer/keys").read_text().strip()
    text = f"logs.example/acme\n9\n{base64.b64encode(bytes(32)).decode()}\n"
    key = loyalty_verify.read_key(scene.key)
    signature = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)).sign(text.encode())
    line = f"\N{EM DASH} {key.name} {base64.b64encode(key.key_hash + signature).decode()}\n"

    [found] = wrong(scene.content, b"\n".join([*scene.notes, f"{text}\n{line}".encode()]), [scene.key])

    assert "the older checkpoint has 9 events, the bundle 6: the ledger has shrunk" in found


# --- figures ----------------------------------------------------------------------------------------------------------


def figures_of(content: bytes, at: datetime, *wanted: str) -> dict[str, Any]:
    results, figures = loyalty_verify.examine(
        io.BytesIO(content), None, [], loyalty_verify.read_time(at.isoformat()), wanted
    )
    assert all(result.holds for result in results), results
    assert figures is not None
    return figures.document()


async def test_the_figures_are_those_of_the_ledger_at_any_time(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, tmp_path: Path
) -> None:
    for source in ("capillary", "voucherify", "ascenda", "fabric"):
        await tell(connection, ledger, samples(source), source)
    await tell(
        connection, ledger, [issued(f"e{n}", n, n % 3, 10, bill=f"b{n}", lapses=f"20{30 + n}-06-30") for n in range(9)]
    )
    content = await bundle(dsn, Signer(tmp_path / "signer", site="logs.example"), ledger)

    for year in (2019, 2022, 2024, 2026, 2031, 2034, 2060):
        at = datetime(year, 3, 31, 18, 30, tzinfo=UTC)
        expected = {}
        for one in (await read_trial_balance(connection, ledger.ledger_id, at, None)).sums():
            outstanding = sum((one.classes.get(name, Decimal()) for name in ("available", "debt")), Decimal())
            expected[one.programme, one.unit] = outstanding, one.classes.get("promised", Decimal())
        found = {
            (one["programme"], one["unit"]): (Decimal(one["outstanding"]), Decimal(one["promised"]))
            for one in figures_of(content, at)["totals"]
        }
        nothing = Decimal(), Decimal()
        assert {of: sums for of, sums in found.items() if sums != nothing} == {
            of: sums for of, sums in expected.items() if sums != nothing
        }, year


def test_figures_tie_to_the_accounts_that_were_asked_for(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    customer, account = "capillary:9001:1", "capillary:9001:1:77:points"
    asked = ("acme.tar", "--key", scene.key, "--at", "2026-12-31T23:59:59Z")

    code, out, _ = ask(scene, capsys, *asked, "--customer", customer, "--json")
    document = json.loads(out)["figures"]

    assert (code, document["at"]) == (0, "2026-12-31 23:59:59+00")
    assert document["accounts"][0]["account"] == account
    assert document["accounts"][0]["outstanding"] == document["totals"][0]["outstanding"] == "21"
    _, out, _ = ask(scene, capsys, *asked, "--account", account)
    assert f"account {account}: outstanding 21, promised 0" in out


# --- memory -----------------------------------------------------------------------------------------------------------


SPANS: list[Any] = [[1, 60_000_000], [1, 10**4000], [10**30, 1], [1, True], ["1", "2"], [1, 2, 3], None]


async def test_numbers_in_a_small_bundle_take_no_memory(
    scene: Scene, dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger
) -> None:
    part = await bundle(
        dsn, Signer(scene.folder / "signer", site="logs.example"), ledger, BundleScope(positions=(2, 4))
    )
    members = members_of(part)
    for span in SPANS:
        manifest = {**json.loads(members["manifest.json"]), "range": span}
        content = packed({**members, "manifest.json": json.dumps(manifest).encode()})

        tracemalloc.start()
        found = wrong(content, keys=[scene.key])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert [one.partition(":")[0] for one in found] == ["entries"], span
        assert peak < 10 * len(content) + (4 << 20), span
