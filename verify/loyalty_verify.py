"""Verify an audit bundle of a Loyalty Ledger: signatures, every leaf, the root, payloads, facts and balances.

The file runs alone and needs nothing but Python. It shares no code with the software that wrote the bundle.

It trusts nothing in a bundle, and every bundle gets a verdict. Members are read one at a time, after their size was
checked, so memory is bounded. An unforeseen error counts as "not verified".

    loyalty-verify BUNDLE --key VKEY [--older KEPT] [--at TIME] [--account ID] [--customer ID] [--json]

    exit 0 verified, 1 not verified, 2 the command was not understood, 3 something could not be read

The checks and their limits are described in docs/auditors.md. A bundle is a ustar archive, optionally packed by gzip:

    checkpoint, tile/...           C2SP tlog-checkpoint and tlog-tiles (in a partial bundle: entries/N, proofs/N)
    payloads/NNNNNN                records: position (8 bytes), length (4), body; valid until the next record
    rows/TABLE/NNNNNN              rows in the text format of PostgreSQL's COPY, in the order of their keys
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
OLDER_BYTES_MAX = 64 << 20  # of an auditor's file of earlier checkpoints
UNPACKED_PER_PACKED_BYTE_MAX = 100  # of a bundle packed by gzip; a genuine bundle has about 10
SIGNATURES_MAX = 100
JSON_BYTES_MAX = 4 << 20
FACTS_PER_SUBJECT_MAX = 1_000_000
LEAVES_PER_TILE = 256
BLOCK = 512
ED25519, COSIGNATURE = 1, 4
ZERO = Decimal(0)

MANIFEST_FIELDS = {"format", "ledger", "scope", "customer", "range", "size", "rows_position", "parked", "made_at"}
MANIFEST_FIELDS |= {"tables", "subject_kinds"}  # all fields of a manifest
# The columns of the tables that are checked, in order.
COLUMNS = {
    "facts": "subject_kind subject occurred_at rank tag ordinal kind body",
    "accounts": "subject account_id holder customer programme unit unit_name card_code available promised debt "
    "opening unseen lifetime issued converted redeemed expired lapsed reversed sent received in_transit held merged "
    "adjusted claimed claimed_at drift missing drift_since agreed_at lifetime_claimed expired_early expired_early_at "
    "expiry_claimed expiry_claimed_on incomplete contested last_at",
    "lots": "subject lot_id origin points earned_at remaining expires_on lapses_at promotion bill bill_number redeemed "
    "sent removed expired returned asserted rule account_id programme unit",
    "statement": "subject account_id line occurred_at kind points balance promised claimed drift reference untied "
    "repeated report_excess postings",
}

NAME = re.compile(
    r"checkpoint|keys|manifest\.json|SHA256SUMS|(?:tile/(?:[0-9]{1,2}|entries)/(?:x\d{3}/){0,6}\d{3}(?:\.p/[1-9]\d{0,2})?)"
    r"|(?:payloads|rows/[a-z_]{1,40})/\d{6}|entries/[1-9]\d{0,17}|proofs/[1-9]\d{0,17}\.tlog-proof|consistency/\d{1,18}",
    re.ASCII,
)
POINTS = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
EXACT = Context(prec=120, traps=[Inexact, InvalidOperation])


class VerificationFailed(Exception):
    """A check failed. The text is a reason that a person can read."""


def require(holds: object, sentence: str) -> None:
    if not holds:
        raise VerificationFailed(sentence)


# --- the archive ------------------------------------------------------------------------------------------------------


class BundleArchive:
    """The members of a strict ustar archive, by name. It holds regular files only, each known name at most once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at: dict[str, tuple[int, int]] = {}
        self.order: list[str] = []
        end = file.seek(0, 2)
        at = 0
        while True:
            file.seek(at)
            header = file.read(BLOCK)
            require(len(header) == BLOCK, "the archive ends in the middle")
            if not any(header):
                _require_end(file)
                break
            name, size = _read_header(header)
            at += BLOCK
            require(at + size <= end, f"{name} ends beyond the archive")
            require(name not in self._at, f"{name} is there twice")
            require(len(self._at) < MEMBERS_MAX, "too many members")
            self._at[name] = (at, size)
            self.order.append(name)
            at += size
            file.seek(at)
            require(not any(file.read(-at % BLOCK)), f"there is data after {name}")
            at += -at % BLOCK

    def __contains__(self, name: str) -> bool:
        return name in self._at

    def read(self, name: str, bytes_max: int = MEMBER_BYTES_MAX) -> bytes:
        """Read one member of at most `bytes_max` bytes."""
        require(name in self._at, f"{name} is missing")
        at, size = self._at[name]
        require(size <= bytes_max, f"{name} is larger than {bytes_max} bytes")
        self._file.seek(at)
        return self._file.read(size)

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.order if name.startswith(prefix)]


def _require_end(file: BinaryIO) -> None:
    while rest := file.read(MEMBER_BYTES_MAX):
        require(not any(rest), "there is data after the end of the archive")


def _read_header(header: bytes) -> tuple[str, int]:
    """Return the name and the size of a member. Links, devices, extended headers and unknown names are refused. So no
    path can escape.
    """
    checksum = sum(header[:148]) + 8 * 32 + sum(header[156:])
    require(_read_octal(header[148:156]) == checksum, "a header of the archive is damaged")
    require(header[156:157] in (b"0", b"\0"), "the archive holds something other than plain files")
    prefix, short = (part.rstrip(b"\0").decode("latin-1") for part in (header[345:500], header[:100]))
    name = f"{prefix}/{short}" if prefix else short
    require(NAME.fullmatch(name), f"{name[:80]!r} is not a member of a bundle")
    size = _read_octal(header[124:136])
    require(size <= MEMBER_BYTES_MAX, f"{name} is larger than {MEMBER_BYTES_MAX} bytes")
    return name, size


def _read_octal(digits: bytes) -> int:
    text = digits.strip(b"\0 ")
    require(text.isdigit() and not set(text) & set(b"89"), "a header of the archive is damaged")
    return int(text, 8)


# --- signed notes and checkpoints -------------------------------------------------------------------------------------


class CheckpointKey(NamedTuple):
    """A C2SP verifier key: NAME+HASH+BASE64."""

    name: str
    key_hash: bytes
    algorithm: int
    public: bytes


class BundleCheckpoint(NamedTuple):
    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]  # (name, key hash, signature)


def read_key(text: str) -> CheckpointKey:
    """Read a verifier key and check that its hash is the hash of its name and key."""
    name, _, rest = text.strip().partition("+")
    key_hash, _, encoded = rest.partition("+")
    material = _decode_base64(encoded)
    require(name and len(material) == 33 and material[0] in (ED25519, COSIGNATURE), "not an Ed25519 verifier key")
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    require(key_hash == expected.hex(), f"the verifier key of {name} does not match its hash")
    return CheckpointKey(name, expected, material[0], material[1:])


def read_checkpoint(note: bytes) -> BundleCheckpoint:
    """Read a C2SP signed note that holds a tlog-checkpoint. Signatures are not checked here."""
    require(len(note) <= NOTE_BYTES_MAX, "the checkpoint is too long")
    try:
        text, separator, tail = note.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise VerificationFailed("the checkpoint is not UTF-8") from None
    require(separator and tail.endswith("\n"), "the checkpoint is not a signed note")
    text += "\n"
    signatures = []
    lines = tail[:-1].split("\n")
    require(len(lines) <= SIGNATURES_MAX, f"the checkpoint has more than {SIGNATURES_MAX} signatures")
    for line in lines:
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        blob = _decode_base64(encoded)
        require(mark == "—" and name and "+" not in name and len(blob) > 4, "a signature line cannot be read")
        signatures.append((name, blob[:4], blob[4:]))
    lines = text.split("\n")
    require(len(lines) >= 4 and lines[0], "the checkpoint lacks origin, size or root")
    require(re.fullmatch(r"0|[1-9]\d{0,17}", lines[1], re.ASCII), "the checkpoint's size is not a number")
    root = _decode_base64(lines[2])
    require(len(root) == 32, "the checkpoint's root is not a SHA-256 hash")
    return BundleCheckpoint(lines[0], int(lines[1]), root, text.encode(), tuple(signatures))


def has_signature_of(checkpoint: BundleCheckpoint, key: CheckpointKey) -> bool:
    """Return True if a checkpoint has a valid signature or cosignature by a key, and False if it has none by this key.

    Raises VerificationFailed if the signature is wrong.
    """
    for name, key_hash, signature in checkpoint.signatures:
        if (name, key_hash) != (key.name, key.key_hash):
            continue
        message = checkpoint.text
        if key.algorithm == COSIGNATURE:
            require(len(signature) == 72, f"the cosignature of {name} is malformed")
            seconds = int.from_bytes(signature[:8], "big")
            require(seconds < 1 << 63, f"the cosignature of {name} has no valid time")
            message, signature = b"cosignature/v1\ntime %d\n" % seconds + message, signature[8:]
        require(ed25519_verifies(key.public, signature, message), f"the signature of {name} is wrong")
        return True
    return False


