"""The Merkle tree of RFC 6962 §2.1 over the entries of a ledger, and its proofs: pure, on 32-byte SHA-256 hashes.

Theory of operation. A leaf is SHA-256(0x00 || entry), a node SHA-256(0x01 || left || right), and the root over no
leaves is SHA-256 of nothing. A perfect subtree of 2^level leaves that begins at number * 2^level is the node
(level, number); it never changes once its leaves are there. Every root and every element of a proof is the hash of a
range of leaves, and a range falls apart into perfect subtrees in one way only: so all of them are folded from nodes,
from the right.

Nodes are kept in tiles (C2SP tlog-tiles): a tile of level L holds up to 256 consecutive nodes of the tree's level
8 * L; the seven levels between are hashed from it when they are asked for. A tile is full or, at the right edge,
partial. Leaves count from 0 here, positions of the ledger from 1: leaf i is position i + 1.

Invariant: what is derived for a tree of some size reads no hash beyond that size, so a proof for an old size is the
same whenever it is made. Verification takes every hash from outside as a stranger's and answers False, never raises.
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
    """A perfect subtree: the leaves from number * 2^level to, exclusively, (number + 1) * 2^level."""

    level: int
    number: int


class TileName(NamedTuple):
    """Which tile, and how many hashes of it: 256 when it is full."""

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
    """Hash one entry."""
    return sha256(LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into the one that holds both."""
    return sha256(NODE + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Give the root over leaf hashes."""
    frontier = Frontier()
    for _ in frontier.extend(b"".join(leaves)):
        pass
    return frontier.root()


class Frontier:
    """The right edge of a growing tree: at each level of tiles, the hashes that fill none yet. O(log n) of memory."""

    def __init__(self, rows: Iterable[bytes] = ()) -> None:
        """Go on from the partial tiles of each level, level 0 first; each of at most 255 hashes, and may be empty."""
        self._rows = [bytearray(row) for row in rows]
        assert all(len(row) < TILE_BYTES and not len(row) % HASH_BYTES for row in self._rows)

    @property
    def size(self) -> int:
        """Give how many leaves the tree has."""
        return sum(len(row) // HASH_BYTES << TILE_LEVELS * level for level, row in enumerate(self._rows))

    def extend(self, leaves: bytes) -> Iterator[Tile]:
        """Take in leaf hashes, one after another in one string, and give each tile that they fill, a lower before the
        higher that its root goes into. To take in all, ask until the end."""
        assert not len(leaves) % HASH_BYTES
        number = self.size >> TILE_LEVELS
        done = 0
        while done < len(leaves):
            row = self._row(0)
            taken = min(TILE_BYTES - len(row), len(leaves) - done)
            row += leaves[done : done + taken]
            done += taken
            if len(row) == TILE_BYTES:
                yield from self._filled(0, number)
                number += 1

    def root(self) -> bytes:
        """Give the root of the tree as it is now."""
        return fold_roots([peak for row in reversed(self._rows) for peak in _peaks(bytes(row))])

    def rows(self) -> list[bytes]:
        """Give the partial tiles, level 0 first, as `Frontier` takes them."""
        return [bytes(row) for row in self._rows]

    def _row(self, level: int) -> bytearray:
        while len(self._rows) <= level:
            self._rows.append(bytearray())
        return self._rows[level]

    def _filled(self, level: int, number: int) -> Iterator[Tile]:
        """Hand out a tile that has become full, and those above it that became full by it."""
        hashes = bytes(self._rows[level])
        root = subtree_root(hashes)
        self._rows[level].clear()
        above = self._row(level + 1)
        above += root
        yield Tile(level, number, hashes, root)
        if len(above) == TILE_BYTES:
            yield from self._filled(level + 1, number >> TILE_LEVELS)


def subtree_root(row: bytes) -> bytes:
    """Hash a row of 2^n hashes, one after another in one string, up to the one at their top."""
    while len(row) > HASH_BYTES:
        row = b"".join([sha256(NODE + row[at : at + 64]).digest() for at in range(0, len(row), 64)])
    return row


def fold_roots(subtrees: Sequence[bytes]) -> bytes:
    """Give the root over perfect subtrees that stand beside each other, each smaller than the one to its left."""
    if not subtrees:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(subtrees))


def _peaks(row: bytes) -> list[bytes]:
    """Give the tops of the perfect subtrees in a partial tile, from left to right."""
    return [
        subtree_root(row[begin * HASH_BYTES : end * HASH_BYTES])
        for begin, end in _perfect_ranges(0, len(row) // HASH_BYTES)
    ]


def _perfect_ranges(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range into perfect subtrees, the largest possible, from left to right."""
    while begin < end:
        aligned = begin & -begin or 1 << (end - begin).bit_length()
        width = min(aligned, 1 << (end - begin).bit_length() - 1)
        yield begin, begin + width
        begin += width


# What a proof is made of: for each of its hashes the perfect subtrees to fold, from left to right.
Plan = list[list[Node]]


def nodes_of(begin: int, end: int) -> list[Node]:
    """Name the perfect subtrees over a range of leaves, which must be one that occurs in a tree."""
    return [Node((upto - at).bit_length() - 1, at // (upto - at)) for at, upto in _perfect_ranges(begin, end)]


def inclusion_plan(index: int, size: int) -> Plan:
    """Say what proves that leaf `index` is in the tree of `size` leaves: from its sibling up (RFC 6962 §2.1.1).

    Needs 0 <= index < size.
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
    """Say what proves that the tree of `old` leaves is the beginning of that of `size` (RFC 6962 §2.1.2).

    Needs 0 <= old <= size. Nothing needs to be proven, and the plan is empty, where old is 0 or size.
    """
    assert 0 <= old <= size
    if old in (0, size):
        return []
    plan: Plan = []
    begin, end = 0, size
    whole = True  # the old tree is all that was passed so far, so its root is known to who verifies
    while end != old:
        middle = begin + _largest_power_below(end - begin)
        if old <= middle:
            plan.append(nodes_of(middle, end))
            end = middle
        else:
            plan.append(nodes_of(begin, middle))
            begin = middle
            whole = False
    if not whole:
        plan.append(nodes_of(begin, end))
    return plan[::-1]


def _largest_power_below(size: int) -> int:
    """Give the largest power of two smaller than `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def root_plan(size: int) -> Plan:
    """Say what the root of the tree of `size` leaves is folded from; of no leaves, one hash from nothing."""
    return [nodes_of(0, size)]


def tile_of(node: Node, size: int) -> TileName:
    """Name the tile that a node is in or hashed from, as wide as it is in the tree of `size` leaves."""
    level, height = divmod(node.level, TILE_LEVELS)
    number = node.number >> TILE_LEVELS - height
    hashes = (size >> TILE_LEVELS * level) - number * TILE_WIDTH
    return TileName(level, number, min(hashes, TILE_WIDTH))


def tiles_of(plan: Plan, size: int) -> set[TileName]:
    """Name all tiles that a plan for the tree of `size` leaves needs."""
    return {tile_of(node, size) for nodes in plan for node in nodes}


def compute_hashes(plan: Plan, tiles: Mapping[TileName, bytes], size: int) -> list[bytes]:
    """Give the hashes that a plan describes, from the tiles that `tiles_of` names."""
    return [fold_roots([_node_from_tile(tiles[tile_of(node, size)], node) for node in nodes]) for nodes in plan]


def _node_from_tile(hashes: bytes, node: Node) -> bytes:
    height = node.level % TILE_LEVELS
    width = HASH_BYTES << height
    begin = (node.number & (1 << TILE_LEVELS - height) - 1) * width
    assert begin + width <= len(hashes), "a tile is as wide as its name says"
    return subtree_root(hashes[begin : begin + width])


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether a proof shows that a leaf hash stands at `index` in the tree of `size` leaves with this root."""
    if not 0 <= index < size or not _are_hashes((leaf, root, *proof)):
        return False
    own, last, hashed = index, size - 1, leaf
    for sibling in proof:  # RFC 9162 §2.1.3.2
        if last == 0:
            return False
        if own & 1 or own == last:
            hashed = node_hash(sibling, hashed)
            while not own & 1 and own:
                own, last = own >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        own, last = own >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether a proof shows that the tree of `old` leaves with one root is the beginning of that of `size` with
    another. Every tree begins with the empty one."""
    if not 0 <= old <= size or not _are_hashes((old_root, root, *proof)):
        return False
    if old in (0, size):
        return not proof and old_root == (root if old else EMPTY_ROOT)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    own, last = old - 1, size - 1
    while own & 1:
        own, last = own >> 1, last >> 1
    was = now = path[0]
    for sibling in path[1:]:  # RFC 9162 §2.1.4.2
        if last == 0:
            return False
        if own & 1 or own == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while not own & 1 and own:
                own, last = own >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        own, last = own >> 1, last >> 1
    return last == 0 and was == old_root and now == root


def _are_hashes(given: Iterable[bytes]) -> bool:
    return all(len(one) == HASH_BYTES for one in given)
