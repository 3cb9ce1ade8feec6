"""Grow the Merkle tree over a ledger's entries, by full tiles. tree_heads.py signs its heads.

Theory of operation. The tree grows behind the appends and never delays them. It reads only committed events. Positions
have no gaps, so the next tile always covers the next 256 positions. Only full tiles are stored. The frontier is
computed from them: the roots after the last full tile of each level. So no other state can contradict the tiles.

Invariant: a tile is inserted once, together with all tiles that it completes above it, after the tile before it. Its
primary key is its place. A second process inserts nothing, rolls back, and reads the frontier again. So any number of
processes may grow the tree, and may be killed at any time.
"""

import asyncio

from ledger.database import Connection
from ledger.errors import EventsChanged, TreeChanged
from ledger.merkle import HASH_BYTES, TILE_WIDTH, Frontier, Tile, subtree_root
from ledger.store import read
from ledger.transparency import tiles

TILES_PER_BLOCK_MAX = 64
MAX_LEVELS = 8  # of tiles, enough for 2^64 events
LEAVES_PER_READ = 4 * TILE_WIDTH

INSERT_TILES = """
    INSERT INTO ledger.tiles (ledger_id, level, number, hashes, root)
    SELECT $1::int, * FROM unnest($2::smallint[], $3::bigint[], $4::bytea[], $5::bytea[])
        ON CONFLICT DO NOTHING RETURNING number
"""
FULL_TILE = "SELECT hashes, root FROM ledger.tiles WHERE ledger_id = $1 AND level = $2 AND number = $3"


async def load_frontier(connection: Connection, ledger_id: int) -> Frontier:
    """Read the right edge of the stored tree. Level 0 is empty, because only full tiles of leaves are stored.

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
    """Hash and store the next full tiles of leaves, at most TILES_PER_BLOCK_MAX. Return the frontier after them.

    Returns the same object if no further tile is full. If another process stored the tiles first, the frontier after
    its tiles is returned. Raises EventsChanged if events are missing or changed.
    """
    tail = await read.tail(connection, ledger_id)
    if tail < frontier.size:
        raise EventsChanged(f"it has {tail} events, and {frontier.size} were sealed")
    due = min(tail // TILE_WIDTH - frontier.size // TILE_WIDTH, TILES_PER_BLOCK_MAX)
    if not due:
        return frontier
    after, last = frontier.size, frontier.size + due * TILE_WIDTH
    grown = Frontier(frontier.rows())
    new_tiles: list[Tile] = []
    while after < last:  # in small steps: other tasks run after about half a millisecond
        read_last = min(after + LEAVES_PER_READ, last)
        leaves = await read.leaf_hashes(connection, ledger_id, after, read_last)
        for tile in grown.extend(leaves):
            new_tiles.append(tile)
            await asyncio.sleep(0)
        after = read_last
    columns = [list(column) for column in zip(*new_tiles, strict=True)]
    try:
        async with connection.transaction():
            inserted = await connection.fetch(INSERT_TILES, ledger_id, *columns)
            if len(inserted) < len(new_tiles):
                raise _TilesExist
    except _TilesExist:
        return await load_frontier(connection, ledger_id)
    return grown


class _TilesExist(Exception):
    """Rolls back: another process stored these tiles first."""


async def seal_all(connection: Connection, ledger_id: int, frontier: Frontier | None = None) -> Frontier:
    """Store every full tile; see `seal_block`."""
    frontier = frontier or await load_frontier(connection, ledger_id)
    while (grown := await seal_block(connection, ledger_id, frontier)) is not frontier:
        frontier = grown
    return frontier


async def recheck_tile(connection: Connection, ledger_id: int, number: int) -> None:
    """Hash a tile of leaves from its entries, and compare it with the stored one. Then check the tiles that it
    completes.

    Raises EventsChanged or TreeChanged if they differ.
    """
    first = number * TILE_WIDTH
    hashes = await read.leaf_hashes(connection, ledger_id, first, first + TILE_WIDTH)
    for level in range(MAX_LEVELS):
        stored = await connection.fetchrow(FULL_TILE, ledger_id, level, number)
        if stored is None or stored["hashes"] != hashes or stored["root"] != subtree_root(hashes):
            raise TreeChanged(f"tile {number} of level {level} does not match its events")
        if (number + 1) % TILE_WIDTH:
            return
        number //= TILE_WIDTH
        below = number * TILE_WIDTH
        hashes = await connection.fetchval(tiles.ROOTS, ledger_id, level, below, below + TILE_WIDTH)
