"""Sealing: grow the tree over a ledger's entries, by full tiles; tree_heads.py signs its heads.

Theory of operation. The tree grows behind the appends and never stands in their way: it only reads what is committed,
and positions have no gaps, so the next tile is always the next 256 positions. All that is kept are full tiles; the
frontier is read back from them (the roots behind the last full tile of each level), so there is no state that could
disagree with them.

Invariant: a tile is inserted once, with all that it fills above it, behind the tile before it. Its key is its place, so
whoever comes second inserts nothing, rolls back, and reads on from there. Any number of sealers may run, and be killed
at any time.
"""

import asyncio

from ledger.database import Connection
from ledger.errors import EventsChanged, TreeChanged
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier, Tile, subtree_root
from ledger.store import read
from ledger.transparency import tiles

TILES_PER_BLOCK_MAX = 64
MAX_LEVELS = 8  # of tiles: 2^64 events
LEAVES_PER_READ = 4 * TILE_WIDTH

INSERT_TILES = """
    INSERT INTO ledger.tiles (ledger_id, level, number, hashes, root)
    SELECT $1, * FROM unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::bytea[])
        ON CONFLICT DO NOTHING RETURNING number
"""
FULL_TILE = "SELECT hashes, root FROM ledger.tiles WHERE ledger_id = $1 AND level = $2 AND number = $3"


async def load_frontier(connection: Connection, ledger_id: int) -> Frontier:
    """Read the right edge of the kept tree; of level 0 it is empty, for leaves are kept as full tiles only.

    Raises TreeChanged if tiles are missing.
    """
    rows = [b""]
    below = await tiles.count_full_tiles(connection, ledger_id, 0)
    while below:
        level = len(rows)
        full = await tiles.count_full_tiles(connection, ledger_id, level)
        first = full * TILE_WIDTH
        row = await connection.fetchval(tiles.ROOTS, ledger_id, level - 1, first, below)
        if full != below // TILE_WIDTH or len(row) != (below - first) * HASH_BYTES:
            raise TreeChanged(f"level {level} has {full} tiles over {below}")
        rows.append(row)
        below = full
    return Frontier(rows)


async def seal_block(connection: Connection, ledger_id: int, frontier: Frontier) -> Frontier:
    """Hash and keep the next tiles of leaves, up to TILES_PER_BLOCK_MAX, and give the frontier behind them; the same
    one if there is no full tile to come. If another sealer was there first, its frontier is given.

    Raises EventsChanged if events are missing or changed.
    """
    tail = await read.tail(connection, ledger_id)
    if tail < frontier.size:
        raise EventsChanged(f"it has {tail} events, and {frontier.size} were sealed")
    due = min(tail // TILE_WIDTH - frontier.size // TILE_WIDTH, TILES_PER_BLOCK_MAX)
    if not due:
        return frontier
    after, last = frontier.size, frontier.size + due * TILE_WIDTH
    grown = Frontier(frontier.rows())
    made: list[Tile] = []
    while after < last:  # a little at a time: others have their turn after half a millisecond or so
        upto = min(after + LEAVES_PER_READ, last)
        leaves = await read.leaf_hashes(connection, ledger_id, after, upto)
        for tile in grown.extend(leaves):
            made.append(tile)
            await asyncio.sleep(0)
        after = upto
    columns = [list(column) for column in zip(*made, strict=True)]
    try:
        async with connection.transaction():
            inserted = await connection.fetch(INSERT_TILES, ledger_id, *columns)
            if len(inserted) < len(made):
                raise _TilesExist
    except _TilesExist:
        return await load_frontier(connection, ledger_id)
    return grown


class _TilesExist(Exception):
    """Rolls back what another sealer kept already."""


async def seal_all(connection: Connection, ledger_id: int, frontier: Frontier | None = None) -> Frontier:
    """Keep every full tile that there is; see `seal_block`."""
    frontier = frontier or await load_frontier(connection, ledger_id)
    while (grown := await seal_block(connection, ledger_id, frontier)) is not frontier:
        frontier = grown
    return frontier


async def recheck_tile(connection: Connection, ledger_id: int, number: int) -> None:
    """Hash a tile of leaves again from the entries, and see that it is what is kept; and those above it that it fills.

    Raises EventsChanged or TreeChanged if it is not.
    """
    first = number * TILE_WIDTH
    hashes = await read.leaf_hashes(connection, ledger_id, first, first + TILE_WIDTH)
    for level in range(MAX_LEVELS):
        kept = await connection.fetchrow(FULL_TILE, ledger_id, level, number)
        if kept is None or kept["hashes"] != hashes or kept["root"] != subtree_root(hashes):
            raise TreeChanged(f"tile {number} of level {level} is not what its events give")
        if (number + 1) % TILE_WIDTH:
            return
        number //= TILE_WIDTH
        below = number * TILE_WIDTH
        hashes = await connection.fetchval(tiles.ROOTS, ledger_id, level, below, below + TILE_WIDTH)