def _decode_base64(text: str) -> bytes:
    """Decode base64. Only the canonical encoding is accepted."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationFailed("a text that should be base64 is not") from None
    require(base64.b64encode(decoded).decode() == text, "a base64 text is not in its canonical form")
    return decoded


# --- an auditor's earlier checkpoints ---------------------------------------------------------------------------------


EMAIL_FRAME = re.compile(r"^-----8<-----\n(.*?)^----->8-----$", re.DOTALL | re.MULTILINE)


def find_notes(content: bytes) -> list[bytes]:
    """Find the signed notes in an auditor's file: one checkpoint, an anchor's file of many, or an e-mail with one."""
    require(len(content) <= OLDER_BYTES_MAX, f"it is longer than {OLDER_BYTES_MAX} bytes")
    if b"content-transfer-encoding:" in content[:NOTE_BYTES_MAX].lower():
        content = _email_text(content)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise VerificationFailed("it is not UTF-8") from None
    notes: list[bytes] = []
    before = ""
    for block in re.split(r"\n\n+", "\n\n".join(EMAIL_FRAME.findall(text) or [text]).strip("\n")):
        if block.startswith("\N{EM DASH} ") and before:
            notes.append(f"{before}\n\n{block}\n".encode())
            before = ""
        else:
            before = block
    require(notes, "it holds no checkpoint")
    return notes


def _email_text(content: bytes) -> bytes:
    """Return the decoded text of an e-mail."""
    for part in email.message_from_bytes(content).walk():
        decoded = part.get_payload(decode=True)
        if part.get_content_type() == "text/plain" and isinstance(decoded, bytes):
            return decoded
    raise VerificationFailed("the e-mail has no text")


# --- Ed25519 (RFC 8032) -----------------------------------------------------------------------------------------------

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)

Point = tuple[int, int, int, int]  # x/z, y/z, z, xy/z
NEUTRAL: Point = (0, 1, 1, 0)


def ed25519_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Return True if a signature is valid. It is implemented here so that no package is needed. No input is secret, so
    timing does not matter.

    Only the canonical form of a signature is valid: s below the order, R and the key in canonical encoding. A key of
    small order is refused, because it verifies any message.
    """
    key = _decode_point(public) if len(public) == 32 and len(signature) == 64 else None
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= ORDER or _multiply_by_eight(key) == _encode_point(NEUTRAL):
        return False
    digest = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    x, y, z, xy = key
    negated_key = (PRIME - x, y, z, PRIME - xy)
    sums = (NEUTRAL, BASE, negated_key, _add_points(BASE, negated_key))
    point = NEUTRAL
    for bit in range(ORDER.bit_length() - 1, -1, -1):  # s times the base point, minus the digest times the key
        point = _add_points(point, point)
        point = _add_points(point, sums[(scalar >> bit & 1) + 2 * (digest >> bit & 1)])
    return _encode_point(point) == signature[:32]


def _multiply_by_eight(point: Point) -> bytes:
    for _ in range(3):
        point = _add_points(point, point)
    return _encode_point(point)


def _add_points(left: Point, right: Point) -> Point:
    """Add two points of the curve (RFC 8032, section 5.1.4)."""
    minus = (left[1] - left[0]) * (right[1] - right[0]) % PRIME
    plus = (left[1] + left[0]) * (right[1] + right[0]) % PRIME
    product = 2 * left[3] * right[3] * CURVE % PRIME
    doubled = 2 * left[2] * right[2] % PRIME
    e, f, g, h = plus - minus, doubled - product, doubled + product, plus + minus
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _encode_point(point: Point) -> bytes:
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decode_point(encoded: bytes) -> Point | None:
    """Decode a point (RFC 8032, section 5.1.3). None if it is not on the curve or its encoding is not canonical."""
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


BASE = cast(Point, _decode_point((4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little")))


# --- the tree (RFC 6962, section 2.1) ---------------------------------------------------------------------------------


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def merkle_tree_hash(hashes: list[bytes]) -> bytes:
    """Return the Merkle Tree Hash of at most 256 leaf hashes, or of the roots of full trees of one size."""
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) % 2 else []
        hashes = [node_hash(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=False)] + odd
    return hashes[0]


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes]) -> bytes:
    """Return the root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    require(0 <= index < size, "the entry lies outside of the tree")
    at, last, root = index, size - 1, leaf
    for step in proof:
        require(last > 0, "an inclusion proof is too long")
        if at & 1 or at == last:
            root = node_hash(step, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, step)
        at, last = at >> 1, last >> 1
    require(last == 0, "an inclusion proof is too short")
    return root


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> None:
    """Check that one tree is a prefix of another (RFC 9162, section 2.1.4.2)."""
    if old == new or old == 0:
        require(not proof and (old == 0 or old_root == new_root), "two trees of the same size differ")
        return
    require(old < new and proof, "no consistency proof")
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for step in path[1:]:
        require(last > 0, "a consistency proof is too long")
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    require(last == 0 and first == old_root, "the older checkpoint is of another history")
    require(second == new_root, "the consistency proof does not lead to the root")


@dataclass
class TileTree:
    """A growing tree. Each tile is compared with the archive as soon as it is full."""

    archive: BundleArchive
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
            self.levels[level + 1].append(merkle_tree_hash(self.levels[level]))
            self.levels[level].clear()
            level += 1

    def finish(self) -> None:
        """Compare the partial tiles of the right edge, and check that the archive has no other tiles."""
        for level, hashes in enumerate(self.levels):
            if hashes:
                self._compare(f"tile/{level}/{tile_path(self.counts[level])}.p/{len(hashes)}", hashes)
        entries = self.archive.names("tile/entries/")
        require(
            len(self.archive.names("tile/")) - len(entries) == self.compared,
            "there are tiles that do not belong to the tree",
        )

    def root(self) -> bytes:
        """Return the root over the leaves so far."""
        edge: bytes | None = None
        for hashes in self.levels:
            if hashes:
                edge = merkle_tree_hash([*hashes, edge]) if edge is not None else merkle_tree_hash(list(hashes))
        return edge if edge is not None else hashlib.sha256(b"").digest()

    def _compare(self, name: str, hashes: list[bytes]) -> None:
        require(self.archive.read(name) == b"".join(hashes), f"{name} is not made of the entries")
        self.compared += 1


def tile_path(number: int) -> str:
    """Return a tile's number in the form of tlog-tiles, such as x001/x234/067."""
    path = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        path = f"x{number % 1000:03d}/{path}"
    return path


# --- JSON, points and rows --------------------------------------------------------------------------------------------


def read_json(text: bytes, name: str) -> Any:
    """Read JSON strictly: no repeated keys, no NaN, a limited length. Nesting beyond Python's limit is refused."""
    require(len(text) <= JSON_BYTES_MAX, f"{name} is too long")
    try:
        return json.loads(
            text, object_pairs_hook=_object_of_pairs, parse_float=Decimal, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError, InvalidOperation):
        raise VerificationFailed(f"{name} is not valid JSON, or uses a form that is refused") from None


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    require(len(document) == len(pairs), "a JSON object repeats a key")
    return document


def _reject_constant(name: str) -> None:
    raise ValueError(name)


def read_object(text: bytes, name: str) -> dict[str, Any]:
    value = read_json(text, name)
    require(isinstance(value, dict), f"{name} is not a JSON object")
    return dict(value)


def read_points(value: object, name: str) -> Decimal:
    """Read an exact number of points, a text in plain decimal notation."""
    require(isinstance(value, str) and POINTS.fullmatch(value), f"{name} is not a number of points")
    return Decimal(str(value))


def add_exactly(left: Decimal, right: Decimal) -> Decimal:
    return EXACT.add(left, right)


def sum_exactly(*points: Decimal) -> Decimal:
    total = ZERO
    for term in points:
        total = add_exactly(total, term)
    return total


ESCAPES = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v", b"\\": b"\\"}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

Row = dict[str, str | None]


def read_rows(archive: BundleArchive, table: str, columns: list[str]) -> Iterator[Row]:
    r"""Read a table's rows in COPY's text format: tabs between columns, \N for null, backslash escapes."""
    for line in read_row_lines(archive, table):
        cells = line.split(b"\t")
        require(len(cells) == len(columns), f"a row of {table} has {len(cells)} columns instead of {len(columns)}")
        try:
            yield {column: _decode_cell(cell) for column, cell in zip(columns, cells, strict=True)}
        except UnicodeDecodeError:
            raise VerificationFailed(f"a row of {table} is not UTF-8") from None


def read_row_lines(archive: BundleArchive, table: str) -> Iterator[bytes]:
    for name in archive.names(f"rows/{table}/"):
        body = archive.read(name)
        require(body.endswith(b"\n"), f"{name} ends in the middle of a row")
        yield from body[:-1].split(b"\n")


def _decode_cell(cell: bytes) -> str | None:
    if cell == b"\\N":
        return None
    return (_ESCAPE.sub(lambda match: ESCAPES.get(match[1], match[1]), cell) if b"\\" in cell else cell).decode()


def require_text(row: Row, column: str) -> str:
    value = row.get(column)
    require(value is not None, f"a row lacks {column}")
    return value or ""


# --- the checks -------------------------------------------------------------------------------------------------------


@dataclass
class BundleAudit:
    """One bundle, the auditor's options, and the results of the checks so far."""

    archive: BundleArchive
    keys: list[CheckpointKey]
    older: bytes | None  # the auditor's earlier checkpoints: see find_notes
    at: str | None = None  # the time of the figures; None: the time of the bundle
    requested: tuple[str, ...] = ()  # ids of the accounts and customers whose figures are requested
    manifest: dict[str, Any] = field(default_factory=dict)
    checkpoint: BundleCheckpoint | None = None
    earlier: list[BundleCheckpoint] = field(
        default_factory=list
    )  # checkpoints of this log, each size once, smallest first
    older_refused: str | None = None  # the reason why the earlier checkpoints cannot be used
    trusted: bool = False  # the auditor gave the key; it is not the one in the bundle
    roots: dict[int, bytes] = field(default_factory=dict)  # of the tree, at the sizes of the earlier checkpoints
    figures: "BundleFigures | None" = None
    known: "list[array[int]]" = field(default_factory=lambda: [array("Q") for _ in range(256)])  # events, by 8 bytes
    attested: dict[str, Any] | None = None  # the last attestation
    subjects: "array[int]" = field(default_factory=lambda: array("Q"))  # 8-byte hashes of the subjects with facts
    last_change: int = 0  # the last position of an event other than an attestation

    @property
    def is_whole(self) -> bool:
        return self.manifest.get("scope") == "ledger"

    def signed(self) -> BundleCheckpoint:
        require(self.checkpoint is not None, "there is no verified checkpoint")
        assert self.checkpoint is not None
        return self.checkpoint


