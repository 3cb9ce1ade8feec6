"""Audit bundle: one archive that an auditor takes away and verifies with independent tools.

It holds:
- the log in the layout of C2SP tlog-tiles, or for a part of it the entries with their proofs;
- the payloads whose hashes are in the entries;
- the facts and rows derived from them;
- the public keys.

All rows come from one database snapshot. The checkpoint is signed after the snapshot. So every fact belongs to an event
in the signed tree. The bundle holds no personal data: payloads contain markers in place of personal values, and facts
and rows never contain such values.

The bytes of a table's rows are the bytes of its digest (projections/engine/digest.py). So a bundle alone is enough to
check an attested digest. The verifier verify/loyalty_verify.py shares no code with this file.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import orjson

from ledger import clock
from ledger.database import Connection, connect
from ledger.errors import RequestInvalid
from ledger.merkle import TILE_WIDTH
from ledger.store.registry import Ledger
from ledger.transparency import tiles, tree_heads
from ledger.transparency.checkpoints import Checkpoint, ProofFile, write_hash
from ledger.transparency.kept_checkpoints import KeptCheckpoint, newest_checkpoint
from ledger.transparency.signed_notes import read_note
from ledger.transparency.signer import Signer
from ledger.transparency.tree_heads import SignedCheckpoint
from projections.engine import store
from projections.engine.digest import digested_tables
from projections.engine.worker import catch_up
from service.audit.archive import Archive, ChunkedMembers
from service.audit.bundle_part import BundlePart, find_customer_part
from service.queries.checkpoints import cosigned_note

FORMAT = "loyalty-audit-bundle/1"
EVENTS_PER_READ = 64
EVENTS_PER_PART_MAX = 100_000

EVENTS = """
    SELECT position, entry, payload FROM ledger.events
     WHERE ledger_id = $1 AND position > $2 AND position <= $3 ORDER BY position
"""
# In a part, each event carries its body. The body may be stored with an event outside the part.
EVENTS_WITH_BODIES = """
    SELECT e.position, e.entry,
           coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                 WHERE body.ledger_id = $1 AND body.position = e.delivery_position)) AS payload
      FROM ledger.events e WHERE e.ledger_id = $1 AND e.position = ANY ($2) ORDER BY e.position
"""

PARKED = """
    SELECT subject FROM subjects WHERE ledger_id = $1 AND subject_kind = 'account' AND parked IS NOT NULL
     ORDER BY subject COLLATE "C" LIMIT 1000
