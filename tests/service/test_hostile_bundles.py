"""Bundles that nobody honest made: the verifier gives a verdict on each, in bounded memory and without a traceback."""

import base64
import hashlib
import io
import json
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import asyncpg
import loyalty_verify
import pytest

from ledger.registry import Ledger
from ledger.signer import Signer
from tests.deliveries import issued
from tests.service.test_bundle import bundle, tell, wrong

VERIFIER = Path(loyalty_verify.__file__)


@pytest.fixture
async def honest(dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, tmp_path: Path) -> bytes:
    await tell(connection, ledger, [issued(f"e{number}", number, 1, 10) for number in range(5)])
    return await bundle(dsn, Signer(tmp_path / "signer", site="logs.example"), ledger)


def members_of(content: bytes) -> dict[str, bytes]:
    archive = loyalty_verify.Archive(io.BytesIO(content))
    return {name: archive.read(name) for name in archive.order if name != "SHA256SUMS"}


def packed(members: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """Pack members, with sums that fit."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in members.items())
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in {**members, "SHA256SUMS": sums.encode()}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in more:
            tar.addfile(member)
    return file.getvalue()


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        named("../../etc/passwd"),
        named("/etc/passwd"),
        named("checkpoint", tarfile.SYMTYPE, "/etc/passwd"),
        named("payloads/000001", tarfile.LNKTYPE, "checkpoint"),
        named("rows/facts/000001", tarfile.CHRTYPE),
        named("tile/0/../../x"),
        named("anything"),
        named("checkpoint"),
        named("payloads", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name} {member.type!r}",
)
async def test_nothing_but_plain_files_of_known_names_each_once(honest: bytes, member: tarfile.TarInfo) -> None:
    [found] = wrong(packed(members_of(honest), member))

    assert found.startswith("archive: ")


def test_a_member_that_claims_to_be_huge_is_not_read() -> None:
    member = named("checkpoint")
    member.size = 7 << 30
    header = member.tobuf(tarfile.USTAR_FORMAT)

    assert wrong(header) == ["archive: checkpoint is larger than 67108864 bytes"]


def deep(_: bytes) -> bytes:
    return b"[" * 1_000_000


def long_number(_: bytes) -> bytes:
    return b'{"format":' + b"9" * 100_000 + b"}"


def repeated(_: bytes) -> bytes:
    return b'{"format":1,"format":"loyalty-audit-bundle/1"}'


def other_types(content: bytes) -> bytes:
    return json.dumps({**json.loads(content), "size": "5", "tables": {"facts": [1]}}).encode()


def of_no_tables(content: bytes) -> bytes:
    return json.dumps({**json.loads(content), "tables": {}}).encode()


def infinite(_: bytes) -> bytes:
    return b'{"format":Infinity}'


@pytest.mark.parametrize("change", [deep, long_number, repeated, other_types, of_no_tables, infinite, bytes.upper])
async def test_a_manifest_that_makes_no_sense_is_refused(honest: bytes, change: Callable[[bytes], bytes]) -> None:
    members = members_of(honest)
    members["manifest.json"] = change(members["manifest.json"])

    assert wrong(packed(members))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rows/statement/000000", b"\t10\t50\t", b"\t10\t51\t"),  # a balance
        ("rows/statement/000000", b'"10"', b'"11"'),  # a posting
        ("rows/statement/000000", b'"10"', b'"1e1"'),  # the same number, in another notation than ours
        ("rows/statement/000000", b'"10"', b'"NaN"'),
        ("rows/statement/000000", b'"10"', b"[" * 900),
        ("rows/lots/000000", b"\t10\t10\t", b"\t10\t9\t"),  # what remains
        ("rows/accounts/000000", b"\t50\t", b"\t60\t"),
        ("rows/facts/000000", b"Issued", b"Redeemed"),
        ("rows/facts/000000", b"\t", b" "),
        ("payloads/000000", b"pointsIssued", b"pointsLapsed"),
        ("checkpoint", b"\n5\n", b"\n4\n"),
        ("keys", b"+", b"-"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_change_anywhere_is_found_though_the_sums_fit(honest: bytes, name: str, old: bytes, new: bytes) -> None:
    members = members_of(honest)
    assert old in members[name], members[name]
    members[name] = members[name].replace(old, new, 1)

    assert wrong(packed(members))


async def test_a_statement_without_any_facts_is_refused_though_its_postings_add_up(honest: bytes) -> None:
    members = members_of(honest)
    del members["rows/facts/000000"]

    assert wrong(packed(members)) == ["lines: there are lines of capillary:9001:1, and no facts about its accounts"]


async def test_no_cut_flip_or_noise_anywhere_is_verified_or_raises(honest: bytes) -> None:
    seeded = random.Random(5)
    for _ in range(150):
        spoilt = bytearray(honest)
        match seeded.randrange(3):
            case 0:
                del spoilt[seeded.randrange(len(spoilt) - 1024) :]
            case 1:
                spoilt[seeded.randrange(512)] ^= 1 << seeded.randrange(8)
            case _:
                at = seeded.randrange(len(spoilt) - 600)
                spoilt[at : at + 600] = seeded.randbytes(600)

        assert wrong(bytes(spoilt))


async def test_a_key_of_somebody_else_does_not_verify(honest: bytes) -> None:
    material = b"\x01" + bytes(32)
    name = members_of(honest)["checkpoint"].partition(b"\n")[0].decode()
    key_hash = hashlib.sha256(name.encode() + b"\n" + material).hexdigest()[:8]

    found = wrong(honest, keys=[f"{name}+{key_hash}+{base64.b64encode(material).decode()}"])

    assert found == ["checkpoint: the checkpoint is not signed by the log's key"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["BUNDLE"], 0),
        (["BUNDLE", "--json"], 0),
        (["README"], 1),
        (["EMPTY"], 1),
        ([], 2),
        (["nowhere.tar"], 2),
        (["BUNDLE", "--key", "nonsense"], 2),
        (["BUNDLE", "--older", "nowhere.txt"], 2),
        (["BUNDLE", "--older", "README"], 1),
        (["BUNDLE", "--frobnicate"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_it_ends_with_0_verified_1_not_2_misuse(honest: bytes, tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "BUNDLE").write_bytes(honest)
    (tmp_path / "README").write_bytes(b"# no bundle at all\n" * 100)
    (tmp_path / "EMPTY").write_bytes(b"")

    command = [sys.executable, "-I", str(VERIFIER), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done