def check_members(audit: BundleAudit) -> str:
    """Every member has the hash in SHA256SUMS, and there is no other member."""
    archive = audit.archive
    audit.manifest = read_object(archive.read("manifest.json"), "manifest.json")
    require(audit.manifest.get("format") == FORMAT, f"the bundle is not of the format {FORMAT}")
    require(audit.manifest.keys() == MANIFEST_FIELDS, "the manifest does not have exactly the fields of its format")
    require(audit.manifest["scope"] in ("ledger", "customer", "range"), "the manifest has no valid scope")
    tables = audit.manifest.get("tables")
    fits = isinstance(tables, dict) and all(
        isinstance(columns, list) and columns and all(isinstance(column, str) for column in columns)
        for columns in tables.values()
    )
    require(fits, "the manifest does not name the columns of its tables")
    for table, columns in COLUMNS.items():  # the checks depend on the columns' names
        named = dict(tables or {}).get(table)
        missing = named is None and audit.manifest["scope"] == "range" and table != "facts"
        require(missing or named == columns.split(), f"the columns of {table} are not those of {FORMAT}")
    summed = set()
    for line in archive.read("SHA256SUMS").decode("ascii", "replace").splitlines():
        expected, _, name = line.partition("  ")
        require(name not in summed, f"SHA256SUMS names {name[:80]} twice")
        summed.add(name)
        require(hashlib.sha256(archive.read(name)).hexdigest() == expected, f"{name[:80]} does not match SHA256SUMS")
    others = set(archive.order) - summed - {"SHA256SUMS"}
    require(not others, f"SHA256SUMS does not name {', '.join(sorted(others)[:3])}")
    return f"{len(summed)} members"


def check_checkpoint(audit: BundleAudit) -> str:
    """The checkpoint is signed by the log: by the auditor's copy of the key, if one is given."""
    checkpoint = read_checkpoint(audit.archive.read("checkpoint", NOTE_BYTES_MAX))
    given_keys = audit.keys
    audit.trusted = any(key.algorithm == ED25519 for key in given_keys)
    log_keys = [key for key in given_keys if key.algorithm == ED25519]
    if not log_keys:
        log_keys = _bundled_keys(audit)
    signers = [key.name for key in log_keys if has_signature_of(checkpoint, key)]
    require(signers, "the checkpoint is not signed by the log's key")
    require(set(signers) == {checkpoint.origin}, "the key's name is not the checkpoint's origin")
    for witness in given_keys:
        if witness.algorithm == COSIGNATURE:
            require(has_signature_of(checkpoint, witness), f"the witness {witness.name} has not cosigned")
    require(audit.manifest.get("size") == checkpoint.size, "the manifest has another size")
    audit.checkpoint = checkpoint
    witnesses = len(given_keys) - len([key for key in given_keys if key.algorithm == ED25519])
    signer = (
        "the key that was given"
        if audit.trusted
        else "the key in the bundle, which the maker of the bundle could have chosen"
    )
    return f"size {checkpoint.size}, signed by {signer}" + (f", {witnesses} witnesses" if witnesses else "")


def _bundled_keys(audit: BundleAudit) -> list[CheckpointKey]:
    """Return the log's keys that came with the bundle."""
    lines = audit.archive.read("keys", NOTE_BYTES_MAX).decode("utf-8", "replace").splitlines()
    require(len(lines) <= SIGNATURES_MAX, "the bundle holds too many keys")
    return [key for key in map(read_key, filter(None, lines)) if key.algorithm == ED25519]


