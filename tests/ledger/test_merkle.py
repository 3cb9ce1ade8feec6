"""The tree and its proofs: the published vectors, every small proof and ways to spoil it, and others' code."""

from collections.abc import Iterator
from functools import cache

import pytest
from proofbundle import merkle as oracle
from pymerkle import InmemoryTree

from ledger.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_WIDTH,
    Frontier,
    Tile,
    TileName,
    compute_hashes,
    consistency_plan,
    inclusion_plan,
    leaf_hash,
    node_hash,
    root_of,
    root_plan,
    subtree_root,
    tiles_of,
    verify_consistency,
    verify_inclusion,
)

SIZES = 257

# The test vectors that came with RFC 6962 (certificate-transparency: merkle_tree_test).
ENTRIES = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS = {  # (leaf from 0, size): the proof
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCIES = {  # (old size, size): the proof
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@cache
def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(b"entry %d" % number) for number in range(size)]


@cache
def tile_row(level: int) -> bytes:
    """All hashes of a level of tiles over 70,000 leaves, made without the code that is tried."""
    if level == 0:
        return b"".join(leaves_of(70_000))
    below = tile_row(level - 1)
    whole = range(0, len(below) - TILE_WIDTH * HASH_BYTES + 1, TILE_WIDTH * HASH_BYTES)
    return b"".join(subtree_root(below[at : at + TILE_WIDTH * HASH_BYTES]) for at in whole)


def tiles_named(names: set[TileName]) -> dict[TileName, bytes]:
    width = TILE_WIDTH * HASH_BYTES
    return {
        name: tile_row(name.level)[name.number * width : name.number * width + name.width * HASH_BYTES]
        for name in names
    }


def inclusion(index: int, size: int) -> list[bytes]:
    plan = inclusion_plan(index, size)
    return compute_hashes(plan, tiles_named(tiles_of(plan, size)), size)


def consistency(old: int, size: int) -> list[bytes]:
    plan = consistency_plan(old, size)
    return compute_hashes(plan, tiles_named(tiles_of(plan, size)), size)


@cache
def root(size: int) -> bytes:
    """The root by the recursive definition of RFC 6962 §2.1, word for word."""
    return defined_root(0, size)


@cache
def defined_root(begin: int, end: int) -> bytes:
    if end == begin:
        return EMPTY_ROOT
    if end == begin + 1:
        return leaves_of(SIZES)[begin]
    half = 1
    while half * 2 < end - begin:
        half *= 2
    return node_hash(defined_root(begin, begin + half), defined_root(begin + half, end))


def spoiled(proof: list[bytes], turn: int) -> Iterator[list[bytes]]:
    """The proof with a bit of each element flipped (every bit of every place has its turn), each element cut,
    made longer or left out, another put at either end, and in the other order."""
    for place, element in enumerate(proof):
        bit = (turn * 31 + place * 7) % (8 * HASH_BYTES)
        flipped = bytearray(element)
        flipped[bit // 8] ^= 1 << bit % 8
        yield [*proof[:place], bytes(flipped), *proof[place + 1 :]]
        yield [*proof[:place], *proof[place + 1 :]]
        yield [*proof[:place], element[:-1], *proof[place + 1 :]]
        yield [*proof[:place], element + b"\x00", *proof[place + 1 :]]
    for more in (bytes(HASH_BYTES), *proof[:1], *proof[-1:]):
        yield [*proof, more]
        yield [more, *proof]
    if len(proof) > 1:
        yield proof[::-1]


def test_the_published_vectors_give_the_published_roots_and_proofs() -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    tiles = {TileName(0, 0, size): b"".join(leaves[:size]) for size in range(1, 9)}

    assert root_of([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [root_of(leaves[:size]).hex() for size in range(1, 9)] == ROOTS
    for (index, size), proof in INCLUSIONS.items():
        assert [one.hex() for one in compute_hashes(inclusion_plan(index, size), tiles, size)] == proof
        assert verify_inclusion(
            leaves[index], index, size, [bytes.fromhex(one) for one in proof], bytes.fromhex(ROOTS[size - 1])
        )
    for (old, size), proof in CONSISTENCIES.items():
        given = [bytes.fromhex(one) for one in proof]
        assert compute_hashes(consistency_plan(old, size), tiles, size) == given
        assert verify_consistency(old, size, bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[size - 1]), given)


def test_a_tree_grown_in_any_steps_has_the_defined_root() -> None:
    for size in range(SIZES + 1):
        assert root_of(leaves_of(SIZES)[:size]) == root(size)
    frontier = Frontier()
    for size, leaf in enumerate(leaves_of(SIZES), 1):
        for _ in frontier.extend(leaf):
            pass
        assert (frontier.size, frontier.root()) == (size, root(size))


def test_tiles_come_out_whole_however_the_leaves_come_in() -> None:
    row = tile_row(0)
    at_once = list(Frontier().extend(row))
    frontier, in_steps, done = Frontier(), list[Tile](), 0
    for step in (1, 254, 1, 2, 511, 40_000, 29_231):
        frontier = Frontier(frontier.rows())  # and stopped and started in between
        in_steps += frontier.extend(row[done : done + step * HASH_BYTES])
        done += step * HASH_BYTES

    assert in_steps == at_once
    assert [tile.number for tile in at_once if tile.level == 0] == list(range(273))
    assert [(tile.number, tile.hashes) for tile in at_once if tile.level == 1] == [(0, tile_row(1)[: TILE_WIDTH * 32])]
    assert [len(partial) // HASH_BYTES for partial in frontier.rows()] == [112, 17, 1]  # as tlog-tiles says of 70,000
    assert [frontier.root()] == compute_hashes(
        root_plan(70_000), tiles_named(tiles_of(root_plan(70_000), 70_000)), 70_000
    )


@pytest.mark.parametrize("part", range(4))
def test_every_small_proof_of_inclusion_holds_and_none_that_was_touched(part: int) -> None:
    for size in range(1 + part, SIZES + 1, 4):
        for index in range(size):
            proof = inclusion(index, size)
            leaf = leaves_of(SIZES)[index]

            assert verify_inclusion(leaf, index, size, proof, root(size))
            for touched in spoiled(proof, size * SIZES + index):
                assert not verify_inclusion(leaf, index, size, touched, root(size))
            assert not verify_inclusion(leaves_of(SIZES)[index - 1], index, size, proof, root(size)) or size == 1
            assert not verify_inclusion(leaf, index ^ 1, size, proof, root(size))
            assert not verify_inclusion(leaf, index, size, proof, root(size - 1))


@pytest.mark.parametrize("part", range(4))
def test_every_small_proof_of_consistency_holds_and_none_that_was_touched(part: int) -> None:
    for size in range(1 + part, SIZES + 1, 4):
        for old in range(size + 1):
            proof = consistency(old, size)

            assert verify_consistency(old, size, root(old), root(size), proof)
            for touched in spoiled(proof, size * SIZES + old):
                assert not verify_consistency(old, size, root(old), root(size), touched)
            assert not verify_consistency(old, size, root(old), leaf_hash(b"another"), proof) or old == 0
            assert not verify_consistency(old, size, leaf_hash(b"another"), root(size), proof)


def test_a_proof_for_what_cannot_be_is_refused() -> None:
    assert not verify_inclusion(leaves_of(SIZES)[0], -1, 1, [], root(1))
    assert not verify_inclusion(leaves_of(SIZES)[0], 1, 1, [], root(1))
    assert not verify_inclusion(leaves_of(SIZES)[0], 0, 0, [], root(0))
    assert not verify_consistency(2, 1, root(2), root(1), [])
    assert not verify_consistency(-1, 1, root(1), root(1), [])
    assert not verify_consistency(0, 5, root(0), root(5), [root(5)])
    assert verify_consistency(0, 5, EMPTY_ROOT, root(5), [])


def test_another_implementation_has_the_same_roots_and_proofs_of_inclusion() -> None:
    theirs = InmemoryTree()
    for number in range(SIZES):
        theirs.append_entry(b"entry %d" % number)

    for size in range(1, SIZES + 1):
        assert theirs.get_root(size) == root(size)
        for index in range(size):
            assert theirs.prove_inclusion(index + 1, size).path == [leaves_of(SIZES)[index], *inclusion(index, size)]


@pytest.mark.parametrize("part", range(4))
def test_another_implementation_accepts_our_proofs(part: int) -> None:
    for size in range(1 + part, SIZES + 1, 4):
        for other in range(size):
            assert oracle.verify_inclusion(b"entry %d" % other, other, size, inclusion(other, size), root(size))
            assert oracle.verify_consistency(other + 1, size, consistency(other + 1, size), root(other + 1), root(size))


def test_another_implementation_makes_the_same_proofs_of_consistency() -> None:
    entries = [b"entry %d" % number for number in range(SIZES)]

    for size in (1, 2, 3, 7, 8, 64, 100, 255, 256, 257):
        for old in range(1, size + 1):
            assert oracle.consistency_proof(entries[:size], old) == consistency(old, size)
