"""Read tiles of a ledger's tree: full tiles as they are stored, partial tiles computed from the level below.

Level 0 holds leaves; those after the last full tile are hashed from the entries. A higher level holds the roots of the
tiles below. So a tree of any earlier size can always be read. Proofs can be made for it.
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
    """Read the first `name.width` hashes of a tile.

    Raises TreeChanged if hashes are missing, and EventsChanged if their events are missing or changed.
    """
    hashes: bytes | None = await connection.fetchval(FULL, ledger_id, name.level, name.number)
    if hashes is None:
        first = name.number * TILE_WIDTH
        if name.level == 0:
            hashes = await read.leaf_hashes(connection, ledger_id, first, first + name.width)
        else:
            hashes = await connection.fetchval(ROOTS, ledger_id, name.level - 1, first, first + name.width)
    assert hashes is not None
    if len(hashes) < name.width * HASH_BYTES:
        raise TreeChanged(f"tile {name.number} of level {name.level} has fewer than {name.width} hashes")
    return hashes[: name.width * HASH_BYTES]


async def count_full_tiles(connection: Connection, ledger_id: int, level: int) -> int:
    """Return the number of stored tiles of a level."""
    count: int = await connection.fetchval(FULL_TILES, ledger_id, level)
    return count


async def compute_root(connection: Connection, ledger_id: int, size: int) -> bytes:
    """Return the root of the tree over the first `size` events. Its full tiles must be stored."""
    [hashed] = await _compute_hashes(connection, ledger_id, merkle.root_plan(size), size)
    return hashed


async def prove_inclusion(connection: Connection, ledger_id: int, index: int, size: int) -> list[bytes]:
    """Return the proof that the entry `index`, from 0, is among the first `size` entries."""
    return await _compute_hashes(connection, ledger_id, merkle.inclusion_plan(index, size), size)


async def prove_consistency(connection: Connection, ledger_id: int, old: int, size: int) -> list[bytes]:
    """Return the proof that the tree of `old` entries is a prefix of the tree of `size` entries."""
    return await _compute_hashes(connection, ledger_id, merkle.consistency_plan(old, size), size)


async def _compute_hashes(connection: Connection, ledger_id: int, plan: Plan, size: int) -> list[bytes]:
    names = merkle.tiles_of(plan, size)
    return merkle.compute_hashes(plan, {name: await read_tile(connection, ledger_id, name) for name in names}, size)


def tile_path(level: str, number: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile in tlog-tiles; `level` is a number or "entries"."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    return f"tile/{level}/{'/'.join(reversed(groups))}{'' if width == TILE_WIDTH else f'.p/{width}'}"


def tile_names(size: int) -> Iterable[TileName]:
    """Yield the names of all tiles of the tree over `size` entries, level 0 first. The last of each level may be
    partial.
    """
    level = 0
    while hashes := size >> TILE_LEVELS * level:
        for number in range(-(-hashes // TILE_WIDTH)):
            yield TileName(level, number, min(TILE_WIDTH, hashes - number * TILE_WIDTH))
        level += 1


def entry_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries as an entry bundle of tlog-tiles: each after its length in two bytes, big-endian."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