def check_entries(audit: BundleAudit) -> str:
    """Of a whole ledger: all entries hash to the tiles and to the root, and their positions are 1, 2, 3 ..."""
    checkpoint = audit.signed()
    _read_older(audit)
    sizes = {older.size for older in audit.earlier}
    if not audit.is_whole:
        return _check_proofs(audit, checkpoint)
    tree = TileTree(audit.archive)
    payloads = PayloadReader(audit.archive)
    last_recorded = ""
    for number in range(-(-checkpoint.size // LEAVES_PER_TILE)):
        count = min(LEAVES_PER_TILE, checkpoint.size - number * LEAVES_PER_TILE)
        partial = "" if count == LEAVES_PER_TILE else f".p/{count}"
        for entry in _split_entries(audit.archive.read(f"tile/entries/{tile_path(number)}{partial}"), count):
            tree.add(leaf_hash(entry))
            last_recorded = _check_entry(audit, entry, tree.size, last_recorded, payloads)
            if tree.size in sizes:
                audit.roots[tree.size] = tree.root()
    tree.finish()
    payloads.finish()
    bundles = -(-checkpoint.size // LEAVES_PER_TILE)
    require(len(audit.archive.names("tile/entries/")) == bundles, "there are entries beyond the tree")
    require(tree.root() == checkpoint.root, "the entries do not hash to the signed root")
    audit.roots[0] = hashlib.sha256(b"").digest()
    return f"{tree.size} entries hash to the signed root; positions 1 to {tree.size} without a gap; payloads match"


def _check_proofs(audit: BundleAudit, checkpoint: BundleCheckpoint) -> str:
    """Check a partial bundle: each entry is proven to be in the signed tree at its position."""
    payloads = PayloadReader(audit.archive)
    names = audit.archive.names("entries/")
    positions = [int(name.removeprefix("entries/")) for name in names]
    require(positions == sorted(positions), "the entries are out of order")
    require(len(audit.archive.names("proofs/")) == len(names), "there are proofs without an entry")
    last_recorded = ""
    for name, position in zip(names, positions, strict=True):
        entry = audit.archive.read(name, 65_535)
        proof = audit.archive.read(f"proofs/{position}.tlog-proof", NOTE_BYTES_MAX).decode("utf-8", "replace")
        head, _, note = proof.partition("\n\n")
        lines = head.split("\n")
        require(lines[0] == "c2sp.org/tlog-proof@v1", f"the proof of {position} is not a tlog-proof")
        del lines[: 2 if len(lines) > 1 and lines[1].startswith("extra ") else 1]
        require(lines and lines[0] == f"index {position - 1}", f"the proof of {position} is of another entry")
        hashes = [_decode_base64(line) for line in lines[1:]]
        require(all(len(sibling) == 32 for sibling in hashes), f"the proof of {position} is malformed")
        require(read_checkpoint(note.encode()).text == checkpoint.text, f"the proof of {position} is of another tree")
        root = root_from_inclusion(position - 1, checkpoint.size, leaf_hash(entry), hashes)
        require(root == checkpoint.root, f"the entry of position {position} is not in the signed tree")
        last_recorded = _check_entry(audit, entry, position, last_recorded, payloads)
    payloads.finish()
    span = audit.manifest.get("range")
    if audit.manifest["scope"] == "range":
        fits = isinstance(span, list) and len(span) == 2 and all(type(bound) is int for bound in span)
        require(fits, "the manifest has no valid range")
        first, last = span or (0, 0)
        # The positions are in order and distinct. So it is enough to compare both ends and the count.
        is_complete = [*positions[:1], *positions[-1:]] == [first, last] and len(positions) == last - first + 1
        require(is_complete, "positions are missing from the range")
    return f"{len(names)} entries are in the signed tree, at their positions; payloads match"


def _split_entries(body: bytes, count: int) -> Iterator[bytes]:
    """Yield the entries of an entry bundle."""
    at = 0
    for _ in range(count):
        require(at + 2 <= len(body), "an entry bundle is too short")
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        require(end <= len(body), "an entry bundle is too short")
        yield body[at + 2 : end]
        at = end
    require(at == len(body), "an entry bundle is too long")


class BundlePayload(NamedTuple):
    position: int
    sha256: str
    body: bytes


class PayloadReader:
    """The payloads, in order of position. A payload belongs to the events of its delivery, which follow it."""

    def __init__(self, archive: BundleArchive) -> None:
        self._records = _payload_records(archive)
        self._current: BundlePayload | None = None
        self._next = next(self._records, None)

    def at(self, position: int) -> BundlePayload:
        if self._next is not None and self._next.position <= position:
            require(
                self._next.position == position, f"there is a payload for position {self._next.position}, but no event"
            )
            self._current, self._next = self._next, next(self._records, None)
        require(self._current is not None, f"the payload of position {position} is missing")
        assert self._current is not None
        return self._current

    def finish(self) -> None:
        require(self._next is None, "there are payloads beyond the last event")


def _payload_records(archive: BundleArchive) -> Iterator[BundlePayload]:
    last = 0
    for name in archive.names("payloads/"):
        body, at = archive.read(name), 0
        while at < len(body):
            position, length = int.from_bytes(body[at : at + 8], "big"), int.from_bytes(body[at + 8 : at + 12], "big")
            require(at + 12 + length <= len(body) and position > last, f"{name} is malformed")
            last, payload, at = position, body[at + 12 : at + 12 + length], at + 12 + length
            yield BundlePayload(position, hashlib.sha256(payload).hexdigest(), payload)


def _check_entry(audit: BundleAudit, entry: bytes, position: int, last_recorded: str, payloads: PayloadReader) -> str:
    """Check that an entry belongs to this ledger, position and payload. Store the event, return its recorded time."""
    fields = read_object(entry, f"the entry of position {position}")
    require(
        fields.get("position") == position,
        f"the entry at position {position} has position {fields.get('position')!r:.40}",
    )
    require(
        fields.get("ledger") == audit.manifest.get("ledger"), f"the entry of position {position} is of another ledger"
    )
    recorded = fields.get("recorded_at")
    require(
        isinstance(recorded, str) and recorded >= last_recorded,
        f"the recorded time goes backwards at position {position}",
    )
    payload = payloads.at(position)
    require(
        fields.get("payload_sha256") == payload.sha256, f"the payload of position {position} is not the recorded one"
    )
    key, content = fields.get("event_key"), fields.get("content")
    require(isinstance(key, str) and isinstance(content, str), f"the entry of position {position} has no event key")
    tag = _decode_tag_part(str(key))[:8] + _decode_tag_part(str(content))[:8]
    audit.known[tag[0]].append(int.from_bytes(hashlib.sha256(tag).digest()[:8], "big"))
    if fields.get("source") == "loyalty" and fields.get("kind") == "attested":
        audit.attested = read_object(payload.body, f"the attestation at {position}")
    else:
        audit.last_change = position
    return str(recorded)


def _decode_tag_part(text: str) -> bytes:
    try:
        decoded = bytes.fromhex(text)
    except ValueError:
        raise VerificationFailed("an entry's key is not hexadecimal") from None
    require(len(decoded) >= 8, "an entry's key is too short")
    return decoded


def _read_older(audit: BundleAudit) -> None:
    """Read the auditor's earlier checkpoints of this log. If the newest is signed by a known key, its signature is
    checked.

    A problem with them is stored, and `check_older` reports it.
    """
    if audit.older is None:
        return
    try:
        checkpoints = [read_checkpoint(note) for note in find_notes(audit.older)]
        of_this_log = {
            (checkpoint.size, checkpoint.root): checkpoint
            for checkpoint in checkpoints
            if checkpoint.origin == audit.signed().origin
        }
        origins = sorted({checkpoint.origin for checkpoint in checkpoints})
        require(of_this_log, f"it belongs to another log, {' and '.join(origins):.200}")
        audit.earlier = sorted(of_this_log.values(), key=lambda checkpoint: checkpoint.size)
        _check_signatures(audit, audit.earlier[-1])
    except VerificationFailed as failure:
        audit.older_refused = f"the earlier checkpoints cannot be used: {failure}"
        audit.earlier = []


def _check_signatures(audit: BundleAudit, older: BundleCheckpoint) -> None:
    for key in audit.keys or _bundled_keys(audit):
        has_signature_of(older, key)  # a wrong signature raises; without one, the auditor vouches


def check_older(audit: BundleAudit) -> str:
    """The tree continues the trees of the auditor's earlier checkpoints: no event in those was changed."""
    current = audit.signed()
    require(audit.older_refused is None, audit.older_refused or "")
    if not audit.earlier:
        return "none was given: an earlier rewrite of history cannot be detected"
    newest = audit.earlier[-1]
    require(
        newest.size <= current.size,
        f"the older checkpoint has {newest.size} events, the bundle {current.size}: the ledger has shrunk, or the "
        "bundle is older than that checkpoint; ask for a new one",
    )
    if not audit.is_whole:
        return _check_growth(audit)
    for older in audit.earlier:
        if audit.roots.get(older.size) != older.root:
            _check_signatures(audit, older)
            raise VerificationFailed(f"the older checkpoint of {older.size} events is of another history")
    also = f"; {len(audit.earlier)} checkpoints were compared" if len(audit.earlier) > 1 else ""
    return f"the first {newest.size} events are the ones signed before{also}"


def _check_growth(audit: BundleAudit) -> str:
    """Check a partial bundle. It holds a proof for one earlier checkpoint only: the one with which it was requested."""
    current = audit.signed()
    proven = [
        checkpoint
        for checkpoint in audit.earlier
        if f"consistency/{checkpoint.size}" in audit.archive or checkpoint.size == current.size
    ]
    require(proven, f"consistency/{audit.earlier[-1].size} is missing: ask for a bundle made with --older")
    for older in proven:
        name = f"consistency/{older.size}"
        body = audit.archive.read(name, NOTE_BYTES_MAX) if name in audit.archive else b""
        lines = body.decode("ascii", "replace").splitlines()
        check_consistency(older.size, current.size, older.root, current.root, [_decode_base64(line) for line in lines])
    rest = len(audit.earlier) - len(proven)
    also = f"; the bundle holds no proof for {rest} other checkpoints" if rest else ""
    return f"the first {proven[-1].size} events are the ones signed before{also}"


def check_facts(audit: BundleAudit) -> str:
    """Every fact belongs to an event of this ledger, and is there once, among the facts of its subject."""
    for hashes in audit.known:
        ordered = array("Q", sorted(hashes))
        del hashes[:]
        hashes.extend(ordered)
    count = 0
    kinds: set[str] = set()
    last = ("", b"")
    facts_of_subject: set[tuple[str, str]] = set()  # (tag, ordinal) of the facts of the current subject
    for row in read_rows(audit.archive, "facts", _columns_of(audit, "facts")):
        count += 1
        tag_text = require_text(row, "tag")
        tag = _decode_tag_part(tag_text.removeprefix("\\x"))
        number = int.from_bytes(hashlib.sha256(tag).digest()[:8], "big")
        hashes_of_byte = audit.known[tag[0]]
        index = bisect_left(hashes_of_byte, number)
        require(
            index < len(hashes_of_byte) and hashes_of_byte[index] == number,
            f"a fact about {row.get('subject')!s:.60} belongs to no event of the bundle",
        )
        kind, subject = require_text(row, "subject_kind"), require_text(row, "subject")
        if (kind, subject.encode()) != last:
            require(kind == last[0] or kind not in kinds, f"the facts about {kind:.40} subjects are not together")
            require(kind != last[0] or subject.encode() > last[1], f"facts about {subject:.60} are out of order")
            kinds.add(kind)
            last = (kind, subject.encode())
            facts_of_subject.clear()
            audit.subjects.append(_subject_number(kind, subject.encode()))
        require(len(facts_of_subject) < FACTS_PER_SUBJECT_MAX, f"too many facts about {subject:.60}")
        require(
            (tag_text, require_text(row, "ordinal")) not in facts_of_subject,
            f"a fact about {subject:.60} is there twice",
        )
        facts_of_subject.add((tag_text, require_text(row, "ordinal")))
    return f"{count} facts, each of an event of the bundle, none twice"


def _subject_number(kind: str, subject: bytes) -> int:
    return int.from_bytes(hashlib.sha256(kind.encode() + b" " + subject).digest()[:8], "big")


def check_rows(audit: BundleAudit) -> str:
    """No row is there twice, and each belongs to a subject with facts."""
    kinds = audit.manifest.get("subject_kinds")
    require(isinstance(kinds, dict), "the manifest does not name the subject kinds of its tables")
    for name in audit.archive.names("rows/"):
        require(name.split("/")[1] in audit.manifest["tables"], f"{name} belongs to no table of the manifest")
    known_subjects = array("Q", sorted(audit.subjects))
    count = 0
    for table, columns in audit.manifest["tables"].items():
        if table == "facts":
            continue
        require(columns[0] == "subject", f"{table:.40} has no subject")
        kind, previous_line, previous_subject = dict(kinds or {}).get(table), b"", b""
        for line in read_row_lines(audit.archive, table):
            count += 1
            subject = line.partition(b"\t")[0]
            require(line != previous_line, f"a row of {table:.40} is there twice")
            require(subject >= previous_subject, f"{table:.40} is out of order")
            # A customer may have no fact, only an erasure.
            if kind != "customer" and (subject != previous_subject or not previous_line):
                number = _subject_number(str(kind), (_decode_cell(subject) or "").encode())
                index = bisect_left(known_subjects, number)
                is_known = index < len(known_subjects) and known_subjects[index] == number
                require(is_known, f"there is no fact about {subject.decode('utf-8', 'replace'):.60} of {table:.40}")
            previous_line, previous_subject = line, subject
    return f"{count} rows, none twice, each about a subject with facts"


def _columns_of(audit: BundleAudit, table: str) -> list[str]:
    return list(audit.manifest["tables"].get(table, ()))


# --- balances ---------------------------------------------------------------------------------------------------------

# The class of postings that a column of the accounts table shows. A contra class is shown with the opposite sign.
CLASS_OF_COLUMN = {
    **{name: (name, 1) for name in ("promised", "redeemed", "expired", "lapsed", "reversed", "sent", "in_transit")},
    "held": ("held", 1),
    **{name: (name, -1) for name in ("debt", "opening", "unseen", "issued", "received", "merged", "adjusted")},
}
PROMISE_CLASSES = ("promised", "promises_made", "promises_unseen", "promises_cancelled", "promises_merged")
BALANCE_CLASSES = ("available", "debt")
# The columns of a lot for its used points.
LOT_USE_COLUMNS = ("redeemed", "sent", "removed", "expired", "returned")
CLASSES_OF_USE = {"sent": ("in_transit", "sent"), "expired": ("expired",), "returned": ("reversed",)}
SOURCE_CLASSES = ("issued", "promised", "received", "opening", "unseen", "adjusted")
LOT_CLASSES = ("available", "lapsed")  # the classes that hold the remaining points of lots


TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00", re.ASCII)
NEVER = "~"  # later than any time


class StatementPosting(NamedTuple):
    source: str
    target: str
    points: Decimal
    lot: str | None


@dataclass
class AccountSums:
    """One account, folded from the lines of its statement."""

    classes: dict[str, Decimal] = field(default_factory=dict)
    lots: dict[str, Decimal] = field(default_factory=dict)
    flows: dict[str, dict[str, Decimal]] = field(default_factory=dict)  # sums by lot and class
    lines: int = 0
    claim: Row | None = None  # the last line with a claim of the vendor
    at: str = NEVER
    at_time: tuple[Decimal, Decimal] = (ZERO, ZERO)  # outstanding and promised at the time `at`

    def post(self, posting: StatementPosting) -> None:
        for name, points in ((posting.source, posting.points.copy_negate()), (posting.target, posting.points)):
            self.classes[name] = add_exactly(self.classes.get(name, ZERO), points)
            if posting.lot is not None:
                flow = self.flows.setdefault(posting.lot, {})
                flow[name] = add_exactly(flow.get(name, ZERO), points)
                if name in LOT_CLASSES:
                    self.lots[posting.lot] = add_exactly(self.lots.get(posting.lot, ZERO), points)

    def spendable(self) -> Decimal:
        return add_exactly(*(self.classes.get(name, ZERO) for name in BALANCE_CLASSES))


def _read_postings(row: Row) -> list[StatementPosting]:
    listed = read_json(require_text(row, "postings").encode(), "postings")
    require(isinstance(listed, list), "postings are not a list")
    postings = []
    for fields in listed:
        fits = isinstance(fields, list) and len(fields) in (3, 4) and all(isinstance(part, str) for part in fields[:2])
        require(fits, "a posting cannot be read")
        lot = fields[3] if len(fields) == 4 else None
        require(lot is None or isinstance(lot, str), "a posting cannot be read")
        postings.append(StatementPosting(fields[0], fields[1], read_points(fields[2], "a posting"), lot))
    return postings


def fold_line(account: AccountSums, row: Row) -> None:
    """Post a line of the statement, and check its figures against the sums of the postings."""
    account.lines += 1
    where = f"line {account.lines} of {row.get('account_id')!s:.80}"
    require(row.get("line") == str(account.lines), f"{where} is missing")
    balance_before = account.spendable()
    for posting in _read_postings(row):
        account.post(posting)
    balance = account.spendable()
    stated_change = read_points(row.get("points"), where)
    require(
        add_exactly(balance_before, stated_change) == balance,
        f"{where} has {stated_change} points, but its postings add up to "
        f"{add_exactly(balance, balance_before.copy_negate())}",
    )
    require(read_points(row.get("balance"), where) == balance, f"{where}: the balance is not the sum of the postings")
    promised = account.classes.get("promised", ZERO)
    require(read_points(row.get("promised"), where) == promised, f"{where}: promised is not the sum of the postings")
    if read_row_time(row, "occurred_at", "") <= account.at:
        account.at_time = (balance, promised)
    if row.get("claimed") is not None:
        account.claim = row
        drift = add_exactly(read_points(row["claimed"], where), balance.copy_negate())
        require(read_points(row.get("drift"), where) == drift, f"{where}: the drift is not the claim minus the balance")


@dataclass
class ProgrammeTotal:
    """The points of a programme's accounts in one unit. Outstanding is the spendable points minus the debt."""

    accounts: int = 0
    outstanding: Decimal = ZERO
    debt: Decimal = ZERO
    promised: Decimal = ZERO


@dataclass
class BundleFigures:
    """Figures computed from the rows, at one time: totals by programme and unit, and the requested accounts."""

    at: str  # in the text format of rows, so that texts can be compared
    requested: tuple[str, ...]  # ids of accounts or customers
    totals: dict[tuple[str, str], ProgrammeTotal] = field(default_factory=dict)
    accounts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: Row, account: AccountSums, lots: dict[str, Row]) -> None:
        """Add one account. Its rows have been checked."""
        outstanding, promised = account.at_time
        last = read_row_time(row, "last_at", "")
        if last <= self.at:  # lapses after the last event have no line
            lapsed = [lot for lot in lots.values() if last < read_row_time(lot, "lapses_at", NEVER) <= self.at]
            outstanding = add_exactly(outstanding, sum_exactly(*(_remaining(lot) for lot in lapsed)).copy_negate())
        account_id, unit = require_text(row, "account_id"), require_text(row, "unit")
        programme = ":".join([*account_id.split(":")[:2], require_text(row, "programme")])
        total = self.totals.setdefault((programme, unit), ProgrammeTotal())
        total.accounts += 1
        total.outstanding = add_exactly(total.outstanding, outstanding)
        total.debt = add_exactly(total.debt, max(ZERO, outstanding.copy_negate()))
        total.promised = add_exactly(total.promised, promised)
        if account_id in self.requested or row.get("customer") in self.requested:
            names = {"account": account_id, "customer": row.get("customer"), "programme": programme, "unit": unit}
            figures = {"outstanding": format_points(outstanding), "promised": format_points(promised)}
            open_lots = _open_lots(lots, self.at) if last <= self.at else None
            self.accounts.append({**names, **figures, "last_event_at": last, "lots": open_lots})

    def document(self) -> dict[str, Any]:
        totals = [
            {
                "programme": programme,
                "unit": unit,
                "accounts": total.accounts,
                "outstanding": format_points(total.outstanding),
                "debt": format_points(total.debt),
                "promised": format_points(total.promised),
            }
            for (programme, unit), total in sorted(self.totals.items())
        ]
        return {"at": self.at, "totals": totals, "accounts": self.accounts}


def _remaining(lot: Row) -> Decimal:
    return read_points(lot.get("remaining"), "a lot")


def _open_lots(lots: dict[str, Row], at: str) -> list[dict[str, str | None]]:
    """List the lots with spendable points."""
    return [
        {"lot": name, "remaining": format_points(_remaining(lot)), "lapses_at": lot.get("lapses_at")}
        for name, lot in lots.items()
        if read_row_time(lot, "lapses_at", NEVER) > at and _remaining(lot)
    ]


def read_row_time(row: Row, column: str, missing: str) -> str:
    """Read a time in PostgreSQL's text format in UTC, or return `missing` for null. Such texts sort by time."""
    value = row.get(column)
    require(value is None or TIME.fullmatch(value), f"{column} is not a time")
    return missing if value is None else value


def format_points(points: Decimal) -> str:
    """Format points without an exponent and without trailing zeros."""
    text = format(points, "f") if points else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


Groups = Iterator[tuple[tuple[str, str], Iterator[Row]]]


def _rows_by_account(audit: BundleAudit, table: str) -> Groups:
    """Yield a table's rows, grouped by account, in the order of (subject, account)."""
    rows = read_rows(audit.archive, table, _columns_of(audit, table))
    last: tuple[bytes, bytes] | None = None
    for key, group in groupby(rows, lambda row: (require_text(row, "subject"), require_text(row, "account_id"))):
        place = (key[0].encode(), key[1].encode())
        require(last is None or last < place, f"{table} is out of order")
        last = place
        yield key, group


def check_balances(audit: BundleAudit) -> str:
    """Every account, folded from the postings of its statement, agrees with its lines, its row and its lots."""
    statement, lots = _rows_by_account(audit, "statement"), _rows_by_account(audit, "lots")
    next_lots = next(lots, None)
    next_lines = next(statement, None)
    totals: dict[str, dict[str, Decimal]] = {}
    facts = BundleFactReader(audit)
    figures = BundleFigures(audit.at or _bundle_time(audit), audit.requested)
    accounts = lines = 0
    for key, rows in _rows_by_account(audit, "accounts"):
        [row] = _require_single(rows, key[1])
        account = AccountSums(at=figures.at)
        if next_lines is not None and next_lines[0] == key:
            for line in next_lines[1]:
                fold_line(account, line)
            next_lines = next(statement, None)
        account_lots: dict[str, Row] = {}
        if next_lots is not None and next_lots[0] == key:
            for lot in next_lots[1]:
                name = require_text(lot, "lot_id")
                require(name not in account_lots, f"the lot {name:.60} is there twice")
                account_lots[name] = lot
            next_lots = next(lots, None)
        require(account.lines > 0, f"account {key[1]:.80} has no line")
        _compare_account(key[1], row, account, account_lots)
        figures.add(row, account, account_lots)
        facts_of_holder = facts.of(key[0])
        if not is_merged(facts_of_holder):  # the facts of a merge belong to both holders
            compare_lots(key[1], account, account_lots, facts_of_holder)
            compare_claims(key[1], row, account, facts_of_holder)
        classes = totals.setdefault(require_text(row, "unit"), {})
        for name, points in account.classes.items():
            classes[name] = add_exactly(classes.get(name, ZERO), points)
        accounts, lines = accounts + 1, lines + account.lines
    require(next_lines is None, "there are statement lines of no account")
    require(next_lots is None, "there are lots of no account")
    for of_unit, sums in totals.items():
        require(sum(sums.values(), ZERO) == 0, f"the postings of {of_unit:.40} do not sum to zero")
    _compare_trial_balance(audit, totals)
    audit.figures = figures
    return f"{accounts} accounts and {lines} lines: every balance and lot is the sum of its postings"


def _bundle_time(audit: BundleAudit) -> str:
    try:
        return read_time(audit.manifest["made_at"])
    except (TypeError, ValueError, OverflowError):
        raise VerificationFailed("the manifest has no valid time") from None


def read_time(text: str) -> str:
    """Convert an ISO time with a zone to the text format of rows. Raises ValueError or TypeError."""
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None:
        raise ValueError("the time has no zone: write 2026-03-31T23:59:59+05:30, for example")
    fraction = f".{time.microsecond:06}".rstrip("0").rstrip(".")
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}{fraction}+00"


def _require_single(rows: Iterator[Row], account_id: str) -> list[Row]:
    at_most_two = [row for row, _ in zip(rows, range(2), strict=False)]
    require(len(at_most_two) == 1, f"{account_id:.80} has more than one row")
    return at_most_two


def _compare_account(account_id: str, row: Row, account: AccountSums, lots: dict[str, Row]) -> None:
    where = f"account {account_id:.80}"
    require(
        read_points(row.get("available"), where) == account.spendable(),
        f"{where}: available is not the sum of its postings",
    )
    for column, (name, sign) in CLASS_OF_COLUMN.items():
        value = read_points(row.get(column), where)
        require(value == account.classes.get(name, ZERO) * sign, f"{where}: {column} is not the sum of its postings")
    converted = sum_exactly(*(account.classes.get(name, ZERO).copy_negate() for name in PROMISE_CLASSES))
    require(read_points(row.get("converted"), where) == converted, f"{where}: converted is not the sum of its postings")
    held = {lot: points for lot, points in account.lots.items() if points}
    shown_lots = {}
    for name, lot in lots.items():
        remaining, *uses = (
            read_points(lot.get(column), f"a lot of {where}") for column in ("remaining", *LOT_USE_COLUMNS)
        )
        if remaining:
            shown_lots[name] = remaining
        points_granted = read_points(lot.get("points"), f"a lot of {where}")
        require(
            points_granted == sum_exactly(remaining, *uses), f"{where}: the columns of the lot {name:.60} do not add up"
        )
    require(held == shown_lots, f"{where}: the remaining points of its lots are not the sums of their postings")


def _compare_trial_balance(audit: BundleAudit, totals: dict[str, dict[str, Decimal]]) -> None:
    """Compare the totals with the attested trial balance, if the rows are those that were attested."""
    if not _attests_these_rows(audit):
        return
    assert audit.attested is not None
    attested = audit.attested.get("trial_balance")
    require(isinstance(attested, dict), "the attestation holds no trial balance")
    figures = {
        str(unit): {str(name): read_points(points, "an attested figure") for name, points in classes.items()}
        for unit, classes in dict(attested or {}).items()
        if isinstance(classes, dict)
    }
    ours = {unit: {name: points for name, points in of.items() if points} for unit, of in totals.items()}
    theirs = {unit: {name: points for name, points in of.items() if points} for unit, of in figures.items()}
    drop = {unit for unit in ours if not ours[unit]}
    require(
        {unit: of for unit, of in ours.items() if unit not in drop} == {unit: of for unit, of in theirs.items() if of},
        "the attested trial balance is not the sum of the postings",
    )


def _attests_these_rows(audit: BundleAudit) -> bool:
    """Return True if the last attestation covers the rows in the bundle: no later event can have changed a row."""
    if not audit.is_whole or audit.attested is None:
        return False
    position, rows = audit.attested.get("position"), audit.manifest.get("rows_position")
    if not isinstance(position, int) or not isinstance(rows, int):
        raise VerificationFailed("the attestation or the manifest has no valid position")
    if position < audit.last_change:
        return False  # later events may have changed the rows
    require(
        audit.last_change <= rows <= audit.signed().size,
        "the rows are older than their attestation; ask for a new bundle",
    )
    return True


def check_attestation(audit: BundleAudit) -> str:
    """The digests in the last attestation, an event of the ledger, are the digests of the rows in the bundle."""
    if audit.attested is None:
        return "there is none in the bundle"
    if not _attests_these_rows(audit):
        return "not compared: the last one covers earlier rows than the bundle's"
    digests = audit.attested.get("digests")
    require(isinstance(digests, dict) and digests, "the attestation holds no digests")
    columns = audit.attested.get("columns", audit.manifest["tables"])
    require(columns == audit.manifest["tables"], "the manifest's columns are not the attested ones")
    compared = 0
    for table, expected in dict(digests or {}).items():
        require(table in audit.manifest["tables"], f"the attested table {table!s:.40} is not in the bundle")
        sha256 = hashlib.sha256()
        for name in audit.archive.names(f"rows/{table}/"):
            sha256.update(audit.archive.read(name))
        require(sha256.hexdigest() == expected, f"the rows of {table} are not the attested ones")
        compared += 1
    return f"{compared} tables are as attested at position {audit.attested.get('position')!s:.20}"


# --- from facts to lines ----------------------------------------------------------------------------------------------


def _sum_grants(body: dict[str, Any], name: str = "grants") -> Decimal:
    """Add up the points of a fact's lots or promises."""
    grants = body.get(name, [])
    require(isinstance(grants, list) and all(isinstance(grant, dict) for grant in grants), "a fact cannot be read")
    total = ZERO
    for grant in grants:
        total = add_exactly(total, read_points(grant.get("points"), "a fact"))
    return total


def _read_amount(body: dict[str, Any]) -> Decimal:
    return read_points(body.get("points"), "a fact")


FactMoves = list[tuple[str | None, tuple[str, ...], Decimal]]  # (from class, None for any; into classes; points)

# The movements that facts state. Those of reversals, lapses and merges depend on earlier facts, so they are not here.
MOVES: dict[str, Callable[[dict[str, Any]], FactMoves]] = {
    "Issued": lambda body: [
        ("issued", LOT_CLASSES, _sum_grants(body)),
        ("promises_made", ("promised",), _sum_grants(body, "promises")),
    ],
    "PromisedConverted": lambda body: [("promised", LOT_CLASSES, _sum_grants(body))],
    "PromiseKept": lambda body: [("promised", LOT_CLASSES, _read_amount(body))],
    "TransferReceived": lambda body: [("received", LOT_CLASSES, _read_amount(body))],
    "Redeemed": lambda body: [(None, ("redeemed",), _read_amount(body))],
    "HoldCaptured": lambda body: [(None, ("redeemed",), _read_amount(body))],
    "TransferSent": lambda body: [(None, ("in_transit",), _read_amount(body))],
    "Removed": lambda body: [(None, ("adjusted",), _read_amount(body))],
}


class BundleFact(NamedTuple):
    name: str  # event tag and ordinal; names of lots begin with it
    kind: str
    occurred_at: str
    body: dict[str, Any]


def check_lines(audit: BundleAudit) -> str:
    """Every line of a statement has its fact, and a fact that states its movement has a line."""
    if "statement" not in audit.manifest["tables"]:
        require(audit.manifest["scope"] == "range", "there is no statement")
        return "there is none: a range has no rows but facts"
    facts = BundleFactReader(audit)
    parked = audit.manifest.get("parked", [])
    require(isinstance(parked, list), "the manifest does not list the parked subjects")
    lines_of_holders = groupby(
        read_rows(audit.archive, "statement", _columns_of(audit, "statement")), lambda r: require_text(r, "subject")
    )
    checked = merged = 0
    for subject, lines in lines_of_holders:
        facts_of_holder = facts.of(subject)
        require(bool(facts_of_holder), f"there are lines of {subject:.60}, and no facts about its accounts")
        if is_merged(facts_of_holder):
            merged += 1
            continue
        by_key: dict[tuple[str, str, str], list[BundleFact]] = {}
        for fact in facts_of_holder:
            by_key.setdefault((_account_of(fact.body), fact.occurred_at, fact.kind), []).append(fact)
        for line in lines:
            if line.get("repeated") == "t":
                _compare_report(line, facts_of_holder, by_key)
            else:
                checked += _compare_line(line, by_key)
        if subject not in parked:
            missing_kind = _first_without_line(facts_of_holder, by_key)
            require(missing_kind is None, f"{subject:.60} has no line for the points that a fact {missing_kind} moved")
    holders = [subject for subject in facts.holders_without_lines() if subject not in parked]
    require(not holders, f"there are facts about {''.join(holders[:1]):.60}, and no line")
    also = f", {len(parked)} are parked" if parked else ""
    return f"{checked} lines move the points of their facts, and none is missing; {merged} holders were merged{also}"


def check_redemptions(audit: BundleAudit) -> str:
    """Every redemption that a fact states has a row, and the points of a row are those of its facts."""
    if "redemptions" not in audit.manifest["tables"]:
        return "there is no table of them"
    rows = groupby(
        read_rows(audit.archive, "redemptions", _columns_of(audit, "redemptions")),
        lambda row: require_text(row, "subject"),
    )
    current = next(rows, None)
    without_rows, merged, count = list[str](), set[str](), 0
    for subject, facts in _account_facts(audit):
        merged.update(_merged_holders(facts))
        while current is not None and current[0].encode() < subject.encode():
            current = next(rows, None)
        is_shown = current is not None and current[0] == subject
        shown = (
            {(require_text(row, "account_id"), require_text(row, "redemption")): row for row in current[1]}
            if (is_shown and current is not None)
            else {}
        )
        if subject in audit.manifest["parked"] or is_merged(facts):
            continue
        stated = _stated_redemptions(facts)
        if not stated.keys() <= shown.keys():
            without_rows.append(subject)
        for key, row in shown.items():
            count += 1
            _compare_redemption(row, stated.get(key, []))
    missing = [subject for subject in without_rows if subject not in merged]
    require(not missing, f"there are redemptions by {''.join(missing[:1]):.60}, and no row")
    return f"{count} rows have the points of their facts, and none is missing"


def _stated_redemptions(facts: list[BundleFact]) -> dict[tuple[str, str], list[Decimal]]:
    """Return the points of each redemption by account and id. A repeated report states nothing new."""
    reports = ReportedChanges()
    stated: dict[tuple[str, str], list[Decimal]] = {}
    for fact in facts:
        if fact.kind == "Redeemed" and not reports.is_repeated(fact):
            key = _account_of(fact.body), str(fact.body.get("redemption"))
            stated.setdefault(key, []).append(_read_amount(fact.body))
    return stated


def _compare_redemption(row: Row, stated: list[Decimal]) -> None:
    name = f"the redemption {require_text(row, 'redemption'):.60}"
    if row.get("points") is None:
        require(not stated, f"{name} has a fact, and its row has no points")
        return
    points = read_points(row.get("points"), name)
    require(points in stated or points == sum_exactly(*stated), f"{name} has other points than its facts")


def _first_without_line(facts: list[BundleFact], unmatched: dict[tuple[str, str, str], list[BundleFact]]) -> str | None:
    """Return the kind of the first fact that moves points and has no line. None if all have. A repeated report needs no
    line.
    """
    reports = ReportedChanges()
    for fact in facts:
        is_repeated = reports.is_repeated(fact)
        candidates = unmatched[(_account_of(fact.body), fact.occurred_at, fact.kind)]
        if fact.kind in MOVES and not is_repeated and any(fact is candidate for candidate in candidates):
            return fact.kind
    return None


class BundleFactReader:
    """The facts about accounts, one holder at a time. Holders are requested in ascending order."""

    def __init__(self, audit: BundleAudit) -> None:
        self._facts = _account_facts(audit)
        self._current_holder = next(self._facts, None)
        self._requested = ""
        self._with_moves: set[str] = set()  # holders with facts that move points, who were not requested
        self._merged: set[str] = set()  # holders whose lines may be among another holder's

    def of(self, subject: str) -> list[BundleFact]:
        while self._current_holder is not None and self._current_holder[0].encode() < subject.encode():
            self._read_next()
        self._requested = subject
        return (
            self._current_holder[1] if self._current_holder is not None and self._current_holder[0] == subject else []
        )

    def holders_without_lines(self) -> list[str]:
        """Read to the end. Return the holders with facts that move points who were never requested."""
        while self._current_holder is not None:
            self._read_next()
        return sorted(self._with_moves - self._merged)

    def _read_next(self) -> None:
        assert self._current_holder is not None
        subject, facts = self._current_holder
        self._merged |= _merged_holders(facts)
        if subject != self._requested and any(fact.kind in MOVES for fact in facts):
            self._with_moves.add(subject)
        self._current_holder = next(self._facts, None)


def _merged_holders(facts: list[BundleFact]) -> set[str]:
    """Return the holders that merges among the facts name."""
    merges = (fact.body for fact in facts if "Merge" in fact.kind)
    return {str(body.get(name)) for body in merges for name in ("holder", "survivor", "victim")}


def is_merged(facts: list[BundleFact]) -> bool:
    return any("Merge" in fact.kind or "merged" in fact.kind for fact in facts)


def _account_facts(audit: BundleAudit) -> Iterator[tuple[str, list[BundleFact]]]:
    """Yield the facts about accounts, one holder at a time."""
    rows = read_rows(audit.archive, "facts", _columns_of(audit, "facts"))
    of_accounts = (row for row in rows if row.get("subject_kind") == "account")
    for subject, group in groupby(of_accounts, lambda row: require_text(row, "subject")):
        facts: list[BundleFact] = []
        for row in group:
            require(len(facts) < FACTS_PER_SUBJECT_MAX, f"too many facts about {subject:.60}")
            body = read_object(_decode_tag_part(require_text(row, "body").removeprefix("\\x")), "a fact")
            name = f"{require_text(row, 'tag').removeprefix(chr(92) + 'x')}.{require_text(row, 'ordinal'):0>2}"
            facts.append(BundleFact(name, require_text(row, "kind"), require_text(row, "occurred_at"), body))
        yield subject, facts


def compare_lots(account_id: str, account: AccountSums, lots: dict[str, Row], facts: list[BundleFact]) -> None:
    """Compare lots with the postings that name them, and granted lots with the facts that grant them."""
    where = f"account {account_id:.80}"
    require(lots.keys() == account.flows.keys(), f"{where}: its lots are not the lots of its postings")
    facts_by_name = {fact.name: fact for fact in facts}
    moved = any(fact.kind == "ExpiryMoved" for fact in facts)
    for name, lot in lots.items():
        lot_name = f"the lot {name:.60} of {where}"
        flow = account.flows[name]
        # The purpose of a debt that a lot paid is known to the rules only, and so is the rest of a reversed adjustment.
        if "debt" not in flow and lot.get("origin") != "adjustment":
            _compare_flow(lot_name, lot, flow)
        parts = name.split(".")  # event tag, ordinal, number of the lot, and for an asserted lot the reason
        require(len(parts) in (3, 4), f"the name of {lot_name} is malformed")
        fact = facts_by_name.get(f"{parts[0]}.{parts[1]}")
        require(fact is not None, f"{lot_name} has no fact")
        assert fact is not None
        require((lot.get("asserted") == "t") == (len(parts) == 4), f"{lot_name} has the wrong value of asserted")
        require(lot.get("earned_at") == fact.occurred_at, f"{lot_name} was earned at another time")
        grants = fact.body.get("grants", [])
        if fact.kind in ("Issued", "PromisedConverted") and len(parts) == 3:
            number = int(parts[2]) if parts[2].isdecimal() else -1
            require(isinstance(grants, list) and 0 <= number < len(grants), f"{lot_name} was not granted")
            _compare_grant(lot_name, lot, grants[number], moved=moved)
            if fact.kind == "Issued":
                require(lot.get("bill") == fact.body.get("bill"), f"{lot_name} is of another bill")


def _compare_flow(lot_name: str, lot: Row, flow: dict[str, Decimal]) -> None:
    """Compare the columns of a lot with the sums of its postings by class."""
    for column, classes in CLASSES_OF_USE.items():
        used = sum_exactly(*(flow.get(name, ZERO) for name in classes))
        require(read_points(lot.get(column), lot_name) == used, f"{lot_name}: {column} is not the sum of its postings")
    granted, redeemed = read_points(lot.get("points"), lot_name), read_points(lot.get("redeemed"), lot_name)
    received = sum_exactly(*(flow.get(name, ZERO).copy_negate() for name in SOURCE_CLASSES if flow.get(name, ZERO) < 0))
    spent = flow.get("redeemed", ZERO)
    if lot.get("origin") == "reversal":  # made of returned points; the redemption itself may be unknown
        require(
            add_exactly(granted, redeemed.copy_negate()) == add_exactly(received, spent.copy_negate()),
            f"{lot_name} has another size than its postings",
        )
    else:
        require(granted == received, f"{lot_name} has another size than its postings")
        require(redeemed == spent, f"{lot_name}: redeemed is not the sum of its postings")


def _compare_grant(lot_name: str, lot: Row, grant: Any, *, moved: bool) -> None:
    require(isinstance(grant, dict), f"{lot_name}: its fact cannot be read")
    require(
        read_points(grant.get("points"), lot_name) == read_points(lot.get("points"), lot_name),
        f"{lot_name} has other points than its grant",
    )
    require(lot.get("origin") == grant.get("origin", "regular"), f"{lot_name} is of another origin")
    require(lot.get("promotion") == grant.get("promotion"), f"{lot_name} is of another promotion")
    if lot.get("rule") is not None:
        require(grant.get("expires_on") is None or moved, f"{lot_name} has an expiry day of its own")
    elif not moved:
        require(lot.get("expires_on") == grant.get("expires_on"), f"{lot_name} lapses on another day")


def compare_claims(account_id: str, row: Row, account: AccountSums, facts: list[BundleFact]) -> None:
    """Compare an account's claims and its lifetime total with its lines and facts."""
    where = f"account {account_id:.80}"
    last_claim = account.claim or {}
    require(
        row.get("claimed") == last_claim.get("claimed"),
        f"{where}: the claim is not the one of its last line with a claim",
    )
    require(
        row.get("claimed_at") == last_claim.get("occurred_at"), f"{where}: the claim has another time than its line"
    )
    if not any(fact.kind.startswith("Adjustment") for fact in facts):  # an adopted claim leaves no drift
        drift = read_points(last_claim.get("drift", "0"), where)
        require(read_points(row.get("drift"), where) == drift, f"{where}: the drift is not the one of its last claim")
    if any(fact.kind == "IssueReversed" for fact in facts):  # the reversed part of the total depends on the rules
        return
    earned, opening, claimed = ZERO, None, None
    reports = ReportedChanges()
    for fact in facts:
        if reports.is_repeated(fact):
            continue
        if _account_of(fact.body) != account_id:
            continue
        for _, targets, points in _moves_of(fact) if fact.kind in EARNING else ():
            if targets == LOT_CLASSES:
                earned = add_exactly(earned, points)
        total = _claim_of(fact, "lifetime")
        if total is not None:
            claimed = read_points(total, where)
            opening = max(ZERO, add_exactly(claimed, earned.copy_negate())) if opening is None else opening
    stated = None if row.get("lifetime_claimed") is None else read_points(row["lifetime_claimed"], where)
    require(stated == claimed, f"{where}: the claimed total is not the one of its last claim")
    lifetime = add_exactly(earned, opening or ZERO)
    require(
        read_points(row.get("lifetime"), where) == lifetime,
        f"{where}: lifetime is not the sum of the points that its facts grant",
    )


EARNING = ("Issued", "PromisedConverted", "PromiseKept", "TransferReceived")


def _claim_of(fact: BundleFact, name: str) -> Any:
    claim = fact.body.get("claim")
    return claim.get(name) if isinstance(claim, dict) else None


def _account_of(body: dict[str, Any]) -> str:
    def quoted(name: str) -> str:
        return str(body.get(name, "points")).replace("%", "%25").replace(":", "%3A")

    return f"{body.get('holder')}:{quoted('programme')}:{quoted('unit')}"


def _compare_line(line: Row, facts_by_key: dict[tuple[str, str, str], list[BundleFact]]) -> int:
    """Find the fact of a line. Return 1, or 0 for a line that has no fact: a lapse or an opening."""
    kind, account_id = require_text(line, "kind"), require_text(line, "account_id")
    if kind in ("Lapsed", "Opening"):
        return 0
    candidates = facts_by_key.get((account_id, require_text(line, "occurred_at"), kind), [])
    postings = _read_postings(line)
    for index, fact in enumerate(candidates):
        claimed = _claim_of(fact, "available")
        fits = claimed == line.get("claimed") and all(
            _sum_moved(postings, source, targets) == points for source, targets, points in _moves_of(fact)
        )
        if fits:
            del candidates[index]
            return 1
    raise VerificationFailed(
        f"line {line.get('line')!s:.20} of {account_id:.80} has no fact with the same points and claim"
    )


def _compare_report(
    line: Row, facts: list[BundleFact], facts_by_key: dict[tuple[str, str, str], list[BundleFact]]
) -> None:
    """Check a line that reports a change again: it moves nothing, and another fact reports the same change."""
    where = f"line {line.get('line')!s:.20} of {require_text(line, 'account_id'):.80}"
    require(not _read_postings(line), f"{where} repeats a change that was counted before, and moves points")
    occurred_at, kind = require_text(line, "occurred_at"), require_text(line, "kind")
    for fact in facts:
        if (fact.occurred_at, fact.kind) != (occurred_at, kind):
            continue
        names = _changes_of(fact)
        if any(other is not fact and not names.isdisjoint(_changes_of(other)) for other in facts):
            unmatched = facts_by_key[(_account_of(fact.body), occurred_at, kind)]
            unmatched[:] = [candidate for candidate in unmatched if candidate is not fact]
            return
    raise VerificationFailed(f"{where} repeats a change that no other fact reports")


class ReportedChanges:
    """The changes that facts have reported. Versions of one event are one report.

    A fact repeats a change of another event in three cases:
    - the names are equal;
    - one of its weaker names is the other's name;
    - its name is one of the other's weaker names.
    """

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], str] = {}
        self._weaker: dict[tuple[str, str], str] = {}

    def is_repeated(self, fact: BundleFact) -> bool:
        """Return True if another event has reported the change of this fact. Otherwise store the change."""
        if "change" not in fact.body:
            return False
        listed = fact.body.get("also", [])
        name = (fact.kind, str(fact.body["change"]))
        weaker = [(fact.kind, str(weaker_name)) for weaker_name in listed] if isinstance(listed, list) else []
        event = fact.name[:16]  # the event key in the tag: the same for all versions of an event
        events = [self._events.get(weaker_name) for weaker_name in (name, *weaker)] + [self._weaker.get(name)]
        if any(weaker_name is not None and weaker_name != event for weaker_name in events):
            return True
        self._events.setdefault(name, event)
        for weaker_name in weaker:
            self._weaker.setdefault(weaker_name, event)
        return False


