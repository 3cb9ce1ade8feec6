"""Verify an audit bundle of a Loyalty Ledger: signatures, every leaf, the root, payloads, facts and balances.

One file that runs alone, with nothing but Python; it shares no line with the software that wrote the bundle, and trusts
nothing in it. Whatever a bundle holds, the outcome is a verdict: a member is read only after its size was checked, one
at a time, so memory is bounded, and anything unforeseen counts as "not verified".

    loyalty-verify BUNDLE --key VKEY [--older KEPT] [--at TIME] [--account ID] [--customer ID] [--json]

    exit 0 verified, 1 not verified, 2 the command was not understood, 3 something could not be read

What it checks, and what it cannot, stands in docs/auditors.md. A bundle is a ustar archive, also packed by gzip:

    checkpoint, tile/...           C2SP tlog-checkpoint and tlog-tiles (of a partial bundle: entries/N, proofs/N)
    payloads/NNNNNN                records: position (8 bytes), length (4), body; it counts until the next record
    rows/TABLE/NNNNNN              rows as PostgreSQL's COPY writes text, in the order of their keys
    keys, manifest.json, SHA256SUMS
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- it runs with whatever Python there is
    sys.stderr.write("loyalty-verify needs Python 3.11 or newer\n")
    sys.exit(3)

import argparse
import base64
import binascii
import email
import gzip
import hashlib
import json
import re
import tempfile
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import groupby
from typing import Any, BinaryIO, NamedTuple, cast

VERSION = "0.1.0"
VERIFIED, NOT_VERIFIED, MISUSE, UNREADABLE = 0, 1, 2, 3
FORMAT = "loyalty-audit-bundle/1"

MEMBERS_MAX = 1_000_000
MEMBER_BYTES_MAX = 64 << 20
NOTE_BYTES_MAX = 1 << 20
KEPT_BYTES_MAX = 64 << 20  # of a file of checkpoints that was kept
UNPACKED_PER_PACKED_BYTE_MAX = 100  # of a bundle packed by gzip; an honest one has about 10
SIGNATURES_MAX = 100
JSON_BYTES_MAX = 4 << 20
FACTS_PER_SUBJECT_MAX = 1_000_000
LEAVES_PER_TILE = 256
BLOCK = 512
ED25519, COSIGNATURE = 1, 4
ZERO = Decimal(0)

SAID = {"format", "ledger", "scope", "customer", "range", "size", "rows_position", "parked", "made_at"}
SAID |= {"tables", "subject_kinds"}  # what a manifest says
# The columns of the tables that are looked into, in their order.
COLUMNS = {
    "facts": "subject_kind subject occurred_at rank tag ordinal kind body",
    "accounts": "subject account_id holder customer programme unit available promised debt opening unseen lifetime "
    "issued converted redeemed expired lapsed reversed sent received in_transit held merged adjusted claimed "
    "claimed_at drift missing drift_since agreed_at lifetime_claimed expired_early expired_early_at expiry_claimed "
    "expiry_claimed_on incomplete contested last_at",
    "lots": "subject account_id programme unit lot_id origin points remaining redeemed sent removed expired returned "
    "expires_on lapses_at earned_at promotion bill bill_number asserted rule",
    "statement": "subject account_id line occurred_at kind points balance promised claimed drift reference untied "
    "again differs postings",
}

NAME = re.compile(
    r"checkpoint|keys|manifest\.json|SHA256SUMS|(?:tile/(?:[0-9]{1,2}|entries)/(?:x\d{3}/){0,6}\d{3}(?:\.p/[1-9]\d{0,2})?)"
    r"|(?:payloads|rows/[a-z_]{1,40})/\d{6}|entries/[1-9]\d{0,17}|proofs/[1-9]\d{0,17}\.tlog-proof|consistency/\d{1,18}",
    re.ASCII,
)
POINTS = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
EXACT = Context(prec=120, traps=[Inexact, InvalidOperation])


class Refused(Exception):
    """Something does not hold; the text says what, for a person."""


def demand(holds: object, sentence: str) -> None:
    if not holds:
        raise Refused(sentence)


# --- the archive ------------------------------------------------------------------------------------------------------


class Archive:
    """The members of a strict ustar archive, by name: regular files only, each name once and of the known ones."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at: dict[str, tuple[int, int]] = {}
        self.order: list[str] = []
        end = file.seek(0, 2)
        at = 0
        while True:
            file.seek(at)
            header = file.read(BLOCK)
            demand(len(header) == BLOCK, "the archive ends in the middle")
            if not any(header):
                _demand_nothing_more(file)
                break
            name, size = _header(header)
            at += BLOCK
            demand(at + size <= end, f"{name} ends beyond the archive")
            demand(name not in self._at, f"{name} is there twice")
            demand(len(self._at) < MEMBERS_MAX, "too many members")
            self._at[name] = (at, size)
            self.order.append(name)
            at += size
            file.seek(at)
            demand(not any(file.read(-at % BLOCK)), f"something stands behind {name}")
            at += -at % BLOCK

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def read(self, name: str, most: int = MEMBER_BYTES_MAX) -> bytes:
        """Read one member, which may have at most so many bytes."""
        demand(name in self._at, f"{name} is missing")
        at, size = self._at[name]
        demand(size <= most, f"{name} is larger than {most} bytes")
        self._file.seek(at)
        return self._file.read(size)

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.order if name.startswith(prefix)]


def _demand_nothing_more(file: BinaryIO) -> None:
    while rest := file.read(MEMBER_BYTES_MAX):
        demand(not any(rest), "something stands behind the archive")


def _header(header: bytes) -> tuple[str, int]:
    """Read a name and a size. Links, devices, extended headers and unknown names are refused, so no path can escape."""
    plain = sum(header[:148]) + 8 * 32 + sum(header[156:])
    demand(_octal(header[148:156]) == plain, "a header of the archive is damaged")
    demand(header[156:157] in (b"0", b"\0"), "the archive holds something other than plain files")
    prefix, short = (part.rstrip(b"\0").decode("latin-1") for part in (header[345:500], header[:100]))
    name = f"{prefix}/{short}" if prefix else short
    demand(NAME.fullmatch(name), f"{name[:80]!r} is no member of a bundle")
    size = _octal(header[124:136])
    demand(size <= MEMBER_BYTES_MAX, f"{name} is larger than {MEMBER_BYTES_MAX} bytes")
    return name, size


def _octal(digits: bytes) -> int:
    text = digits.strip(b"\0 ")
    demand(text.isdigit() and not set(text) & set(b"89"), "a header of the archive is damaged")
    return int(text, 8)


# --- signed notes and checkpoints -------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A C2SP verifier key: NAME+HASH+BASE64."""

    name: str
    key_hash: bytes
    algorithm: int
    public: bytes


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]  # (name, key hash, signature)


def read_key(text: str) -> Key:
    """Read a verifier key, and see that its hash is the one of its name and key."""
    name, _, rest = text.strip().partition("+")
    key_hash, _, encoded = rest.partition("+")
    material = _base64(encoded)
    demand(name and len(material) == 33 and material[0] in (ED25519, COSIGNATURE), "not an Ed25519 verifier key")
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    demand(key_hash == expected.hex(), f"the verifier key of {name} does not fit its own hash")
    return Key(name, expected, material[0], material[1:])


def read_checkpoint(note: bytes) -> Checkpoint:
    """Read a C2SP signed note that holds a tlog-checkpoint; signatures are not yet checked."""
    demand(len(note) <= NOTE_BYTES_MAX, "the checkpoint is too long")
    try:
        text, found, tail = note.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise Refused("the checkpoint is no UTF-8") from None
    demand(found and tail.endswith("\n"), "the checkpoint is no signed note")
    text += "\n"
    signatures = []
    lines = tail[:-1].split("\n")
    demand(len(lines) <= SIGNATURES_MAX, f"the checkpoint has more than {SIGNATURES_MAX} signatures")
    for line in lines:
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        blob = _base64(encoded)
        demand(mark == "—" and name and "+" not in name and len(blob) > 4, "a signature line cannot be read")
        signatures.append((name, blob[:4], blob[4:]))
    lines = text.split("\n")
    demand(len(lines) >= 4 and lines[0], "the checkpoint lacks origin, size or root")
    demand(re.fullmatch(r"0|[1-9]\d{0,17}", lines[1], re.ASCII), "the checkpoint's size is no number")
    root = _base64(lines[2])
    demand(len(root) == 32, "the checkpoint's root is no SHA-256")
    return Checkpoint(lines[0], int(lines[1]), root, text.encode(), tuple(signatures))


def signed_by(checkpoint: Checkpoint, key: Key) -> bool:
    """Say whether a checkpoint carries a signature or cosignature by a key; one that is wrong is refused."""
    for name, key_hash, signature in checkpoint.signatures:
        if (name, key_hash) != (key.name, key.key_hash):
            continue
        message = checkpoint.text
        if key.algorithm == COSIGNATURE:
            demand(len(signature) == 72, f"the cosignature of {name} is malformed")
            seconds = int.from_bytes(signature[:8], "big")
            demand(seconds < 1 << 63, f"the cosignature of {name} is of no time")
            message, signature = b"cosignature/v1\ntime %d\n" % seconds + message, signature[8:]
        demand(ed25519_verifies(key.public, signature, message), f"the signature of {name} is wrong")
        return True
    return False


