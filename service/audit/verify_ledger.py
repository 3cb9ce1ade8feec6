"""Verify a live ledger: all checks that a bundle allows, and those that need the database.

Theory of operation. All entries are hashed again in order, into a tree that grows beside the stored tree.
- A stored tile is compared when the new tile is full.
- A signed head is compared when the tree reaches its size. Heads come from the checkpoints, the signer's memory and a
  checkpoint that an auditor kept.

One pass over the events therefore checks all heads. It needs memory for one block and the right edge of the tree.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import EventsChanged
from ledger.merkle import HASH_BYTES, TILE_LEVELS, Frontier, Tile
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger
from ledger.store.row_macs import check_row_macs
from ledger.transparency import tiles
from ledger.transparency.signer import Signer
from service.audit import attestation
from service.audit.entries import EntryChecker
from service.audit.erasures import unreported_erasures
from service.audit.signatures import RequiredHead, SignatureChecker

PROBLEMS_NAMED_MAX = 3  # further problems of a check are only counted

POSITION_RANGE = "SELECT count(*), min(position), max(position) FROM ledger.events WHERE ledger_id = $1"
TILES = """
    SELECT level, number, hashes, root FROM ledger.tiles
     WHERE ledger_id = $1 AND (level, number) IN (SELECT * FROM unnest($2::smallint[], $3::bigint[]))
"""
TILE_COUNTS = "SELECT level, count(*) FROM ledger.tiles WHERE ledger_id = $1 GROUP BY level"
# Lists with their own numbering. A gap is a deleted row.
NUMBERING_GAPS = """
    SELECT 'erasures' AS listed FROM ledger.erasures WHERE ledger_id = $1 HAVING count(*) <> coalesce(max(erasure), 0)
    UNION ALL
    SELECT 'looks' FROM ledger.access WHERE ledger_id = $1 HAVING count(*) <> coalesce(max(access), 0)
    UNION ALL
    SELECT 'checkpoints' FROM ledger.checkpoints WHERE ledger_id = $1
    HAVING count(*) <> coalesce(max(checkpoint), 0)
    UNION ALL
    SELECT 'sealed parts of no delivery'
     WHERE EXISTS (SELECT FROM ledger.personal p LEFT JOIN ledger.events e
                       ON e.ledger_id = $1 AND e.position = p.position AND e.payload IS NOT NULL
                    WHERE p.ledger_id = $1 AND e.position IS NULL)