def _changes_of(fact: BundleFact) -> set[tuple[str, str]]:
    """Return the names of the change that a fact reports, each with a kind. Returns are named by their bill."""
    also = fact.body.get("also", [])
    names = [fact.body["change"], *(also if isinstance(also, list) else [])] if "change" in fact.body else []
    bills = [fact.body.get(name) for name in ("bill", "bill_number")] if fact.kind == "IssueReversed" else []
    return {(fact.kind, str(name)) for name in names} | {("bill", str(bill)) for bill in bills if bill is not None}


def _moves_of(fact: BundleFact) -> FactMoves:
    moves = MOVES.get(fact.kind)
    return moves(fact.body) if moves is not None else []


def _sum_moved(postings: list[StatementPosting], source: str | None, targets: tuple[str, ...]) -> Decimal:
    total = ZERO
    for posting in postings:
        if posting.target in targets and posting.source != posting.target and source in (None, posting.source):
            total = add_exactly(total, posting.points)
    return total


# --- the verdict ------------------------------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[BundleAudit], str]] = {
    "members": check_members,
    "checkpoint": check_checkpoint,
    "entries": check_entries,
    "older checkpoint": check_older,
    "facts": check_facts,
    "rows": check_rows,
    "balances": check_balances,
    "lines": check_lines,
    "redemptions": check_redemptions,
    "attestation": check_attestation,
}
NOT_CHECKED = (
    "that the facts are the meaning of the payloads: that needs the rules (`loyalty verify` derives them again)",
    "reversals, lapses, merges and asserted openings beyond the arithmetic of their postings",
    "that the vendors reported the truth, and reported everything",
)


