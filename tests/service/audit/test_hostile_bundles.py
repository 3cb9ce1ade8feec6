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
from typing import Any, cast

import asyncpg
import loyalty_verify
import pytest

from ledger.facts.accounts import Redeemed
from ledger.store.registry import Ledger
from ledger.transparency.signer import Signer
from projections.accounts import ACCOUNTS
from tests.service.audit.test_bundle import bundle, tell, verified, wrong
from tests.support.payloads import issued, redeemed

VERIFIER = Path(loyalty_verify.__file__)


@pytest.fixture
async def honest(dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, tmp_path: Path) -> bytes:
    await tell(connection, ledger, [issued(f"e{number}", number, 1, 10) for number in range(5)])
    return await bundle(dsn, Signer(tmp_path / "signer", site="logs.example"), ledger)


def members_of(content: bytes) -> dict[str, bytes]:
    archive = loyalty_verify.BundleArchive(io.BytesIO(content))
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
        ("rows/lots/000000", b"+00\t10\t", b"+00\t9\t"),  # the points that remain
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

    found = wrong(packed(members))

    assert "lines: there are lines of capillary:9001:1, and no facts about its accounts" in found
    assert "rows: there is no fact about capillary:9001:1 of accounts" in found


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
        (["BUNDLE", "--trust-bundle-key"], 0),
        (["BUNDLE", "--trust-bundle-key", "--json"], 0),
        (["README", "--trust-bundle-key"], 1),
        (["EMPTY", "--trust-bundle-key"], 1),
        ([], 2),
        (["BUNDLE"], 2),
        (["nowhere.tar", "--trust-bundle-key"], 3),
        (["BUNDLE", "--frobnicate"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_it_ends_with_0_verified_1_not_2_misuse_3_unreadable(
    honest: bytes, tmp_path: Path, arguments: list[str], code: int
) -> None:
    (tmp_path / "BUNDLE").write_bytes(honest)
    (tmp_path / "README").write_bytes(b"# no bundle at all\n" * 100)
    (tmp_path / "EMPTY").write_bytes(b"")

    command = [sys.executable, "-I", str(VERIFIER), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done


@pytest.fixture
async def claimed(dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, tmp_path: Path) -> bytes:
    """A bundle without an attestation: a lot of a bill with a day, a claim that does not fit, a redemption of both."""
    told = [
        issued("e1", 0, 1, 50, bill="b1", lapses="2099-12-31", programCurrentPoints=50, programLifetimePoints=60),
        issued("e2", 10, 1, 10, programCurrentPoints=70, programLifetimePoints=200),
        redeemed("e3", 20, 1, 55, "r1"),
    ]
    await tell(connection, ledger, told)
    return await bundle(dsn, Signer(tmp_path / "signer", site="logs.example"), ledger)


def edited(content: bytes, table: str, row: int, changes: dict[str, str]) -> bytes:
    """Change columns of one row."""
    members = members_of(content)
    columns = json.loads(members["manifest.json"])["tables"][table]
    name = f"rows/{table}/000000"
    lines = members[name].split(b"\n")
    cells = lines[row].split(b"\t")
    for column, value in changes.items():
        assert cells[columns.index(column)] != value.encode(), cells
        cells[columns.index(column)] = value.encode()
    lines[row] = b"\t".join(cells)
    return packed({**members, name: b"\n".join(lines)})


@pytest.mark.parametrize(
    ("table", "changes", "says"),
    [
        ("lots", {"points": "51"}, "do not add up"),
        ("lots", {"points": "51", "expired": "1"}, "expired is not the sum of its postings"),
        ("lots", {"redeemed": "49", "sent": "1"}, "sent is not the sum of its postings"),
        ("lots", {"redeemed": "49", "removed": "1"}, "redeemed is not the sum of its postings"),
        ("lots", {"expires_on": "2098-12-31"}, "lapses on another day"),
        ("lots", {"expires_on": "\\N"}, "lapses on another day"),
        ("lots", {"rule": "v1"}, "has an expiry day of its own"),
        ("lots", {"promotion": "P1"}, "is of another promotion"),
        ("lots", {"bill": "b2"}, "is of another bill"),
        ("lots", {"origin": "promotional"}, "is of another origin"),
        ("lots", {"earned_at": "2023-11-14 22:13:21+00"}, "was earned at another time"),
        ("lots", {"asserted": "t"}, "has the wrong value of asserted"),
        ("accounts", {"lifetime": "201"}, "lifetime is not the sum of the points that its facts grant"),
        ("accounts", {"lifetime_claimed": "201"}, "the claimed total is not the one of its last claim"),
        ("accounts", {"claimed": "71"}, "the claim is not the one of its last line with a claim"),
        ("accounts", {"claimed": "\\N"}, "the claim is not the one of its last line with a claim"),
        ("accounts", {"claimed_at": "2023-11-14 22:13:20+00"}, "the claim has another time than its line"),
        ("accounts", {"drift": "0"}, "the drift is not the one of its last claim"),
        ("statement", {"claimed": "51", "drift": "1"}, "has no fact with the same points and claim"),
        ("statement", {"drift": "1"}, "the drift is not the claim minus the balance"),
    ],
)
async def test_what_follows_from_the_facts_is_derived_though_nothing_was_attested(
    claimed: bytes, table: str, changes: dict[str, str], says: str
) -> None:
    assert wrong(claimed) == []

    found = wrong(edited(claimed, table, 1 if table == "lots" else 0, changes))

    assert any(says in one for one in found), found


@pytest.mark.parametrize("table", ["facts", "accounts", "lots", "statement"])
async def test_no_row_is_there_twice_nor_of_somebody_of_whom_nothing_was_told(claimed: bytes, table: str) -> None:
    members = members_of(claimed)
    name = f"rows/{table}/000000"
    first = members[name].split(b"\n")[0] + b"\n"

    twice = wrong(packed({**members, name: first + members[name]}))
    planted = wrong(packed({**members, name: members[name] + first.replace(b"9001:1", b"9001:2")}))

    assert any("twice" in one or "more than one row" in one for one in twice), twice
    assert planted


async def test_a_lot_that_was_used_up_cannot_be_left_out(claimed: bytes) -> None:
    members = members_of(claimed)
    open_lot, used_up = members["rows/lots/000000"].splitlines(keepends=True)
    assert b"+00\t0\t" in used_up
    members["rows/lots/000000"] = open_lot

    assert any("its lots are not the lots of its postings" in one for one in wrong(packed(members)))


async def test_an_account_without_any_line_is_refused(claimed: bytes) -> None:
    """Whatever happens to an account is on its statement; so none of it means that the row was made up."""
    members = members_of(claimed)
    for table in ("lots", "statement"):
        del members[f"rows/{table}/000000"]
    zero = dict.fromkeys(("available", "redeemed", "issued"), "0")

    assert any("has no line" in one for one in wrong(edited(packed(members), "accounts", 0, zero)))


async def test_a_line_cannot_be_left_out_though_all_the_others_add_up(claimed: bytes) -> None:
    """The redemption is said never to have happened; its fact is still there."""
    members = members_of(claimed)
    lines = members["rows/statement/000000"].splitlines(keepends=True)
    members["rows/statement/000000"] = b"".join(lines[:2])
    found = packed(members)
    found = edited(found, "accounts", 0, {"available": "60", "redeemed": "0", "last_at": "2023-11-14 22:13:30+00"})
    found = edited(found, "lots", 0, {"remaining": "10", "redeemed": "0"})
    found = edited(found, "lots", 1, {"remaining": "50", "redeemed": "0"})

    assert wrong(found) == ["lines: capillary:9001:1 has no line for the points that a fact Redeemed moved"]


async def test_a_holder_who_is_parked_is_named_and_not_followed(
    dsn: str,
    connection: "asyncpg.Connection[asyncpg.Record]",
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(_wallet: Any, _fact: Any, _occurrence: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(cast(dict[Any, Any], ACCOUNTS.on), Redeemed, stumble)
    await tell(connection, ledger, [issued("e1", 0, 1, 10), redeemed("e2", 1, 1, 5, "r1")])

    found = verified(await bundle(dsn, Signer(tmp_path / "signer", site="logs.example"), ledger))

    assert all(holds for holds, _ in found.values()), found
    assert found["lines"][1].endswith("1 are parked")