def _base64(text: str) -> bytes:
    """Read base64 in the one way that it may be written."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("something that should be base64 is not") from None
    demand(base64.b64encode(decoded).decode() == text, "something is not base64 as it is written")
    return decoded


# --- what an auditor kept ---------------------------------------------------------------------------------------------


SCISSORS = re.compile(r"^-----8<-----\n(.*?)^----->8-----$", re.DOTALL | re.MULTILINE)


def kept_notes(content: bytes) -> list[bytes]:
    """Find the signed notes in what was kept: a checkpoint, an anchor's file of many, or an e-mail that holds one."""
    demand(len(content) <= KEPT_BYTES_MAX, f"it is longer than {KEPT_BYTES_MAX} bytes")
    if b"content-transfer-encoding:" in content[:NOTE_BYTES_MAX].lower():
        content = _mailed(content)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise Refused("it is no UTF-8") from None
    notes: list[bytes] = []
    before = ""
    for block in re.split(r"\n\n+", "\n\n".join(SCISSORS.findall(text) or [text]).strip("\n")):
        if block.startswith("\N{EM DASH} ") and before:
            notes.append(f"{before}\n\n{block}\n".encode())
            before = ""
        else:
            before = block
    demand(notes, "no checkpoint is in it")
    return notes


def _mailed(content: bytes) -> bytes:
    """Decode the text of an e-mail."""
    for part in email.message_from_bytes(content).walk():
        decoded = part.get_payload(decode=True)
        if part.get_content_type() == "text/plain" and isinstance(decoded, bytes):
            return decoded
    raise Refused("the e-mail has no text")


# --- Ed25519 (RFC 8032) -----------------------------------------------------------------------------------------------

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)

Point = tuple[int, int, int, int]  # x/z, y/z, z, xy/z
NEUTRAL: Point = (0, 1, 1, 0)


def ed25519_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return True if a signature is right. Written here so that no package is needed; nothing is secret, so the time it
    takes does not matter.

    Only one spelling of a signature is right: s below the order, R and the key in their canonical encoding. A key of
    small order, which "signs" anything, is refused.
    """
    key = _point_of(public) if len(public) == 32 and len(signature) == 64 else None
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= ORDER or _times_eight(key) == _encoded(NEUTRAL):
        return False
    digest = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    x, y, z, xy = key
    minus = (PRIME - x, y, z, PRIME - xy)
    sums = (NEUTRAL, BASE, minus, _added(BASE, minus))
    found = NEUTRAL
    for bit in range(ORDER.bit_length() - 1, -1, -1):  # s times the base point, less the digest times the key
        found = _added(found, found)
        found = _added(found, sums[(scalar >> bit & 1) + 2 * (digest >> bit & 1)])
    return _encoded(found) == signature[:32]


def _times_eight(point: Point) -> bytes:
    for _ in range(3):
        point = _added(point, point)
    return _encoded(point)


def _added(one: Point, other: Point) -> Point:
    """Add two points of the curve (RFC 8032, section 5.1.4)."""
    minus = (one[1] - one[0]) * (other[1] - other[0]) % PRIME
    plus = (one[1] + one[0]) * (other[1] + other[0]) % PRIME
    product = 2 * one[3] * other[3] * CURVE % PRIME
    doubled = 2 * one[2] * other[2] % PRIME
    e, f, g, h = plus - minus, doubled - product, doubled + product, plus + minus
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _encoded(point: Point) -> bytes:
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _point_of(encoded: bytes) -> Point | None:
    """Decode a point (RFC 8032, section 5.1.3); None if it is none, or not in its canonical encoding."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= PRIME:
        return None
    square = (y * y - 1) * pow(CURVE * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    if (x * x - square) % PRIME or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = PRIME - x
    return x, y, 1, x * y % PRIME


BASE = cast(Point, _point_of((4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little")))


# --- the tree (RFC 6962, section 2.1) ---------------------------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_hash(hashes: list[bytes]) -> bytes:
    """Give the Merkle Tree Hash of up to a tile of leaf hashes, or of roots of equal full trees."""
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else []
        hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=False)] + odd
    return hashes[0]


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes]) -> bytes:
    """Give the root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    demand(0 <= index < size, "the entry lies outside of the tree")
    at, last, found = index, size - 1, leaf
    for step in proof:
        demand(last > 0, "an inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(step, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, step)
        at, last = at >> 1, last >> 1
    demand(last == 0, "an inclusion proof is too short")
    return found


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> None:
    """See that a tree grew into another (RFC 9162, section 2.1.4.2)."""
    if old == new or old == 0:
        demand(not proof and (old == 0 or old_root == new_root), "the two trees of one size differ")
        return
    demand(old < new and proof, "no consistency proof")
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for step in path[1:]:
        demand(last > 0, "a consistency proof is too long")
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    demand(last == 0 and first == old_root, "the older checkpoint is of another history")
    demand(second == new_root, "the consistency proof does not lead to the root")


@dataclass
class Tree:
    """All tiles of a growing tree, each compared with the archive as soon as it is full."""

    archive: Archive
    size: int = 0
    levels: list[list[bytes]] = field(default_factory=lambda: [[]])
    counts: list[int] = field(default_factory=lambda: [0])  # full tiles, by level
    compared: int = 0

    def add(self, leaf: bytes) -> None:
        self.size += 1
        level = 0
        self.levels[0].append(leaf)
        while len(self.levels[level]) == LEAVES_PER_TILE:
            self._compare(f"tile/{level}/{tile_path(self.counts[level])}", self.levels[level])
            self.counts[level] += 1
            if level + 1 == len(self.levels):
                self.levels.append([])
                self.counts.append(0)
            self.levels[level + 1].append(tree_hash(self.levels[level]))
            self.levels[level].clear()
            level += 1

    def finish(self) -> None:
        """Compare the partial tiles of the right edge, and see that there are no others."""
        for level, hashes in enumerate(self.levels):
            if hashes:
                self._compare(f"tile/{level}/{tile_path(self.counts[level])}.p/{len(hashes)}", hashes)
        entries = self.archive.names("tile/entries/")
        demand(len(self.archive.names("tile/")) - len(entries) == self.compared, "there are tiles of no tree")

    def root(self) -> bytes:
        """Give the root of the leaves so far."""
        edge: bytes | None = None
        for hashes in self.levels:
            if hashes:
                edge = tree_hash([*hashes, edge]) if edge is not None else tree_hash(list(hashes))
        return edge if edge is not None else hashlib.sha256(b"").digest()

    def _compare(self, name: str, hashes: list[bytes]) -> None:
        demand(self.archive.read(name) == b"".join(hashes), f"{name} is not made of the entries")
        self.compared += 1


def tile_path(number: int) -> str:
    """Write a tile's number as tlog-tiles does: x001/x234/067."""
    path = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03d}/{path}"
    return path


# --- JSON, points and rows --------------------------------------------------------------------------------------------


def read_json(text: bytes, what: str) -> Any:
    """Read JSON strictly: no repeated keys, no NaN, limited in length; nesting beyond Python's own limit is refused."""
    demand(len(text) <= JSON_BYTES_MAX, f"{what} is too long")
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, InvalidOperation):
        raise Refused(f"{what} is no JSON that we accept") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    demand(len(made) == len(pairs), "a JSON object repeats a key")
    return made


def _no_constant(name: str) -> None:
    raise ValueError(name)


def read_object(text: bytes, what: str) -> dict[str, Any]:
    value = read_json(text, what)
    demand(isinstance(value, dict), f"{what} is no JSON object")
    return dict(value)


def points_of(value: object, what: str) -> Decimal:
    """Read exact points, which are text in plain notation."""
    demand(isinstance(value, str) and POINTS.fullmatch(value), f"{what} is no number of points")
    return Decimal(str(value))


def add(one: Decimal, other: Decimal) -> Decimal:
    return EXACT.add(one, other)


def sum_of(*points: Decimal) -> Decimal:
    total = ZERO
    for one in points:
        total = add(total, one)
    return total


ESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

Row = dict[str, str | None]


def rows_of(archive: Archive, table: str, columns: list[str]) -> Iterator[Row]:
    """Read a table's rows, written as COPY does: tabs between, \\N for null, backslashes before what breaks a line."""
    for line in lines_of(archive, table):
        cells = line.split(b"\t")
        demand(len(cells) == len(columns), f"a row of {table} has {len(cells)} columns instead of {len(columns)}")
        try:
            yield {column: _cell(cell) for column, cell in zip(columns, cells, strict=True)}
        except UnicodeDecodeError:
            raise Refused(f"a row of {table} is no UTF-8") from None


def lines_of(archive: Archive, table: str) -> Iterator[bytes]:
    for name in archive.names(f"rows/{table}/"):
        body = archive.read(name)
        demand(body.endswith(b"\n"), f"{name} ends in the middle of a row")
        yield from body[:-1].split(b"\n")


def _cell(cell: bytes) -> str | None:
    if cell == b"\\N":
        return None
    return (_ESCAPE.sub(lambda match: ESCAPES.get(match[1], match[1]), cell) if b"\\" in cell else cell).decode()


def text_of(row: Row, column: str) -> str:
    value = row.get(column)
    demand(value is not None, f"a row lacks {column}")
    return value or ""