class CheckResult(NamedTuple):
    check: str
    holds: bool
    detail: str


def verify(file: BinaryIO, older: bytes | None, keys: list[CheckpointKey]) -> list[CheckResult]:
    """Run all checks. Without keys, the key in the bundle is used."""
    return examine(file, older, keys)[0]


def examine(
    file: BinaryIO,
    older: bytes | None,
    keys: list[CheckpointKey],
    at: str | None = None,
    requested: tuple[str, ...] = (),
) -> tuple[list[CheckResult], BundleFigures | None]:
    """Run all checks, and stop at a failure on which the others depend. The figures are None if the balances were not
    verified or the bundle has none.
    """
    try:
        audit = BundleAudit(BundleArchive(file), keys, older, at, requested)
    except VerificationFailed as failure:
        return [CheckResult("archive", False, str(failure))], None
    results = [CheckResult("archive", True, f"{len(audit.archive.order)} plain files")]
    for name, check in CHECKS.items():
        try:
            results.append(CheckResult(name, True, check(audit)))
        except VerificationFailed as failure:
            results.append(CheckResult(name, False, str(failure)))
        except OSError:
            raise
        except Exception as error:
            results.append(CheckResult(name, False, f"a part of the bundle cannot be read ({type(error).__name__})"))
        if not results[-1].holds and name in ("members", "checkpoint", "entries"):
            break
    return results, audit.figures


