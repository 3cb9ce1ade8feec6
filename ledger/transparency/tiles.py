"""Tiles of a ledger's tree, read: the full ones as they are kept, the partial ones made from what is below them.

A tile of level 0 is of leaves, and those behind the last full tile are hashed from the entries. A tile above is of the
roots of the tiles below. So a tree of any size that was sealed can be read at any time, and proofs made for it.
"""

from collections.abc import Iterable

from ledger import merkle
from ledger.database import Connection
from ledger.errors import TreeChanged
from ledger.merkle import HASH_BYTES, TILE_LEVELS, TILE_WIDTH, Plan, TileName
from ledger.store import read

FULL = "SELECT hashes FROM ledger.tiles WHERE ledger_id = $1 AND level = $2 AND number = $3"
ROOTS = """
    SELECT coalesce(string_agg(root, ''::bytea ORDER BY number), ''::bytea) FROM ledger.tiles
     WHERE ledger_id = $1 AND level = $2 AND number >= $3 AND number < $4
"""
FULL_TILES = "SELECT coalesce(max(number) + 1, 0) FROM ledger.tiles WHERE ledger_id = $1 AND level = $2"


async def read_tile(connection: Connection, ledger_id: int, name: TileName) -> bytes:
    """Read the first `name.width` hashes of a tile. Raises TreeChanged if they are not there, EventsChanged if events
    that it is made from are not."""
    hashes: bytes | None = await connection.fetchval(FULL, ledger_id, name.level, name.number)
    if hashes is None:
        first = name.number * TILE_WIDTH
        if name.level == 0:
            hashes = await read.leaf_hashes(connection, ledger_id, first, first + name.width)
        else:
            hashes = await connection.fetchval(ROOTS, ledger_id, name.level - 1, first, first + name.width)
    assert hashes is not None
    if len(hashes) < name.width * HASH_BYTES:
        raise TreeChanged(f"tile {name.number} of level {name.level} has not {name.width} hashes")
    return hashes[: name.width * HASH_BYTES]


async def count_full_tiles(connection: Connection, ledger_id: int, level: int) -> int:
    """Give how many tiles of a level are kept."""
    count: int = await connection.fetchval(FULL_TILES, ledger_id, level)
    return count


async def compute_root(connection: Connection, ledger_id: int, size: int) -> bytes:
    """Give the root of the tree over the first `size` events, whose full tiles must be kept."""
    [hashed] = await _compute_hashes(connection, ledger_id, merkle.root_plan(size), size)
    return hashed


async def prove_inclusion(connection: Connection, ledger_id: int, index: int, size: int) -> list[bytes]:
    """Prove that an entry, counted from 0, is among the first `size`."""
    return await _compute_hashes(connection, ledger_id, merkle.inclusion_plan(index, size), size)


async def prove_consistency(connection: Connection, ledger_id: int, old: int, size: int) -> list[bytes]:
    """Prove that the first `old` entries are the beginning of the first `size`."""
    return await _compute_hashes(connection, ledger_id, merkle.consistency_plan(old, size), size)


async def _compute_hashes(connection: Connection, ledger_id: int, plan: Plan, size: int) -> list[bytes]:
    names = merkle.tiles_of(plan, size)
    return merkle.compute_hashes(plan, {name: await read_tile(connection, ledger_id, name) for name in names}, size)


def tile_path(level: str, number: int, width: int = TILE_WIDTH) -> str:
    """Write the path of a tile as tlog-tiles has it; `level` is a number or "entries"."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    return f"tile/{level}/{'/'.join(reversed(groups))}{'' if width == TILE_WIDTH else f'.p/{width}'}"


def tile_names(size: int) -> Iterable[TileName]:
    """Name all tiles of the tree over `size` entries, level 0 first; the last of each level may be partial."""
    level = 0
    while hashes := size >> TILE_LEVELS * level:
        for number in range(-(-hashes // TILE_WIDTH)):
            yield TileName(level, number, min(TILE_WIDTH, hashes - number * TILE_WIDTH))
        level += 1


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Write entries as a bundle of tlog-tiles: each behind its length in two bytes, the larger first."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