# --- the checks -------------------------------------------------------------------------------------------------------


@dataclass
class Audit:
    """One bundle, what was asked for beside it, and what the checks have found out so far."""

    archive: Archive
    keys: list[Key]
    older: bytes | None  # a checkpoint that was kept, or several: see kept_notes
    at: str | None = None  # the time of the figures; None for when the bundle was made
    wanted: tuple[str, ...] = ()  # accounts and customers whose figures are wanted
    manifest: dict[str, Any] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    kept: list[Checkpoint] = field(default_factory=list)  # of this log, each size once, smallest first
    older_refused: str | None = None  # why what the auditor kept cannot be used
    trusted: bool = False  # the key came from the auditor, not with the bundle
    roots: dict[int, bytes] = field(default_factory=dict)  # that the tree had at the sizes of what was kept
    figures: "Figures | None" = None
    known: "list[array[int]]" = field(default_factory=lambda: [array("Q") for _ in range(256)])  # events, by 8 bytes
    attested: dict[str, Any] | None = None  # the last attestation
    subjects: "array[int]" = field(default_factory=lambda: array("Q"))  # that facts tell of, by 8 bytes
    last_told: int = 0  # the last position of an event that is no attestation

    @property
    def whole(self) -> bool:
        return self.manifest.get("scope") == "ledger"

    def signed(self) -> Checkpoint:
        demand(self.checkpoint is not None, "there is no checkpoint that could be trusted")
        assert self.checkpoint is not None
        return self.checkpoint


def check_members(audit: Audit) -> str:
    """Every member is as SHA256SUMS says, and no other is there."""
    archive = audit.archive
    audit.manifest = read_object(archive.read("manifest.json"), "manifest.json")
    demand(audit.manifest.get("format") == FORMAT, f"the bundle is not of the format {FORMAT}")
    demand(audit.manifest.keys() == SAID, "the manifest does not say what one says, and nothing else")
    demand(audit.manifest["scope"] in ("ledger", "customer", "range"), "the manifest names no scope")
    tables = audit.manifest.get("tables")
    fits = isinstance(tables, dict) and all(
        isinstance(columns, list) and columns and all(isinstance(column, str) for column in columns)
        for columns in tables.values()
    )
    demand(fits, "the manifest does not name the columns of its tables")
    for table, columns in COLUMNS.items():  # what they are called decides what is checked of them
        named = dict(tables or {}).get(table)
        missing = named is None and audit.manifest["scope"] == "range" and table != "facts"
        demand(missing or named == columns.split(), f"the columns of {table} are not those of {FORMAT}")
    summed = set()
    for line in archive.read("SHA256SUMS").decode("ascii", "replace").splitlines():
        expected, _, name = line.partition("  ")
        demand(name not in summed, f"SHA256SUMS names {name[:80]} twice")
        summed.add(name)
        demand(hashlib.sha256(archive.read(name)).hexdigest() == expected, f"{name[:80]} is not what SHA256SUMS says")
    others = set(archive.order) - summed - {"SHA256SUMS"}
    demand(not others, f"SHA256SUMS does not name {', '.join(sorted(others)[:3])}")
    return f"{len(summed)} members"


def check_checkpoint(audit: Audit) -> str:
    """The checkpoint is signed by the log; by the auditor's own copy of the key, if one is given."""
    checkpoint = read_checkpoint(audit.archive.read("checkpoint", NOTE_BYTES_MAX))
    given = audit.keys
    audit.trusted = any(key.algorithm == ED25519 for key in given)
    logs = [key for key in given if key.algorithm == ED25519]
    if not logs:
        logs = _bundled_keys(audit)
    signers = [key.name for key in logs if signed_by(checkpoint, key)]
    demand(signers, "the checkpoint is not signed by the log's key")
    demand(set(signers) == {checkpoint.origin}, "the key's name is not the checkpoint's origin")
    for witness in given:
        if witness.algorithm == COSIGNATURE:
            demand(signed_by(checkpoint, witness), f"the witness {witness.name} has not cosigned")
    demand(audit.manifest.get("size") == checkpoint.size, "the manifest names another size")
    audit.checkpoint = checkpoint
    witnesses = len(given) - len([key for key in given if key.algorithm == ED25519])
    by = "the key that was given" if audit.trusted else "the key in the bundle, which whoever made it could have chosen"
    return f"size {checkpoint.size}, signed by {by}" + (f", {witnesses} witnesses" if witnesses else "")


def _bundled_keys(audit: Audit) -> list[Key]:
    """Read the log's keys that came with the bundle."""
    lines = audit.archive.read("keys", NOTE_BYTES_MAX).decode("utf-8", "replace").splitlines()
    demand(len(lines) <= SIGNATURES_MAX, "the bundle holds too many keys")
    return [key for key in map(read_key, filter(None, lines)) if key.algorithm == ED25519]