# --- the command line -------------------------------------------------------------------------------------------------

NO_KEY = (
    "--key is needed: the log's public key, from a source that you trust and not from the bundle. Without it, the "
    "maker of the bundle could have signed it; --trust-bundle-key checks only that the bundle agrees with itself"
)
OTHER_PACKINGS = {b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd", b"BZh": "bzip2", b"PK\x03\x04": "zip"}


class NoVerdict(Exception):
    """A file cannot be read at all, so there is no verdict. The text names the file and the reason."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit."""
    parser = _parser()
    options = parser.parse_args(arguments)  # exits with 2 if the arguments are not understood
    try:
        keys = [read_key(text) for text in options.key]
        at = None if options.at is None else read_time(options.at)
    except VerificationFailed as failure:
        parser.error(f"--key: {failure}")
    except ValueError as error:
        parser.error(f"--at: {error}")
    if not options.trust_bundle_key and not any(key.algorithm == ED25519 for key in keys):
        parser.error(NO_KEY)
    requested = (*options.account, *options.customer)
    try:
        older = None if options.older is None else _read_older_file(options.older)
        with _open_bundle(options.bundle) as file:
            results, figures = examine(file, older, keys, at, requested)
        verified = all(result.holds for result in results)
        ids = [] if figures is None else _ids_not_found(figures)
        if options.json:
            _print_json(results, figures if verified else None, keys, verified=verified)
        else:
            _print_report(results, figures if verified else None, keys, verified=verified)
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has gone
        sys.exit(UNREADABLE)
    except (NoVerdict, OSError, MemoryError) as error:
        reason = error if isinstance(error, NoVerdict) else f"it cannot be read: {_reason(error)}"
        sys.stderr.write(f"loyalty-verify: {_printable(str(reason))}\n")
        sys.exit(UNREADABLE)
    except KeyboardInterrupt:
        sys.exit(130)
    if verified and ids:
        parser.error(f"the bundle holds no account or customer {_printable(', '.join(ids))}")
    sys.exit(VERIFIED if verified else NOT_VERIFIED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loyalty-verify", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", metavar="BUNDLE", help="a file of `loyalty audit bundle`, optionally packed by gzip")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="VKEY",
        help="the public key of the log or of a witness; may be repeated",
    )
    parser.add_argument(
        "--older", metavar="KEPT", help="your earlier checkpoints: one, the e-mail with it, or an anchor's file of many"
    )
    parser.add_argument(
        "--at", metavar="TIME", help="the time of the figures, with its zone; default: the time of the bundle"
    )
    parser.add_argument(
        "--account", action="append", default=[], metavar="ID", help="show the figures of this account; may be repeated"
    )
    parser.add_argument(
        "--customer",
        action="append",
        default=[],
        metavar="ID",
        help="show the figures of this customer; may be repeated",
    )
    parser.add_argument(
        "--trust-bundle-key",
        action="store_true",
        help="verify without --key: checks only that the bundle agrees with itself",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--version", action="version", version=f"loyalty-verify {VERSION}, SHA-256 {_hash_of_this_file()}"
    )
    return parser