"""


class BundleFile(NamedTuple):
    """Content of a bundle: the number of events, the size of the tree, and the position of the rows."""

    events: int
    size: int
    rows_position: int


class BundleScope(NamedTuple):
    """Scope of a bundle: the whole ledger, one customer, or a range of positions with both ends included."""

    customer: str | None = None
    positions: tuple[int, int] | None = None

    def name(self) -> str:
        return "customer" if self.customer else "range" if self.positions else "ledger"


async def write_bundle(
    dsn: str,
    signer: Signer,
    ledger: Ledger,
    file: BinaryIO,
    scope: BundleScope,
    older: list[KeptCheckpoint] | None = None,
) -> BundleFile:
    """Write a bundle and sign a checkpoint for it. Memory use is a few megabytes for any size.

    `older` are checkpoints that the auditor kept. For a part, the newest of them adds a proof that the tree continues
    it.

    Raises SubjectUnknown; RequestInvalid if the range or the older checkpoint is beyond the ledger; NoteWrong if the
    checkpoint is of another log; Unsealable.
    """
    reader, writer = await connect(dsn), await connect(dsn)
    try:
        await catch_up(writer, ledger.ledger_id)
        async with reader.transaction(isolation="repeatable_read", readonly=True):
            reached = await store.read_checkpoint(reader, ledger.ledger_id)
            part = await _part(reader, ledger, scope, reached)
            signed = await tree_heads.sign_head(writer, signer, ledger)
            archive = Archive(file)
            held = (
                None if older is None else newest_checkpoint(older, read_note(signed.note).text.partition("\n")[0]).head
            )
            signed = signed._replace(note=await cosigned_note(writer, ledger, signed))
            parked = [row["subject"] for row in await reader.fetch(PARKED, ledger.ledger_id)]
            _begin(archive, ledger, signed, scope, reached, parked)
            archive.add("keys", await _keys(writer, ledger, signed))
            if part is None:
                await _write_log(writer, archive, ledger, signed)
            else:
                await _write_part(writer, archive, ledger, signed, part.positions, held)
            await _write_rows(reader, archive, ledger, part)
            archive.finish()
            return BundleFile(signed.size if part is None else len(part.positions), signed.size, reached)
    finally:
        await reader.close()
        await writer.close()


async def _part(reader: Connection, ledger: Ledger, scope: BundleScope, reached: int) -> BundlePart | None:
    """Find the events and rows of a part. None for the whole ledger."""
    if scope.positions is not None:
        first, last = scope.positions
        if not 1 <= first <= last <= reached:
            raise RequestInvalid(f"the range of positions must be within 1 to {reached}")
        part = BundlePart(range(first, last + 1), None)
    elif scope.customer is not None:
        part = await find_customer_part(reader, ledger, scope.customer)
    else:
        return None
    if len(part.positions) > EVENTS_PER_PART_MAX:
        raise RequestInvalid(f"the part has more than {EVENTS_PER_PART_MAX:,} events; bundle the whole ledger instead")
    return part


def _begin(
    archive: Archive, ledger: Ledger, signed: SignedCheckpoint, scope: BundleScope, reached: int, parked: Sequence[str]
) -> None:
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "ledger": ledger.name,
        "scope": scope.name(),
        "customer": scope.customer,
        "range": scope.positions,
        "size": signed.size,
        "rows_position": reached,
        "parked": parked,  # holders whose rows end before a fact that cannot be folded
        "made_at": clock.now().isoformat(),
        "tables": {table.name: table.columns for table in digested_tables() if _is_in(table.name, scope)},
        "subject_kinds": {table.name: table.subject_kind for table in digested_tables() if table.subject_kind},
    }
    archive.add("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    archive.add("checkpoint", signed.note)


def _is_in(table: str, scope: BundleScope) -> bool:
    """Return True if a bundle of this scope has rows of this table. A range has facts only, because other rows depend
    on all events of their subject.
    """
    return scope.positions is None or table == "facts"


async def _keys(connection: Connection, ledger: Ledger, signed: SignedCheckpoint) -> bytes:
    """Write the public keys of the log, one a line."""
    keys = [one.key.write() for one in await tree_heads.log_keys(connection, ledger.ledger_id) if one.log == signed.log]
    return "".join(f"{key}\n" for key in keys).encode()


async def _write_log(connection: Connection, archive: Archive, ledger: Ledger, signed: SignedCheckpoint) -> None:
    """Write all entries, payloads and tiles."""
    payloads = ChunkedMembers(archive, "payloads")
    bundled: list[bytes] = []
    number = 0
    async for position, entry, payload in _events(connection, ledger.ledger_id, signed.size):
        bundled.append(entry)
        if payload is not None:
            payloads.add(_record(position, payload))
        if len(bundled) == TILE_WIDTH or position == signed.size:
            archive.add(tiles.tile_path("entries", number, len(bundled)), tiles.entry_bundle(bundled))
            number += 1
            bundled.clear()
    payloads.finish()
    for name in tiles.tile_names(signed.size):
        path = tiles.tile_path(str(name.level), name.number, name.width)
        archive.add(path, await tiles.read_tile(connection, ledger.ledger_id, name))


async def _events(connection: Connection, ledger_id: int, size: int) -> AsyncIterator[tuple[int, bytes, bytes | None]]:
    for after in range(0, size, EVENTS_PER_READ):
        for row in await connection.fetch(EVENTS, ledger_id, after, min(after + EVENTS_PER_READ, size)):
            yield row["position"], row["entry"], row["payload"]


async def _write_part(
    connection: Connection,
    archive: Archive,
    ledger: Ledger,
    signed: SignedCheckpoint,
    positions: Sequence[int],
    older: Checkpoint | None,
) -> None:
    """Write the entries of a part, each with its proof and payload."""
    if older is not None:
        if older.size > signed.size:
            raise RequestInvalid(f"the older checkpoint is of {older.size} events, but the ledger has {signed.size}")
        proof = await tiles.prove_consistency(connection, ledger.ledger_id, older.size, signed.size)
        archive.add(f"consistency/{older.size}", "".join(f"{write_hash(one)}\n" for one in proof).encode())
    payloads = ChunkedMembers(archive, "payloads")
    for begin in range(0, len(positions), EVENTS_PER_READ):
        chosen = list(positions[begin : begin + EVENTS_PER_READ])
        for row in await connection.fetch(EVENTS_WITH_BODIES, ledger.ledger_id, chosen):
            position = row["position"]
            proof = await tiles.prove_inclusion(connection, ledger.ledger_id, position - 1, signed.size)
            archive.add(f"entries/{position}", row["entry"])
            archive.add(f"proofs/{position}.tlog-proof", ProofFile(position - 1, proof, signed.note).write())
            payloads.add(_record(position, row["payload"]))
    payloads.finish()


def _record(position: int, payload: bytes) -> bytes:
    return position.to_bytes(8, "big") + len(payload).to_bytes(4, "big") + payload


async def _write_rows(connection: Connection, archive: Archive, ledger: Ledger, part: BundlePart | None) -> None:
    """Write facts and rows in the text format of COPY."""
    for table in digested_tables():
        chunks = ChunkedMembers(archive, f"rows/{table.name}")
        if part is None:
            await connection.copy_from_query(table.query, ledger.ledger_id, output=_lines_into(chunks))
        elif part.subjects is None:
            if table.name == "facts":
                last = part.positions[-1]
                query = table.restricted("position BETWEEN $2 AND $3")
                await connection.copy_from_query(
                    query, ledger.ledger_id, part.positions[0], last, output=_lines_into(chunks)
                )
        else:
            for kind, subjects in part.subjects.items():
                if table.subject_kind in (None, kind):
                    only = "subject = ANY ($2)" + (" AND subject_kind = $3" if table.subject_kind is None else "")
                    more = (kind,) if table.subject_kind is None else ()
                    await connection.copy_from_query(
                        table.restricted(only), ledger.ledger_id, subjects, *more, output=_lines_into(chunks)
                    )
        chunks.finish()


def _lines_into(chunks: ChunkedMembers) -> Any:
    """Return a callback for COPY that adds whole lines to a member."""
    rest = b""

    async def take(data: bytes) -> None:
        nonlocal rest
        whole, newline, after = (rest + data).rpartition(b"\n")
        rest = after
        if newline:
            chunks.add(whole + newline)

    return take
