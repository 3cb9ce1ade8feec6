"""The Merkle tree of RFC 6962 §2.1 over the entries of a ledger, and its proofs. Pure; hashes are 32 bytes of SHA-256.

Theory of operation. The hashes are:

- a leaf: SHA-256(0x00 || entry);
- a node: SHA-256(0x01 || left || right);
- the root over no leaves: SHA-256 of nothing.

The node (level, number) is the perfect subtree of 2^level leaves from leaf number * 2^level. It never changes once its
leaves exist. Every root, and every hash of a proof, covers a range of leaves. A range has exactly one division into
perfect subtrees. So each of them is folded from nodes, from right to left.

Nodes are stored in tiles (C2SP tlog-tiles). A tile of level L holds up to 256 consecutive nodes of the tree's level 8 *
L. The seven levels between are hashed from the tile on demand. A tile is full or, at the right edge, partial. Leaves
count from 0, positions of the ledger from 1: leaf i is position i + 1.

Invariant: a result for a tree of some size reads no hash beyond that size. So a proof for an old size is always the
same. Verification trusts no hash from outside; it returns False and never raises.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
TILE_LEVELS = 8
TILE_WIDTH = 1 << TILE_LEVELS
TILE_BYTES = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT = sha256(b"").digest()

LEAF = b"\x00"
NODE = b"\x01"


class Node(NamedTuple):
    """A perfect subtree: the leaves from number * 2^level to (number + 1) * 2^level, exclusive."""

    level: int
    number: int


class TileName(NamedTuple):
    """The place of a tile, and the number of its hashes: 256 if it is full."""

    level: int
    number: int
    width: int


class Tile(NamedTuple):
    """A full tile: 256 hashes, 8,192 bytes, and the root over them, which is one hash of the tile above."""

    level: int
    number: int
    hashes: bytes
    root: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of one entry."""
    return sha256(LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the subtree that joins two subtrees."""
    return sha256(NODE + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    frontier = Frontier()
    for _ in frontier.extend(b"".join(leaves)):
        pass
    return frontier.root()


class Frontier:
    """The right edge of a growing tree: for each level of tiles, the hashes after its last full tile. O(log n) of
    memory.
    """

    def __init__(self, rows: Iterable[bytes] = ()) -> None:
        """Start from the partial tiles of each level, level 0 first. Each has 0 to 255 hashes."""
        self._rows = [bytearray(row) for row in rows]
        assert all(len(row) < TILE_BYTES and not len(row) % HASH_BYTES for row in self._rows)

    @property
    def size(self) -> int:
        """The number of leaves of the tree."""
        return sum(len(row) // HASH_BYTES << TILE_LEVELS * level for level, row in enumerate(self._rows))

    def extend(self, leaves: bytes) -> Iterator[Tile]:
        """Append leaf hashes, joined into one string, and yield each tile that becomes full, the lower before the
        higher.

        Leaves are appended lazily: consume the iterator to the end.
        """
        assert not len(leaves) % HASH_BYTES
        number = self.size >> TILE_LEVELS
        done = 0
        while done < len(leaves):
            row = self._row(0)
            taken = min(TILE_BYTES - len(row), len(leaves) - done)
            row += leaves[done : done + taken]
            done += taken
            if len(row) == TILE_BYTES:
                yield from self._full_tiles(0, number)
                number += 1

    def root(self) -> bytes:
        """Return the root of the current tree."""
        return fold_roots([peak for row in reversed(self._rows) for peak in _peaks(bytes(row))])

    def rows(self) -> list[bytes]:
        """Return the partial tiles, level 0 first, as `Frontier` takes them."""
        return [bytes(row) for row in self._rows]

    def _row(self, level: int) -> bytearray:
        while len(self._rows) <= level:
            self._rows.append(bytearray())
        return self._rows[level]

    def _full_tiles(self, level: int, number: int) -> Iterator[Tile]:
        """Yield a tile that has become full, and the tiles above that it completes."""
        hashes = bytes(self._rows[level])
        root = subtree_root(hashes)
        self._rows[level].clear()
        above = self._row(level + 1)
        above += root
        yield Tile(level, number, hashes, root)
        if len(above) == TILE_BYTES:
            yield from self._full_tiles(level + 1, number >> TILE_LEVELS)


def subtree_root(row: bytes) -> bytes:
    """Return the root over 2^n hashes, joined into one string."""
    while len(row) > HASH_BYTES:
        row = b"".join([sha256(NODE + row[at : at + 64]).digest() for at in range(0, len(row), 64)])
    return row


def fold_roots(subtrees: Sequence[bytes]) -> bytes:
    """Return the root over adjacent perfect subtrees, each smaller than the one to its left."""
    if not subtrees:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(subtrees))


def _peaks(row: bytes) -> list[bytes]:
    """Return the roots of the perfect subtrees in a partial tile, from left to right."""
    return [
        subtree_root(row[begin * HASH_BYTES : end * HASH_BYTES])
        for begin, end in _perfect_ranges(0, len(row) // HASH_BYTES)
    ]


def _perfect_ranges(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide a range into perfect subtrees, the largest possible, from left to right."""
    while begin < end:
        aligned = begin & -begin or 1 << (end - begin).bit_length()
        width = min(aligned, 1 << (end - begin).bit_length() - 1)
        yield begin, begin + width
        begin += width


# A plan lists, for each hash of a proof, the perfect subtrees to fold, from left to right.
Plan = list[list[Node]]


def nodes_of(begin: int, end: int) -> list[Node]:
    """Return the perfect subtrees over a range of leaves. The range must be one that occurs in a tree."""
    return [Node((upto - at).bit_length() - 1, at // (upto - at)) for at, upto in _perfect_ranges(begin, end)]


def inclusion_plan(index: int, size: int) -> Plan:
    """Return the plan of an inclusion proof, from the leaf's sibling up (RFC 6962 §2.1.1).

    It proves that leaf `index` is in the tree of `size` leaves. Needs 0 <= index < size.
    """
    assert 0 <= index < size
    plan: Plan = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if index < middle:
            plan.append(nodes_of(middle, end))
            end = middle
        else:
            plan.append(nodes_of(begin, middle))
            begin = middle
    return plan[::-1]


def consistency_plan(old: int, size: int) -> Plan:
    """Return the plan of a consistency proof (RFC 6962 §2.1.2).

    It proves that the tree of `old` leaves is a prefix of the tree of `size` leaves. Needs 0 <= old <= size. The plan
    is empty if old is 0 or size, because nothing needs a proof.
    """
    assert 0 <= old <= size
    if old in (0, size):
        return []
    plan: Plan = []
    begin, end = 0, size
    is_whole_prefix = True  # the old tree is everything skipped so far, so the verifier knows its root
    while end != old:
        middle = begin + _largest_power_below(end - begin)
        if old <= middle:
            plan.append(nodes_of(middle, end))
            end = middle
        else:
            plan.append(nodes_of(begin, middle))
            begin = middle
            is_whole_prefix = False
    if not is_whole_prefix:
        plan.append(nodes_of(begin, end))
    return plan[::-1]


def _largest_power_below(size: int) -> int:
    """Return the largest power of two smaller than `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def root_plan(size: int) -> Plan:
    """Return the plan of the root of the tree of `size` leaves. Without leaves it has one hash, of no nodes."""
    return [nodes_of(0, size)]


def tile_of(node: Node, size: int) -> TileName:
    """Return the tile that contains a node, or the hashes below it. Its width is that in the tree of `size` leaves."""
    level, height = divmod(node.level, TILE_LEVELS)
    number = node.number >> TILE_LEVELS - height
    hashes = (size >> TILE_LEVELS * level) - number * TILE_WIDTH
    return TileName(level, number, min(hashes, TILE_WIDTH))


def tiles_of(plan: Plan, size: int) -> set[TileName]:
    """Return all tiles that a plan needs, for the tree of `size` leaves."""
    return {tile_of(node, size) for nodes in plan for node in nodes}


def compute_hashes(plan: Plan, tiles: Mapping[TileName, bytes], size: int) -> list[bytes]:
    """Compute the hashes of a plan from the tiles that `tiles_of` names."""
    return [fold_roots([_node_from_tile(tiles[tile_of(node, size)], node) for node in nodes]) for nodes in plan]


def _node_from_tile(hashes: bytes, node: Node) -> bytes:
    height = node.level % TILE_LEVELS
    width = HASH_BYTES << height
    begin = (node.number & (1 << TILE_LEVELS - height) - 1) * width
    assert begin + width <= len(hashes), "a tile is as wide as its name says"
    return subtree_root(hashes[begin : begin + width])


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return True if a proof shows that the tree of this size and root has the leaf hash at `index`."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    last, hashed = size - 1, leaf
    for sibling in proof:  # RFC 9162 §2.1.3.2
        if last == 0:
            return False
        if index & 1 or index == last:
            hashed = node_hash(sibling, hashed)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Return True if a proof shows that the tree (`old`, `old_root`) is a prefix of the tree (`size`, `root`).

    Every tree has the empty tree as a prefix.
    """
    if not 0 <= old <= size or not _are_hashes((old_root, root, *proof)):
        return False
    if old in (0, size):
        return not proof and old_root == (root if old else EMPTY_ROOT)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    index, last = old - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    old_hash = new_hash = path[0]
    for sibling in path[1:]:  # RFC 9162 §2.1.4.2
        if last == 0:
            return False
        if index & 1 or index == last:
            old_hash, new_hash = node_hash(sibling, old_hash), node_hash(sibling, new_hash)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new_hash = node_hash(new_hash, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and old_hash == old_root and new_hash == root


def _are_hashes(hashes: Iterable[bytes]) -> bool:
    return all(len(hashed) == HASH_BYTES for hashed in hashes)