def check_entries(audit: Audit) -> str:
    """Of a whole ledger: all entries hash to the tiles and the root, and their positions are 1, 2, 3 …"""
    checkpoint = audit.signed()
    _read_kept(audit)
    sizes = {one.size for one in audit.kept}
    if not audit.whole:
        return _check_proofs(audit, checkpoint)
    tree = Tree(audit.archive)
    payloads = Payloads(audit.archive)
    last_recorded = ""
    for number in range(-(-checkpoint.size // LEAVES_PER_TILE)):
        width = min(LEAVES_PER_TILE, checkpoint.size - number * LEAVES_PER_TILE)
        partial = "" if width == LEAVES_PER_TILE else f".p/{width}"
        for entry in _bundled(audit.archive.read(f"tile/entries/{tile_path(number)}{partial}"), width):
            tree.add(leaf_hash(entry))
            last_recorded = _take(audit, entry, tree.size, last_recorded, payloads)
            if tree.size in sizes:
                audit.roots[tree.size] = tree.root()
    tree.finish()
    payloads.finish()
    bundles = -(-checkpoint.size // LEAVES_PER_TILE)
    demand(len(audit.archive.names("tile/entries/")) == bundles, "there are entries beyond the tree")
    demand(tree.root() == checkpoint.root, "the entries do not hash to the signed root")
    audit.roots[0] = hashlib.sha256(b"").digest()
    return f"{tree.size} entries hash to the signed root; positions 1 to {tree.size} without a gap; payloads fit"


def _check_proofs(audit: Audit, checkpoint: Checkpoint) -> str:
    """Of a part: each entry is proven to be in the signed tree, at its position."""
    payloads = Payloads(audit.archive)
    names = audit.archive.names("entries/")
    positions = [int(name.removeprefix("entries/")) for name in names]
    demand(positions == sorted(positions), "the entries are out of order")
    demand(len(audit.archive.names("proofs/")) == len(names), "there are proofs of no entry")
    last_recorded = ""
    for name, position in zip(names, positions, strict=True):
        entry = audit.archive.read(name, 65_535)
        proof = audit.archive.read(f"proofs/{position}.tlog-proof", NOTE_BYTES_MAX).decode("utf-8", "replace")
        head, _, note = proof.partition("\n\n")
        lines = head.split("\n")
        demand(lines[0] == "c2sp.org/tlog-proof@v1", f"the proof of {position} is no tlog-proof")
        del lines[: 2 if len(lines) > 1 and lines[1].startswith("extra ") else 1]
        demand(lines and lines[0] == f"index {position - 1}", f"the proof of {position} is of another entry")
        hashes = [_base64(line) for line in lines[1:]]
        demand(all(len(one) == 32 for one in hashes), f"the proof of {position} is malformed")
        demand(read_checkpoint(note.encode()).text == checkpoint.text, f"the proof of {position} is of another tree")
        root = root_from_inclusion(position - 1, checkpoint.size, leaf_hash(entry), hashes)
        demand(root == checkpoint.root, f"the entry of position {position} is not in the signed tree")
        last_recorded = _take(audit, entry, position, last_recorded, payloads)
    payloads.finish()
    span = audit.manifest.get("range")
    if audit.manifest["scope"] == "range":
        fits = isinstance(span, list) and len(span) == 2 and all(type(place) is int for place in span)
        demand(fits, "the manifest names no range")
        first, last = span or (0, 0)
        # The positions are in order, each once: so it is enough to look at both ends, and to count.
        whole = [*positions[:1], *positions[-1:]] == [first, last] and len(positions) == last - first + 1
        demand(whole, "positions are missing from the range")
    return f"{len(names)} entries are in the signed tree, at their positions; payloads fit"


def _bundled(body: bytes, width: int) -> Iterator[bytes]:
    """Take entries out of an entry bundle."""
    at = 0
    for _ in range(width):
        demand(at + 2 <= len(body), "an entry bundle is too short")
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        demand(end <= len(body), "an entry bundle is too short")
        yield body[at + 2 : end]
        at = end
    demand(at == len(body), "an entry bundle is too long")


class Payload(NamedTuple):
    position: int
    sha256: str
    body: bytes


class Payloads:
    """The payloads in order of position; one counts for the events of its delivery, which follow it."""

    def __init__(self, archive: Archive) -> None:
        self._records = _payload_records(archive)
        self._now: Payload | None = None
        self._next = next(self._records, None)

    def at(self, position: int) -> Payload:
        if self._next is not None and self._next.position <= position:
            demand(
                self._next.position == position, f"there is a payload for position {self._next.position}, but no event"
            )
            self._now, self._next = self._next, next(self._records, None)
        demand(self._now is not None, f"the payload of position {position} is missing")
        assert self._now is not None
        return self._now

    def finish(self) -> None:
        demand(self._next is None, "there are payloads beyond the last event")


def _payload_records(archive: Archive) -> Iterator[Payload]:
    last = 0
    for name in archive.names("payloads/"):
        body, at = archive.read(name), 0
        while at < len(body):
            position, length = int.from_bytes(body[at : at + 8], "big"), int.from_bytes(body[at + 8 : at + 12], "big")
            demand(at + 12 + length <= len(body) and position > last, f"{name} is malformed")
            last, payload, at = position, body[at + 12 : at + 12 + length], at + 12 + length
            yield Payload(position, hashlib.sha256(payload).hexdigest(), payload)


def _take(audit: Audit, entry: bytes, position: int, last_recorded: str, payloads: Payloads) -> str:
    """See that an entry is of this ledger, position and payload, and remember the event; give when it was recorded."""
    says = read_object(entry, f"the entry of position {position}")
    demand(says.get("position") == position, f"the entry at position {position} says {says.get('position')!r:.40}")
    demand(says.get("ledger") == audit.manifest.get("ledger"), f"the entry of position {position} is of another ledger")
    recorded = says.get("recorded_at")
    demand(isinstance(recorded, str) and recorded >= last_recorded, f"time goes backwards at position {position}")
    payload = payloads.at(position)
    demand(says.get("payload_sha256") == payload.sha256, f"the payload of position {position} is not the one recorded")
    key, content = says.get("event_key"), says.get("content")
    demand(isinstance(key, str) and isinstance(content, str), f"the entry of position {position} names no event")
    tag = _hexadecimal(str(key))[:8] + _hexadecimal(str(content))[:8]
    audit.known[tag[0]].append(int.from_bytes(hashlib.sha256(tag).digest()[:8], "big"))
    if says.get("source") == "loyalty" and says.get("kind") == "attested":
        audit.attested = read_object(payload.body, f"the attestation at {position}")
    else:
        audit.last_told = position
    return str(recorded)


def _hexadecimal(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise Refused("an entry's key is not hexadecimal") from None
    demand(len(found) >= 8, "an entry's key is too short")
    return found


def _read_kept(audit: Audit) -> None:
    """Read what the auditor kept: checkpoints of the same log, the newest signed by the same key if by one that is
    known. What is wrong with them is told by their own check."""
    if audit.older is None:
        return
    try:
        found = [read_checkpoint(note) for note in kept_notes(audit.older)]
        ours = {(one.size, one.root): one for one in found if one.origin == audit.signed().origin}
        origins = sorted({one.origin for one in found})
        demand(ours, f"it is of another log, {' and '.join(origins):.200}")
        audit.kept = sorted(ours.values(), key=lambda one: one.size)
        _check_signed(audit, audit.kept[-1])
    except Refused as refused:
        audit.older_refused = f"what was kept cannot be used: {refused}"
        audit.kept = []


def _check_signed(audit: Audit, kept: Checkpoint) -> None:
    for key in audit.keys or _bundled_keys(audit):
        signed_by(kept, key)  # one that is signed wrongly is refused; the auditor vouches for any other


def check_older(audit: Audit) -> str:
    """The tree has grown out of those that the auditor kept checkpoints of: nothing before them was changed."""
    new = audit.signed()
    demand(audit.older_refused is None, audit.older_refused or "")
    if not audit.kept:
        return "none was given: whether history was rewritten before this bundle cannot be told"
    newest = audit.kept[-1]
    demand(
        newest.size <= new.size,
        f"a checkpoint of {newest.size} events was kept, the bundle is of {new.size}: the ledger has shrunk, or the "
        "bundle is older than that checkpoint; have it made again",
    )
    if not audit.whole:
        return _check_growth(audit)
    for kept in audit.kept:
        if audit.roots.get(kept.size) != kept.root:
            _check_signed(audit, kept)
            raise Refused(f"the older checkpoint of {kept.size} events is of another history")
    also = f"; {len(audit.kept)} checkpoints were compared" if len(audit.kept) > 1 else ""
    return f"the first {newest.size} events are those signed before{also}"


def _check_growth(audit: Audit) -> str:
    """Of a part: a bundle holds the proof for one older checkpoint, the one that it was asked for with."""
    new = audit.signed()
    proven = [one for one in audit.kept if f"consistency/{one.size}" in audit.archive or one.size == new.size]
    demand(proven, f"consistency/{audit.kept[-1].size} is missing: have the bundle made with --older")
    for older in proven:
        name = f"consistency/{older.size}"
        body = audit.archive.read(name, NOTE_BYTES_MAX) if name in audit.archive else b""
        lines = body.decode("ascii", "replace").splitlines()
        check_consistency(older.size, new.size, older.root, new.root, [_base64(line) for line in lines])
    rest = len(audit.kept) - len(proven)
    also = f"; the bundle holds no proof for {rest} other checkpoints that were kept" if rest else ""
    return f"the first {proven[-1].size} events are those signed before{also}"


def check_facts(audit: Audit) -> str:
    """Every fact names an event of this ledger, and stands there once, among those about its subject."""
    for one in audit.known:
        ordered = array("Q", sorted(one))
        del one[:]
        one.extend(ordered)
    count = 0
    kinds: set[str] = set()
    last = ("", b"")
    here: set[tuple[str, str]] = set()  # facts about the subject that is being read
    for row in rows_of(audit.archive, "facts", _columns(audit, "facts")):
        count += 1
        told = text_of(row, "tag")
        tag = _hexadecimal(told.removeprefix("\\x"))
        number = int.from_bytes(hashlib.sha256(tag).digest()[:8], "big")
        of = audit.known[tag[0]]
        found = bisect_left(of, number)
        demand(found < len(of) and of[found] == number, f"a fact about {row.get('subject')!s:.60} names no event here")
        kind, subject = text_of(row, "subject_kind"), text_of(row, "subject")
        if (kind, subject.encode()) != last:
            demand(kind == last[0] or kind not in kinds, f"facts about a {kind:.40} stand apart")
            demand(kind != last[0] or subject.encode() > last[1], f"facts about {subject:.60} are out of order")
            kinds.add(kind)
            last = (kind, subject.encode())
            here.clear()
            audit.subjects.append(_subject_number(kind, subject.encode()))
        demand(len(here) < FACTS_PER_SUBJECT_MAX, f"too many facts about {subject:.60}")
        demand((told, text_of(row, "ordinal")) not in here, f"a fact about {subject:.60} is there twice")
        here.add((told, text_of(row, "ordinal")))
    return f"{count} facts, each of an event of the bundle, none twice"


def _subject_number(kind: str, subject: bytes) -> int:
    return int.from_bytes(hashlib.sha256(kind.encode() + b" " + subject).digest()[:8], "big")


def check_rows(audit: Audit) -> str:
    """No row is there twice, and each is of a subject that something was told about."""
    kinds = audit.manifest.get("subject_kinds")
    demand(isinstance(kinds, dict), "the manifest does not say what its tables are about")
    for name in audit.archive.names("rows/"):
        demand(name.split("/")[1] in audit.manifest["tables"], f"{name} is of no table of the manifest")
    known = array("Q", sorted(audit.subjects))
    count = 0
    for table, columns in audit.manifest["tables"].items():
        if table == "facts":
            continue
        demand(columns[0] == "subject", f"{table:.40} has no subject")
        kind, before, last = dict(kinds or {}).get(table), b"", b""
        for line in lines_of(audit.archive, table):
            count += 1
            subject = line.partition(b"\t")[0]
            demand(line != before, f"a row of {table:.40} is there twice")
            demand(subject >= last, f"{table:.40} is out of order")
            if kind != "customer" and (subject != last or not before):  # of whom only a forgetting was told: no fact
                number = _subject_number(str(kind), (_cell(subject) or "").encode())
                at = bisect_left(known, number)
                told = at < len(known) and known[at] == number
                demand(told, f"nothing was told about {subject.decode('utf-8', 'replace'):.60} of {table:.40}")
            before, last = line, subject
    return f"{count} rows, none twice, each about something that facts tell of"


def _columns(audit: Audit, table: str) -> list[str]:
    return list(audit.manifest["tables"].get(table, ()))


# --- balances ---------------------------------------------------------------------------------------------------------

# What a column of the accounts table shows of a class of postings; contra classes are shown as what they gave.
SHOWN = {
    **{name: (name, 1) for name in ("promised", "redeemed", "expired", "lapsed", "reversed", "sent", "in_transit")},
    "held": ("held", 1),
    **{name: (name, -1) for name in ("debt", "opening", "unseen", "issued", "received", "merged", "adjusted")},
}
OF_PROMISES = ("promised", "promises_made", "promises_unseen", "promises_cancelled", "promises_merged")
SPENDABLE = ("available", "debt")
USED = ("redeemed", "sent", "removed", "expired", "returned")  # the columns of a lot that say where its points went
WENT = {"sent": ("in_transit", "sent"), "expired": ("expired",), "returned": ("reversed",)}
CAME = ("issued", "promised", "received", "opening", "unseen", "adjusted")
HOLDING = ("available", "lapsed")  # where what remains of a lot stands


TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00", re.ASCII)
NEVER = "~"  # later than any time


class Posting(NamedTuple):
    source: str
    target: str
    points: Decimal
    lot: str | None


@dataclass
class Folded:
    """One account, folded from its statement."""

    classes: dict[str, Decimal] = field(default_factory=dict)
    lots: dict[str, Decimal] = field(default_factory=dict)
    flows: dict[str, dict[str, Decimal]] = field(default_factory=dict)  # by lot: what each class got of it
    lines: int = 0
    claim: Row | None = None  # the last line with a claim of the vendor's
    at: str = NEVER
    then: tuple[Decimal, Decimal] = (ZERO, ZERO)  # what was available, less the debt, and promised at that time

    def post(self, posting: Posting) -> None:
        for name, points in ((posting.source, posting.points.copy_negate()), (posting.target, posting.points)):
            self.classes[name] = add(self.classes.get(name, ZERO), points)
            if posting.lot is not None:
                flow = self.flows.setdefault(posting.lot, {})
                flow[name] = add(flow.get(name, ZERO), points)
                if name in HOLDING:
                    self.lots[posting.lot] = add(self.lots.get(posting.lot, ZERO), points)

    def spendable(self) -> Decimal:
        return add(*(self.classes.get(name, ZERO) for name in SPENDABLE))


def _postings(row: Row) -> list[Posting]:
    found = read_json(text_of(row, "postings").encode(), "postings")
    demand(isinstance(found, list), "postings are no list")
    made = []
    for one in found:
        fits = isinstance(one, list) and len(one) in (3, 4) and all(isinstance(part, str) for part in one[:2])
        demand(fits, "a posting cannot be read")
        lot = one[3] if len(one) == 4 else None
        demand(lot is None or isinstance(lot, str), "a posting cannot be read")
        made.append(Posting(one[0], one[1], points_of(one[2], "a posting"), lot))
    return made


def fold_line(account: Folded, row: Row) -> None:
    """Post a line of the statement, and see that it says what its postings come to."""
    account.lines += 1
    where = f"line {account.lines} of {row.get('account_id')!s:.80}"
    demand(row.get("line") == str(account.lines), f"{where} is missing")
    before = account.spendable()
    for posting in _postings(row):
        account.post(posting)
    now = account.spendable()
    changed = points_of(row.get("points"), where)
    demand(
        add(before, changed) == now, f"{where} says {changed}, its postings come to {add(now, before.copy_negate())}"
    )
    demand(points_of(row.get("balance"), where) == now, f"{where}: the balance is not the sum of the postings")
    promised = account.classes.get("promised", ZERO)
    demand(points_of(row.get("promised"), where) == promised, f"{where}: promised is not the sum of the postings")
    if time_of(row, "occurred_at", "") <= account.at:
        account.then = (now, promised)
    if row.get("claimed") is not None:
        account.claim = row
        off = add(points_of(row["claimed"], where), now.copy_negate())
        demand(points_of(row.get("drift"), where) == off, f"{where}: the drift is not the claim without the balance")


@dataclass
class Total:
    """What the accounts of a programme hold of a unit. Outstanding is what may be spent, less the debt."""

    accounts: int = 0
    outstanding: Decimal = ZERO
    debt: Decimal = ZERO
    promised: Decimal = ZERO


@dataclass
class Figures:
    """What the rows come to at a time: by programme and unit, and of the accounts that were asked for."""

    at: str  # as rows write times, so that texts can be compared
    wanted: tuple[str, ...]  # ids of accounts or customers
    totals: dict[tuple[str, str], Total] = field(default_factory=dict)
    accounts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row, account: Folded, lots: dict[str, Row]) -> None:
        """Add one account, whose rows were checked before."""
        outstanding, promised = account.then
        last = time_of(row, "last_at", "")
        if last <= self.at:  # what lapsed since the last event stands in no line
            lapsed = [lot for lot in lots.values() if last < time_of(lot, "lapses_at", NEVER) <= self.at]
            outstanding = add(outstanding, sum_of(*(_remaining(lot) for lot in lapsed)).copy_negate())
        account_id, unit = text_of(row, "account_id"), text_of(row, "unit")
        programme = ":".join([*account_id.split(":")[:2], text_of(row, "programme")])
        total = self.totals.setdefault((programme, unit), Total())
        total.accounts += 1
        total.outstanding = add(total.outstanding, outstanding)
        total.debt = add(total.debt, max(ZERO, outstanding.copy_negate()))
        total.promised = add(total.promised, promised)
        if account_id in self.wanted or row.get("customer") in self.wanted:
            shown = {"account": account_id, "customer": row.get("customer"), "programme": programme, "unit": unit}
            figures = {"outstanding": plain(outstanding), "promised": plain(promised)}
            open_lots = _open_lots(lots, self.at) if last <= self.at else None
            self.accounts.append({**shown, **figures, "last_event_at": last, "lots": open_lots})

    def document(self) -> dict[str, Any]:
        totals = [
            {
                "programme": programme,
                "unit": unit,
                "accounts": total.accounts,
                "outstanding": plain(total.outstanding),
                "debt": plain(total.debt),
                "promised": plain(total.promised),
            }
            for (programme, unit), total in sorted(self.totals.items())
        ]
        return {"at": self.at, "totals": totals, "accounts": self.accounts}


def _remaining(lot: Row) -> Decimal:
    return points_of(lot.get("remaining"), "a lot")


def _open_lots(lots: dict[str, Row], at: str) -> list[dict[str, str | None]]:
    """List the lots from which points may be spent."""
    return [
        {"lot": name, "remaining": plain(_remaining(lot)), "lapses_at": lot.get("lapses_at")}
        for name, lot in lots.items()
        if time_of(lot, "lapses_at", NEVER) > at and _remaining(lot)
    ]


def time_of(row: Row, column: str, missing: str) -> str:
    """Read a time as PostgreSQL writes it in UTC, by which texts sort; `missing` stands for none."""
    value = row.get(column)
    demand(value is None or TIME.fullmatch(value), f"{column} is no time")
    return missing if value is None else value


def plain(points: Decimal) -> str:
    """Write points without an exponent and without zeros at the end."""
    text = format(points, "f") if points else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


Groups = Iterator[tuple[tuple[str, str], Iterator[Row]]]


def _by_account(audit: Audit, table: str) -> Groups:
    """Read a table's rows an account at a time, in the order of (subject, account)."""
    rows = rows_of(audit.archive, table, _columns(audit, table))
    last: tuple[bytes, bytes] | None = None
    for key, group in groupby(rows, lambda row: (text_of(row, "subject"), text_of(row, "account_id"))):
        place = (key[0].encode(), key[1].encode())
        demand(last is None or last < place, f"{table} is out of order")
        last = place
        yield key, group


def check_balances(audit: Audit) -> str:
    """Fold every account from the postings of its statement, and compare with its lines, its row and its lots."""
    statement, lots = _by_account(audit, "statement"), _by_account(audit, "lots")
    next_lots = next(lots, None)
    next_lines = next(statement, None)
    totals: dict[str, dict[str, Decimal]] = {}
    facts = AccountFacts(audit)
    figures = Figures(audit.at or _made_at(audit), audit.wanted)
    accounts = lines = 0
    for key, rows in _by_account(audit, "accounts"):
        [row] = _only(rows, key[1])
        account = Folded(at=figures.at)
        if next_lines is not None and next_lines[0] == key:
            for line in next_lines[1]:
                fold_line(account, line)
            next_lines = next(statement, None)
        shown: dict[str, Row] = {}
        if next_lots is not None and next_lots[0] == key:
            for lot in next_lots[1]:
                name = text_of(lot, "lot_id")
                demand(name not in shown, f"the lot {name:.60} is there twice")
                shown[name] = lot
            next_lots = next(lots, None)
        demand(account.lines > 0, f"account {key[1]:.80} has no line")
        _compare_account(key[1], row, account, shown)
        figures.add(row, account, shown)
        told = facts.of(key[0])
        if not was_merged(told):  # a merge is told of both holders
            compare_lots(key[1], account, shown, told)
            compare_claims(key[1], row, account, told)
        unit = totals.setdefault(text_of(row, "unit"), {})
        for name, points in account.classes.items():
            unit[name] = add(unit.get(name, ZERO), points)
        accounts, lines = accounts + 1, lines + account.lines
    demand(next_lines is None, "there are statement lines of no account")
    demand(next_lots is None, "there are lots of no account")
    for of_unit, sums in totals.items():
        demand(sum(sums.values(), ZERO) == 0, f"the postings of {of_unit:.40} do not sum to zero")
    _compare_trial_balance(audit, totals)
    audit.figures = figures
    return f"{accounts} accounts and {lines} lines: every balance and lot is the sum of its postings"


def _made_at(audit: Audit) -> str:
    try:
        return read_time(audit.manifest["made_at"])
    except (TypeError, ValueError, OverflowError):
        raise Refused("the manifest does not say when it was made") from None


def read_time(text: str) -> str:
    """Write an ISO time with its zone as rows do. Raises ValueError or TypeError."""
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None:
        raise ValueError("the time has no zone: write 2026-03-31T23:59:59+05:30, for example")
    fraction = f".{time.microsecond:06}".rstrip("0").rstrip(".")
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}{fraction}+00"


def _only(rows: Iterator[Row], account_id: str) -> list[Row]:
    found = [row for row, _ in zip(rows, range(2), strict=False)]
    demand(len(found) == 1, f"{account_id:.80} has more than one row")
    return found


def _compare_account(account_id: str, row: Row, account: Folded, lots: dict[str, Row]) -> None:
    where = f"account {account_id:.80}"
    demand(
        points_of(row.get("available"), where) == account.spendable(), f"{where}: available is not its postings' sum"
    )
    for column, (name, sign) in SHOWN.items():
        shown = points_of(row.get(column), where)
        demand(shown == account.classes.get(name, ZERO) * sign, f"{where}: {column} is not its postings' sum")
    converted = sum_of(*(account.classes.get(name, ZERO).copy_negate() for name in OF_PROMISES))
    demand(points_of(row.get("converted"), where) == converted, f"{where}: converted is not its postings' sum")
    held = {lot: points for lot, points in account.lots.items() if points}
    shown_lots = {}
    for name, lot in lots.items():
        remaining, *used = (points_of(lot.get(column), f"a lot of {where}") for column in ("remaining", *USED))
        if remaining:
            shown_lots[name] = remaining
        made = points_of(lot.get("points"), f"a lot of {where}")
        demand(made == sum_of(remaining, *used), f"{where}: the columns of the lot {name:.60} do not add up")
    demand(held == shown_lots, f"{where}: what remains in its lots is not what its postings left there")


def _compare_trial_balance(audit: Audit, totals: dict[str, dict[str, Decimal]]) -> None:
    """Compare with the attested figures where the rows stand at the attested position."""
    if not _attests_these_rows(audit):
        return
    assert audit.attested is not None
    attested = audit.attested.get("trial_balance")
    demand(isinstance(attested, dict), "the attestation holds no trial balance")
    figures = {
        str(unit): {str(name): points_of(points, "an attested figure") for name, points in classes.items()}
        for unit, classes in dict(attested or {}).items()
        if isinstance(classes, dict)
    }
    ours = {unit: {name: points for name, points in of.items() if points} for unit, of in totals.items()}
    theirs = {unit: {name: points for name, points in of.items() if points} for unit, of in figures.items()}
    drop = {unit for unit in ours if not ours[unit]}
    demand(
        {unit: of for unit, of in ours.items() if unit not in drop} == {unit: of for unit, of in theirs.items() if of},
        "the attested trial balance is not what the postings come to",
    )


def _attests_these_rows(audit: Audit) -> bool:
    """Say whether the last attestation is of the very rows in the bundle: nothing that changes a row came between."""
    if not audit.whole or audit.attested is None:
        return False
    position, rows = audit.attested.get("position"), audit.manifest.get("rows_position")
    if not isinstance(position, int) or not isinstance(rows, int):
        raise Refused("the attestation or the manifest names no position")
    if position < audit.last_told:
        return False  # more was told since
    demand(
        audit.last_told <= rows <= audit.signed().size,
        "the rows are older than what was attested of them; have the bundle made again",
    )
    return True


def check_attestation(audit: Audit) -> str:
    """The last attestation, an event of the ledger, names the digest of every table; the rows of the bundle have it."""
    if audit.attested is None:
        return "none in the bundle"
    if not _attests_these_rows(audit):
        return "the last one is of earlier rows than the bundle's: not compared"
    digests = audit.attested.get("digests")
    demand(isinstance(digests, dict) and digests, "the attestation holds no digests")
    columns = audit.attested.get("columns", audit.manifest["tables"])
    demand(columns == audit.manifest["tables"], "the manifest calls the columns otherwise than was attested")
    compared = 0
    for table, expected in dict(digests or {}).items():
        demand(table in audit.manifest["tables"], f"the attested table {table!s:.40} is not in the bundle")
        sha256 = hashlib.sha256()
        for name in audit.archive.names(f"rows/{table}/"):
            sha256.update(audit.archive.read(name))
        demand(sha256.hexdigest() == expected, f"the rows of {table} are not those attested")
        compared += 1
    return f"{compared} tables are as attested at position {audit.attested.get('position')!s:.20}"


# --- from facts to lines ----------------------------------------------------------------------------------------------


def _grants(body: dict[str, Any], name: str = "grants") -> Decimal:
    """Add up lots or promises."""
    found = body.get(name, [])
    demand(isinstance(found, list) and all(isinstance(one, dict) for one in found), "a fact cannot be read")
    total = ZERO
    for one in found:
        total = add(total, points_of(one.get("points"), "a fact"))
    return total


def _amount(body: dict[str, Any]) -> Decimal:
    return points_of(body.get("points"), "a fact")


Moved = list[tuple[str | None, tuple[str, ...], Decimal]]  # (from class, None for any; into classes; points)

# What the facts that say so plainly move; reversals, lapses and merges depend on what was there before.
MOVES: dict[str, Callable[[dict[str, Any]], Moved]] = {
    "Issued": lambda body: [
        ("issued", HOLDING, _grants(body)),
        ("promises_made", ("promised",), _grants(body, "promises")),
    ],
    "PromisedConverted": lambda body: [("promised", HOLDING, _grants(body))],
    "PromiseKept": lambda body: [("promised", HOLDING, _amount(body))],
    "TransferReceived": lambda body: [("received", HOLDING, _amount(body))],
    "Redeemed": lambda body: [(None, ("redeemed",), _amount(body))],
    "HoldCaptured": lambda body: [(None, ("redeemed",), _amount(body))],
    "TransferSent": lambda body: [(None, ("in_transit",), _amount(body))],
    "Removed": lambda body: [(None, ("adjusted",), _amount(body))],
}


class AccountFact(NamedTuple):
    name: str  # of its event and place in it, as lots are named by it
    kind: str
    occurred_at: str
    body: dict[str, Any]


def check_lines(audit: Audit) -> str:
    """Every line of a statement has its fact, and where a fact says plainly what it moves, a line does."""
    if "statement" not in audit.manifest["tables"]:
        demand(audit.manifest["scope"] == "range", "there is no statement")
        return "none: of a range there are no rows but facts"
    facts = AccountFacts(audit)
    parked = audit.manifest.get("parked", [])
    demand(isinstance(parked, list), "the manifest does not name who is parked")
    lines_of_holders = groupby(
        rows_of(audit.archive, "statement", _columns(audit, "statement")), lambda r: text_of(r, "subject")
    )
    checked = merged = 0
    for subject, lines in lines_of_holders:
        told = facts.of(subject)
        demand(bool(told), f"there are lines of {subject:.60}, and no facts about its accounts")
        if was_merged(told):
            merged += 1
            continue
        by_key: dict[tuple[str, str, str], list[AccountFact]] = {}
        for fact in told:
            by_key.setdefault((_account_of(fact.body), fact.occurred_at, fact.kind), []).append(fact)
        for line in lines:
            if line.get("again") == "t":
                _compare_report(line, told, by_key)
            else:
                checked += _compare_line(line, by_key)
        if subject not in parked:
            untold = _first_untold(told, by_key)
            demand(untold is None, f"no line of {subject:.60} is of what a fact of {untold} moved")
    left_out = [subject for subject in facts.without_lines() if subject not in parked]
    demand(not left_out, f"there are facts about {''.join(left_out[:1]):.60}, and no line")
    also = f", {len(parked)} are parked" if parked else ""
    return f"{checked} lines move what their facts say, and none is missing; {merged} holders were merged{also}"


def _first_untold(told: list[AccountFact], left: dict[tuple[str, str, str], list[AccountFact]]) -> str | None:
    """Name the kind of the first fact that moves points and has no line; what is told again in other words has none."""
    reports = Reports()
    for fact in told:
        again = reports.told_before(fact)
        of_key = left[(_account_of(fact.body), fact.occurred_at, fact.kind)]
        if fact.kind in MOVES and not again and any(fact is one for one in of_key):
            return fact.kind
    return None


class AccountFacts:
    """The facts about accounts, a holder at a time, asked for in their order."""

    def __init__(self, audit: Audit) -> None:
        self._facts = _account_facts(audit)
        self._here = next(self._facts, None)
        self._asked = ""
        self._passed: set[str] = set()  # holders of whom a fact moves points, and who were not asked for
        self._merged: set[str] = set()  # whose lines may be among another's

    def of(self, subject: str) -> list[AccountFact]:
        while self._here is not None and self._here[0].encode() < subject.encode():
            self._pass()
        self._asked = subject
        return self._here[1] if self._here is not None and self._here[0] == subject else []

    def without_lines(self) -> list[str]:
        """Pass over the rest, and name the holders who were told of and never asked for."""
        while self._here is not None:
            self._pass()
        return sorted(self._passed - self._merged)

    def _pass(self) -> None:
        assert self._here is not None
        subject, told = self._here
        for fact in told:
            if "Merge" in fact.kind:
                self._merged.update(str(fact.body.get(name)) for name in ("holder", "survivor", "victim"))
        if subject != self._asked and any(fact.kind in MOVES for fact in told):
            self._passed.add(subject)
        self._here = next(self._facts, None)


def was_merged(told: list[AccountFact]) -> bool:
    return any("Merge" in fact.kind or "merged" in fact.kind for fact in told)


def _account_facts(audit: Audit) -> Iterator[tuple[str, list[AccountFact]]]:
    """Read the facts about accounts, a holder at a time."""
    rows = rows_of(audit.archive, "facts", _columns(audit, "facts"))
    of_accounts = (row for row in rows if row.get("subject_kind") == "account")
    for subject, group in groupby(of_accounts, lambda row: text_of(row, "subject")):
        told: list[AccountFact] = []
        for row in group:
            demand(len(told) < FACTS_PER_SUBJECT_MAX, f"too many facts about {subject:.60}")
            body = read_object(_hexadecimal(text_of(row, "body").removeprefix("\\x")), "a fact")
            name = f"{text_of(row, 'tag').removeprefix(chr(92) + 'x')}.{text_of(row, 'ordinal'):0>2}"
            told.append(AccountFact(name, text_of(row, "kind"), text_of(row, "occurred_at"), body))
        yield subject, told


def compare_lots(account_id: str, account: Folded, lots: dict[str, Row], told: list[AccountFact]) -> None:
    """Compare lots with the postings that name them, and those that a fact grants with that fact."""
    where = f"account {account_id:.80}"
    demand(lots.keys() == account.flows.keys(), f"{where}: its lots are not those that its postings name")
    facts = {fact.name: fact for fact in told}
    moved = any(fact.kind == "ExpiryMoved" for fact in told)
    for name, lot in lots.items():
        what = f"the lot {name:.60} of {where}"
        flow = account.flows[name]
        # What a debt was for, that a lot paid, takes the rules; so does what is left of an adjustment taken back.
        if "debt" not in flow and lot.get("origin") != "adjustment":
            _compare_flow(what, lot, flow)
        parts = name.split(".")  # event, place of the fact in it, number of the lot in that, and what was asserted
        demand(len(parts) in (3, 4), f"{what} has no such name")
        fact = facts.get(f"{parts[0]}.{parts[1]}")
        demand(fact is not None, f"{what} is of no fact")
        assert fact is not None
        demand((lot.get("asserted") == "t") == (len(parts) == 4), f"{what} is asserted, or is not")
        demand(lot.get("earned_at") == fact.occurred_at, f"{what} was earned at another time")
        grants = fact.body.get("grants", [])
        if fact.kind in ("Issued", "PromisedConverted") and len(parts) == 3:
            number = int(parts[2]) if parts[2].isdecimal() else -1
            demand(isinstance(grants, list) and 0 <= number < len(grants), f"{what} was not granted")
            _compare_grant(what, lot, grants[number], moved=moved)
            if fact.kind == "Issued":
                demand(lot.get("bill") == fact.body.get("bill"), f"{what} is of another bill")


def _compare_flow(what: str, lot: Row, flow: dict[str, Decimal]) -> None:
    """Compare the columns of a lot with what each class got of it."""
    for column, classes in WENT.items():
        went = sum_of(*(flow.get(name, ZERO) for name in classes))
        demand(points_of(lot.get(column), what) == went, f"{what}: {column} is not its postings' sum")
    made, redeemed = points_of(lot.get("points"), what), points_of(lot.get("redeemed"), what)
    came = sum_of(*(flow.get(name, ZERO).copy_negate() for name in CAME if flow.get(name, ZERO) < 0))
    spent = flow.get("redeemed", ZERO)
    if lot.get("origin") == "reversal":  # made of points given back, which nobody has seen spent
        demand(add(made, redeemed.copy_negate()) == add(came, spent.copy_negate()), f"{what} is of another size")
    else:
        demand(made == came, f"{what} is of another size than its postings made it")
        demand(redeemed == spent, f"{what}: redeemed is not its postings' sum")


def _compare_grant(what: str, lot: Row, grant: Any, *, moved: bool) -> None:
    demand(isinstance(grant, dict), f"{what}: its fact cannot be read")
    demand(points_of(grant.get("points"), what) == points_of(lot.get("points"), what), f"{what} was granted otherwise")
    demand(lot.get("origin") == grant.get("origin", "regular"), f"{what} is of another origin")
    demand(lot.get("promotion") == grant.get("promotion"), f"{what} is of another promotion")
    if lot.get("rule") is not None:
        demand(grant.get("expires_on") is None or moved, f"{what} has a day of its own")
    elif not moved:
        demand(lot.get("expires_on") == grant.get("expires_on"), f"{what} lapses on another day")


def compare_claims(account_id: str, row: Row, account: Folded, told: list[AccountFact]) -> None:
    """Compare what an account says of the vendor's claims, and of all that was ever earned, with lines and facts."""
    where = f"account {account_id:.80}"
    last = account.claim or {}
    demand(row.get("claimed") == last.get("claimed"), f"{where}: the claim is not that of its last line with one")
    demand(row.get("claimed_at") == last.get("occurred_at"), f"{where}: the claim is of another time")
    if not any(fact.kind.startswith("Adjustment") for fact in told):  # a claim that was adopted leaves no drift
        drift = points_of(last.get("drift", "0"), where)
        demand(points_of(row.get("drift"), where) == drift, f"{where}: the drift is not that of its last claim")
    if any(fact.kind == "IssueReversed" for fact in told):  # how much of the total that takes back, takes the rules
        return
    earned, opening, claimed = ZERO, None, None
    reports = Reports()
    for fact in told:
        if reports.told_before(fact):
            continue
        if _account_of(fact.body) != account_id:
            continue
        for _, targets, points in _moves_of(fact) if fact.kind in EARNING else ():
            if targets == HOLDING:
                earned = add(earned, points)
        total = _claim_of(fact, "lifetime")
        if total is not None:
            claimed = points_of(total, where)
            opening = max(ZERO, add(claimed, earned.copy_negate())) if opening is None else opening
    shown = None if row.get("lifetime_claimed") is None else points_of(row["lifetime_claimed"], where)
    demand(shown == claimed, f"{where}: the claimed total is not that of its last claim")
    ever = add(earned, opening or ZERO)
    demand(points_of(row.get("lifetime"), where) == ever, f"{where}: lifetime is not what its facts granted")


EARNING = ("Issued", "PromisedConverted", "PromiseKept", "TransferReceived")


def _claim_of(fact: AccountFact, name: str) -> Any:
    claim = fact.body.get("claim")
    return claim.get(name) if isinstance(claim, dict) else None


def _account_of(body: dict[str, Any]) -> str:
    def quoted(name: str) -> str:
        return str(body.get(name, "points")).replace("%", "%25").replace(":", "%3A")

    return f"{body.get('holder')}:{quoted('programme')}:{quoted('unit')}"


def _compare_line(line: Row, facts: dict[tuple[str, str, str], list[AccountFact]]) -> int:
    """Find a fact that the line is of; 0 for a line that no fact tells of."""
    kind, account_id = text_of(line, "kind"), text_of(line, "account_id")
    if kind in ("Lapsed", "Opening"):
        return 0
    told = facts.get((account_id, text_of(line, "occurred_at"), kind), [])
    postings = _postings(line)
    for place, fact in enumerate(told):
        claimed = _claim_of(fact, "available")
        fits = claimed == line.get("claimed") and all(
            _moved(postings, source, targets) == points for source, targets, points in _moves_of(fact)
        )
        if fits:
            del told[place]
            return 1
    raise Refused(f"line {line.get('line')!s:.20} of {account_id:.80} has no fact that moves and claims what it does")


def _compare_report(line: Row, told: list[AccountFact], facts: dict[tuple[str, str, str], list[AccountFact]]) -> None:
    """Check that a line which says that its change was counted before moves nothing, and is of a fact told twice."""
    where = f"line {line.get('line')!s:.20} of {text_of(line, 'account_id'):.80}"
    demand(not _postings(line), f"{where} is of a change that was counted before, and moves points")
    occurred_at, kind = text_of(line, "occurred_at"), text_of(line, "kind")
    for fact in told:
        if (fact.occurred_at, fact.kind) != (occurred_at, kind):
            continue
        names = _changes_of(fact)
        if any(other is not fact and not names.isdisjoint(_changes_of(other)) for other in told):
            left = facts[(_account_of(fact.body), occurred_at, kind)]
            left[:] = [one for one in left if one is not fact]
            return
    raise Refused(f"{where} is of a change that no other fact tells")


class Reports:
    """Which changes facts have told. A fact tells one again by its name, by a weaker one of its own that is another
    fact's name, or by a name that is another fact's weaker one; versions of one event do not."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], str] = {}
        self._weaker: dict[tuple[str, str], str] = {}

    def told_before(self, fact: AccountFact) -> bool:
        """Return True for a fact whose change another event has told; remember any other."""
        if "change" not in fact.body:
            return False
        also = fact.body.get("also", [])
        name = (fact.kind, str(fact.body["change"]))
        weaker = [(fact.kind, str(one)) for one in also] if isinstance(also, list) else []
        event = fact.name[:16]  # of the hexadecimal tag: the same for all versions
        found = [self._events.get(one) for one in (name, *weaker)] + [self._weaker.get(name)]
        if any(one is not None and one != event for one in found):
            return True
        self._events.setdefault(name, event)
        for one in weaker:
            self._weaker.setdefault(one, event)
        return False


def _changes_of(fact: AccountFact) -> set[tuple[str, str]]:
    """Return the names of the change that a fact reports, with its kind; returns of a bill are known by its totals."""
    also = fact.body.get("also", [])
    names = [fact.body["change"], *(also if isinstance(also, list) else [])] if "change" in fact.body else []
    bills = [fact.body.get(name) for name in ("bill", "bill_number")] if fact.kind == "IssueReversed" else []
    return {(fact.kind, str(name)) for name in names} | {("bill", str(bill)) for bill in bills if bill is not None}


def _moves_of(fact: AccountFact) -> Moved:
    moves = MOVES.get(fact.kind)
    return moves(fact.body) if moves is not None else []


def _moved(postings: list[Posting], source: str | None, targets: tuple[str, ...]) -> Decimal:
    total = ZERO
    for posting in postings:
        if posting.target in targets and posting.source != posting.target and source in (None, posting.source):
            total = add(total, posting.points)
    return total


# --- the verdict ------------------------------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Audit], str]] = {
    "members": check_members,
    "checkpoint": check_checkpoint,
    "entries": check_entries,
    "older checkpoint": check_older,
    "facts": check_facts,
    "rows": check_rows,
    "balances": check_balances,
    "lines": check_lines,
    "attestation": check_attestation,
}
NOT_CHECKED = (
    "that the facts are what the payloads mean: that takes the rules (`loyalty verify` re-derives them)",
    "reversals, lapses, merges and asserted openings beyond the arithmetic of their postings",
    "that the vendors told the truth, and that they told everything",
)


class Result(NamedTuple):
    check: str
    holds: bool
    says: str


def verify(file: BinaryIO, older: bytes | None, keys: list[Key]) -> list[Result]:
    """Make every check that can be made; without keys, by the key in the bundle."""
    return examine(file, older, keys)[0]


def examine(
    file: BinaryIO, older: bytes | None, keys: list[Key], at: str | None = None, wanted: tuple[str, ...] = ()
) -> tuple[list[Result], Figures | None]:
    """Make every check that can be made; the first that fails ends those that rest on it. The figures are None where
    the balances were not found right, or there are none."""
    try:
        audit = Audit(Archive(file), keys, older, at, wanted)
    except Refused as refused:
        return [Result("archive", False, str(refused))], None
    results = [Result("archive", True, f"{len(audit.archive.order)} plain files")]
    for name, check in CHECKS.items():
        try:
            results.append(Result(name, True, check(audit)))
        except Refused as refused:
            results.append(Result(name, False, str(refused)))
        except OSError:
            raise
        except Exception as wrong:
            results.append(Result(name, False, f"something in the bundle cannot be read ({type(wrong).__name__})"))
        if not results[-1].holds and name in ("members", "checkpoint", "entries"):
            break
    return results, audit.figures


# --- the command line -------------------------------------------------------------------------------------------------

NO_KEY = (
    "--key is needed: the log's public key, as you got it from somebody you trust and not with the bundle. Without it, "
    "whoever made the bundle could have signed it; --trust-bundle-key looks only whether it agrees with itself"
)
PACKED_OTHERWISE = {b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd", b"BZh": "bzip2", b"PK\x03\x04": "zip"}


class CannotRead(Exception):
    """Something cannot be read at all, so there is no verdict; the text says what and why."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line, and end the process."""
    parser = _parser()
    asked = parser.parse_args(arguments)  # ends with 2 where it is not understood
    try:
        keys = [read_key(text) for text in asked.key]
        at = None if asked.at is None else read_time(asked.at)
    except Refused as refused:
        parser.error(f"--key: {refused}")
    except ValueError as wrong:
        parser.error(f"--at: {wrong}")
    if not asked.trust_bundle_key and not any(key.algorithm == ED25519 for key in keys):
        parser.error(NO_KEY)
    wanted = (*asked.account, *asked.customer)
    try:
        older = None if asked.older is None else _read_kept_file(asked.older)
        with _opened(asked.bundle) as file:
            results, figures = examine(file, older, keys, at, wanted)
        verified = all(result.holds for result in results)
        missing = [] if figures is None else _missing(figures)
        if asked.json:
            _show_json(results, figures if verified else None, keys, verified=verified)
        else:
            _show(results, figures if verified else None, keys, verified=verified)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more: no word about it either
        sys.exit(UNREADABLE)
    except (CannotRead, OSError, MemoryError) as wrong:
        said = wrong if isinstance(wrong, CannotRead) else f"it cannot be read: {_reason(wrong)}"
        sys.stderr.write(f"loyalty-verify: {_printable(str(said))}\n")
        sys.exit(UNREADABLE)
    except KeyboardInterrupt:
        sys.exit(130)
    if verified and missing:
        parser.error(f"the bundle holds nothing of {_printable(', '.join(missing))}")
    sys.exit(VERIFIED if verified else NOT_VERIFIED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loyalty-verify", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", metavar="BUNDLE", help="what `loyalty audit bundle` wrote, also packed by gzip")
    parser.add_argument(
        "--key", action="append", default=[], metavar="VKEY", help="the log's public key, or a witness's; again"
    )
    parser.add_argument(
        "--older", metavar="KEPT", help="what you kept: a checkpoint, the e-mail with it, or an anchor's file of many"
    )
    parser.add_argument("--at", metavar="TIME", help="figures of this time, with its zone; else when it was made")
    parser.add_argument("--account", action="append", default=[], metavar="ID", help="figures of this account; again")
    parser.add_argument("--customer", action="append", default=[], metavar="ID", help="of this customer; again")
    parser.add_argument(
        "--trust-bundle-key",
        action="store_true",
        help="do without --key: shows only that the bundle agrees with itself",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--version", action="version", version=f"loyalty-verify {VERSION}, SHA-256 {_own_hash()}")
    return parser


def _own_hash() -> str:
    try:
        with open(__file__, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return "unknown"


def _read_kept_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(KEPT_BYTES_MAX + 1)
        kept_notes(content)
    except (OSError, ValueError, Refused) as wrong:
        raise CannotRead(f"{path}: {wrong if isinstance(wrong, Refused) else _reason(wrong)}") from None
    return content


def _reason(wrong: BaseException) -> str:
    return getattr(wrong, "strerror", None) or type(wrong).__name__


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a bundle; one that is packed by gzip is unpacked beside, into a file that goes with the process."""
    try:
        file = open(path, "rb")  # noqa: SIM115 -- it is closed below
    except (OSError, ValueError) as wrong:
        raise CannotRead(f"{path}: {_reason(wrong)}") from None
    with file, tempfile.TemporaryFile() as unpacked:
        begin = file.read(6)
        for magic, name in PACKED_OTHERWISE.items():
            if begin.startswith(magic):
                raise CannotRead(f"{path} is packed by {name}; unpack it first")
        if not begin.startswith(b"\x1f\x8b"):
            yield file
            return
        most = file.seek(0, 2) * UNPACKED_PER_PACKED_BYTE_MAX
        file.seek(0)
        try:
            with gzip.open(file) as packed:
                while body := packed.read(1 << 20):
                    unpacked.write(body)
                    if unpacked.tell() > most:
                        raise CannotRead(f"{path} unpacks to more than {most} bytes; unpack it first, if you mean it")
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise CannotRead(f"{path}: what gzip packed is damaged; have it sent again") from None
        yield cast(BinaryIO, unpacked)


def _missing(figures: Figures) -> list[str]:
    found = {one[name] for one in figures.accounts for name in ("account", "customer")}
    return [one for one in figures.wanted if one not in found]


def _show_json(results: list[Result], figures: Figures | None, keys: list[Key], *, verified: bool) -> None:
    document = {
        "verified": verified,
        "key": "given" if keys else "in the bundle",
        "checks": [result._asdict() for result in results],
        "figures": None if figures is None else figures.document(),
        "not_checked": NOT_CHECKED,
    }
    print(json.dumps(document, indent=2))


def _show(results: list[Result], figures: Figures | None, keys: list[Key], *, verified: bool) -> None:
    for result in results:
        print(f"{'ok  ' if result.holds else 'FAIL'}  {result.check}: {_printable(result.says)}")
    alone = "" if keys else ", by the key in the bundle alone: whoever made it could have chosen that"
    print(f"verified{alone}" if verified else "NOT VERIFIED")
    for sentence in NOT_CHECKED:
        print(f"      not checked: {sentence}")
    if figures is not None:
        _show_figures(figures.document())


def _show_figures(document: dict[str, Any]) -> None:
    print(f"points at {document['at']}")
    columns = ("programme", "unit", "accounts", "outstanding", "debt", "promised")
    rows = [columns, *(tuple(_printable(str(one[name])) for name in columns) for one in document["totals"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        print("     ", row[0].ljust(widths[0]), row[1].ljust(widths[1]), *cells, sep="  ")
    for one in document["accounts"]:
        print(_printable(f"account {one['account']}: outstanding {one['outstanding']}, promised {one['promised']}"))
        for lot in one["lots"] or ():
            print(
                _printable(f"      {lot['remaining']} of lot {lot['lot']}, lapses at {lot['lapses_at'] or 'no time'}")
            )


def _printable(text: str) -> str:
    """Keep what a bundle says from writing to the terminal's controls."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


if __name__ == "__main__":
    main()