"""


class Finding(NamedTuple):
    """Result of one check. `detail` describes the checked values, or the problems."""

    check: str
    holds: bool
    detail: str


class LedgerVerifier:
    """Verifies one ledger, once."""

    def __init__(self, connection: Connection, dsn: str, ledger: Ledger) -> None:
        self._connection = connection
        self._dsn = dsn
        self._ledger = ledger
        self.findings: list[Finding] = []
        self._wrong_heads: list[str] = []
        self._wrong_tiles: list[str] = []

    async def run(
        self, signer: Signer, master_key: MasterKey | None, older: bytes | None, *, replay: bool
    ) -> list[Finding]:
        """Run every check. With `replay`, the tables of the last attestation are derived again from the events."""
        signatures = SignatureChecker(self._connection, self._ledger)
        await signatures.check(signer, older)  # first, so that each head is of events counted below
        last = await self._check_positions()
        for check, wrong in signatures.wrong.items():
            self._found(check, wrong, signatures.details.get(check, ""))
        await self._check_entries(master_key, last, signatures.wanted)
        gaps = [row["listed"] for row in await self._connection.fetch(NUMBERING_GAPS, self._ledger.ledger_id)]
        self._found("lists", gaps, "erasures, looks and checkpoints are numbered without a gap")
        untold = await unreported_erasures(self._connection, self._ledger.ledger_id)
        self._found("erasures", untold, "each erasure has an event at its time")
        if master_key is not None:
            bindings = await check_row_macs(self._connection, master_key, self._ledger.ledger_id)
            self._found(
                "configuration", bindings.wrong, "keys, connections and published logs are as this service wrote them"
            )
        await self._check_attestation(last, replay=replay)
        return self.findings

    def _found(self, check: str, wrong: Sequence[str], right: str) -> None:
        more = f", and {len(wrong) - PROBLEMS_NAMED_MAX} more" if len(wrong) > PROBLEMS_NAMED_MAX else ""
        self.findings.append(
            Finding(check, not wrong, "; ".join(wrong[:PROBLEMS_NAMED_MAX]) + more if wrong else right)
        )

    async def _check_positions(self) -> int:
        """Check that positions are 1, 2, 3 … without gaps. Return the last."""
        row = await self._connection.fetchrow(POSITION_RANGE, self._ledger.ledger_id)
        assert row is not None
        count, first, last = row[0], row[1] or 1, row[2] or 0
        wrong = [] if (first, last) == (1, count) else [f"{count} events at positions {first} to {last}"]
        self._found("positions", wrong, f"{count:,} events, positions without a gap")
        return int(last)

    async def _check_entries(self, master_key: MasterKey | None, last: int, wanted: Sequence[RequiredHead]) -> None:
        """Hash all entries into a tree, and compare tiles and heads with it."""
        entries = EntryChecker(self._connection, master_key, self._ledger)
        frontier = Frontier()
        due = sorted(wanted, key=lambda head: head.size, reverse=True)
        grown = 0
        try:
            self._compare_heads(due, frontier, 0)
            async for leaves in entries.leaves(last):
                done = 0
                while done < len(leaves):
                    upto = len(leaves)
                    if due and due[-1].size * HASH_BYTES < grown * HASH_BYTES + upto:
                        upto = (due[-1].size - grown) * HASH_BYTES
                    await self._compare_tiles(list(frontier.extend(leaves[done:upto])))
                    self._compare_heads(due, frontier, grown + upto // HASH_BYTES)
                    done = upto
                grown += len(leaves) // HASH_BYTES
        except EventsChanged as error:
            entries.wrong.append(str(error))
        self._wrong_heads += [f"{head.source} is of {head.size} events, but there are {grown}" for head in due]
        await self._count_tiles(grown)
        parts = entries.parts
        more = (
            f"; the variants of {entries.variants_not_derived:,} cannot be derived"
            if entries.variants_not_derived
            else ""
        )
        self._found("entries", entries.wrong, f"{entries.events:,} events agree with their entries{more}")
        self._found("sealed parts", parts.wrong, parts.describe())
        if master_key is not None and grown == last:
            self._found("look-ups", await parts.check_lookups(), "look-ups of persons agree with their encrypted parts")
        self._found("tiles", self._wrong_tiles, "every stored tile follows from the entries")
        self._found("heads", self._wrong_heads, f"{len(wanted):,} signed heads belong to this history")

    def _compare_heads(self, due: list[RequiredHead], frontier: Frontier, size: int) -> None:
        while due and due[-1].size <= size:
            head = due.pop()
            if head.size == size and frontier.root() != head.root:
                self._wrong_heads.append(f"{head.source}, of {head.size} events, belongs to another history")

    async def _compare_tiles(self, made: Sequence[Tile]) -> None:
        if not made:
            return
        columns = [tile.level for tile in made], [tile.number for tile in made]
        rows = await self._connection.fetch(TILES, self._ledger.ledger_id, *columns)
        stored = {(row["level"], row["number"]): (row["hashes"], row["root"]) for row in rows}
        for tile in made:
            found = stored.get((tile.level, tile.number))
            if found is not None and found != (tile.hashes, tile.root):
                self._wrong_tiles.append(f"tile {tile.number} of level {tile.level} does not follow from the entries")

    async def _count_tiles(self, size: int) -> None:
        """Check that no tile is beyond the tree and none is missing before the last. The sealer stores them in
        order."""
        for row in await self._connection.fetch(TILE_COUNTS, self._ledger.ledger_id):
            kept = await tiles.count_full_tiles(self._connection, self._ledger.ledger_id, row["level"])
            if row["count"] != kept or kept > size >> TILE_LEVELS * (row["level"] + 1):
                self._wrong_tiles.append(f"level {row['level']} has {row['count']} tiles up to number {kept - 1}")

    async def _check_attestation(self, last: int, *, replay: bool) -> None:
        found = await attestation.latest_attestation(self._connection, self._ledger.ledger_id, last)
        if found is None:
            self.findings.append(Finding("attestation", True, "there is no attestation yet"))
            return
        compared = await attestation.compare_attestation(
            self._connection, self._dsn, self._ledger, found, replay=replay
        )
        where = f"the tables at position {found.position}"
        if compared.differing is None:
            self.findings.append(Finding("attestation", True, f"{where} were not compared: {compared.why_not}"))
        else:
            self._found(
                "attestation", compared.differing, f"{where} agree with the attestation, {len(found.digests)} tables"
            )


async def verify_ledger(
    connection: Connection,
    dsn: str,
    ledger: Ledger,
    signer: Signer,
    *,
    master_key: MasterKey | None = None,
    older: bytes | None = None,
    replay: bool = False,
) -> list[Finding]:
    """Verify a ledger and return the result of each check. With the master key, personal parts are decrypted too."""
    return await LedgerVerifier(connection, dsn, ledger).run(signer, master_key, older, replay=replay)