def _hash_of_this_file() -> str:
    try:
        with open(__file__, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return "unknown"


def _read_older_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(OLDER_BYTES_MAX + 1)
        find_notes(content)
    except (OSError, ValueError, VerificationFailed) as error:
        raise NoVerdict(f"{path}: {error if isinstance(error, VerificationFailed) else _reason(error)}") from None
    return content


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


@contextmanager
def _open_bundle(path: str) -> Iterator[BinaryIO]:
    """Open a bundle. One that is packed by gzip is unpacked into a temporary file."""
    try:
        file = open(path, "rb")  # noqa: SIM115 -- it is closed below
    except (OSError, ValueError) as error:
        raise NoVerdict(f"{path}: {_reason(error)}") from None
    with file, tempfile.TemporaryFile() as unpacked:
        first_bytes = file.read(6)
        for magic, name in OTHER_PACKINGS.items():
            if first_bytes.startswith(magic):
                raise NoVerdict(f"{path} is packed by {name}; unpack it first")
        if not first_bytes.startswith(b"\x1f\x8b"):
            yield file
            return
        unpacked_bytes_max = file.seek(0, 2) * UNPACKED_PER_PACKED_BYTE_MAX
        file.seek(0)
        try:
            with gzip.open(file) as packed:
                while chunk := packed.read(1 << 20):
                    unpacked.write(chunk)
                    if unpacked.tell() > unpacked_bytes_max:
                        raise NoVerdict(
                            f"{path} unpacks to more than {unpacked_bytes_max} bytes; unpack it first, if you trust it"
                        )
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise NoVerdict(f"{path}: the gzip data is damaged; ask for another copy") from None
        yield cast(BinaryIO, unpacked)


def _ids_not_found(figures: BundleFigures) -> list[str]:
    ids = {requested[name] for requested in figures.accounts for name in ("account", "customer")}
    return [requested_id for requested_id in figures.requested if requested_id not in ids]


def _print_json(
    results: list[CheckResult], figures: BundleFigures | None, keys: list[CheckpointKey], *, verified: bool
) -> None:
    document = {
        "verified": verified,
        "key": "given" if keys else "in the bundle",
        "checks": [result._asdict() for result in results],
        "figures": None if figures is None else figures.document(),
        "not_checked": NOT_CHECKED,
    }
    print(json.dumps(document, indent=2))


def _print_report(
    results: list[CheckResult], figures: BundleFigures | None, keys: list[CheckpointKey], *, verified: bool
) -> None:
    for result in results:
        print(f"{'ok  ' if result.holds else 'FAIL'}  {result.check}: {_printable(result.detail)}")
    caveat = "" if keys else ", by the key in the bundle alone, which the maker of the bundle could have chosen"
    print(f"verified{caveat}" if verified else "NOT VERIFIED")
    for sentence in NOT_CHECKED:
        print(f"      not checked: {sentence}")
    if figures is not None:
        _print_figures(figures.document())


def _print_figures(document: dict[str, Any]) -> None:
    print(f"points at {document['at']}")
    columns = ("programme", "unit", "accounts", "outstanding", "debt", "promised")
    rows = [columns, *(tuple(_printable(str(item[name])) for name in columns) for item in document["totals"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        print("     ", row[0].ljust(widths[0]), row[1].ljust(widths[1]), *cells, sep="  ")
    for item in document["accounts"]:
        print(_printable(f"account {item['account']}: outstanding {item['outstanding']}, promised {item['promised']}"))
        for lot in item["lots"] or ():
            print(
                _printable(f"      {lot['remaining']} of lot {lot['lot']}, lapses at {lot['lapses_at'] or 'no time'}")
            )


def _printable(text: str) -> str:
    """Replace characters that could control the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


if __name__ == "__main__":
    main()
