"""A witness cosigns what continues, refuses what does not with the status that C2SP names, and forgets nothing."""

from pathlib import Path

import pytest
from proofbundle import checkpoint as oracle

from ledger.errors import KeyWrong
from ledger.merkle import compute_hashes, consistency_plan, leaf_hash, root_of, tiles_of
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import Note, Signature, SigningKey, read_note, read_signatures, verify
from ledger.transparency.witness import Witness, WitnessReply, WitnessRequest
from service.server.witness_app import BODY_BYTES_MAX

NOW = 1_700_000_000
KEY = SigningKey("logs.example/acme", bytes(range(32)))
LEAVES = [leaf_hash(b"%d" % number) for number in range(200)]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    made = Witness(tmp_path, "witness.example/w1")
    made.trust(KEY.public)
    return made


def note_of(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = KEY) -> bytes:
    text = Checkpoint(key.public.name, size, root_of(leaves[:size])).write()
    return Note(text, [key.sign(text)]).write().encode()


def proof_of(old: int, size: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    plan = consistency_plan(old, size)
    return compute_hashes(plan, {name: b"".join(leaves[: name.width]) for name in tiles_of(plan, size)}, size)


def ask(
    witness: Witness, old: int, size: int, *, proof: list[bytes] | None = None, note: bytes | None = None
) -> WitnessReply:
    hashes = proof_of(old, size) if proof is None else proof
    return witness.add_checkpoint(WitnessRequest(old, hashes, note or note_of(size)).write(), NOW)


def test_it_cosigns_the_first_and_what_continues_it(witness: Witness) -> None:
    for old, size in ((0, 3), (3, 3), (3, 64), (64, 200)):
        reply = ask(witness, old, size)

        assert reply.status == 200
        note = read_note(note_of(size) + reply.body.encode())
        assert verify(note, [witness.key, KEY.public]) == [witness.key, KEY.public]
        assert oracle.verify_cosignature(note.write(), witness.key.write())["ok"]


def test_an_old_size_that_it_does_not_remember_is_told_the_one_that_it_does(witness: Witness) -> None:
    assert ask(witness, 3, 64) == WitnessReply(409, "0\n", "text/x.tlog.size")
    ask(witness, 0, 64)

    assert ask(witness, 0, 64, proof=[]) == WitnessReply(409, "64\n", "text/x.tlog.size")
    assert ask(witness, 3, 64) == WitnessReply(409, "64\n", "text/x.tlog.size")


def test_another_tree_of_the_same_size_is_a_conflict(witness: Witness) -> None:
    ask(witness, 0, 64)

    assert ask(witness, 64, 64, proof=[], note=note_of(64, LEAVES[::-1])).status == 409


def test_a_tree_that_does_not_continue_is_refused_for_ever(witness: Witness, tmp_path: Path) -> None:
    ask(witness, 0, 64)
    forged = LEAVES[::-1]
    again = Witness(tmp_path, "witness.example/w1")

    assert ask(witness, 64, 100, proof=proof_of(64, 100, forged), note=note_of(100, forged)).status == 422
    assert ask(again, 64, 100, proof=proof_of(64, 100, forged), note=note_of(100, forged)).status == 422
    assert ask(again, 64, 100, proof=[]).status == 422
    assert ask(again, 64, 64, proof=[LEAVES[0]]).status == 422
    assert again.key == witness.key
    assert ask(again, 64, 100).status == 200


def test_a_tree_that_went_back_is_refused(witness: Witness) -> None:
    ask(witness, 0, 64)

    assert ask(witness, 64, 3, proof=[]).status == 400
    assert ask(witness, 0, 3, proof=[]) == WitnessReply(409, "64\n", "text/x.tlog.size")


def test_a_proof_from_nothing_is_empty(witness: Witness) -> None:
    assert ask(witness, 0, 64, proof=[LEAVES[0]]).status == 422


def test_logs_that_it_does_not_know_and_keys_that_it_does_not_trust_are_refused(witness: Witness) -> None:
    stranger = SigningKey("logs.example/other", bytes(32))
    forger = SigningKey("logs.example/acme", bytes(32))

    assert ask(witness, 0, 3, note=note_of(3, key=stranger)).status == 404
    assert ask(witness, 0, 3, note=note_of(3, key=forger)).status == 403
    witness.trust(forger.public)  # as after a rotation
    assert ask(witness, 0, 3, note=note_of(3, key=forger)).status == 200
    with pytest.raises(KeyWrong):
        witness.trust(witness.key)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        b"new 0\n\n" + note_of(3),
        b"old 00\n\n" + note_of(3),
        b"old -1\n\n" + note_of(3),
        b"old 0\nAAAA\n\n" + note_of(3),
        b"old 0\n" + b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n" * 64 + b"\n" + note_of(3),
        b"old 0\n\n" + note_of(3)[:-1],
        b"old 0\n\nno checkpoint\n\n\xe2\x80\x94 a AAAAAAAA\n",
    ],
)
def test_what_is_no_request_is_refused(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body, NOW).status == 400


def test_the_published_request_is_read_and_written_as_it_is() -> None:
    body = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501

    request = WitnessRequest.read(body)

    assert (request.old, len(request.proof)) == (20852014, 4)
    assert Checkpoint.read(read_note(request.note).text).size == 20852163
    assert request.write() == body


def test_a_line_of_several_witnesses_is_read() -> None:
    lines = (
        "— witness.example/w1 "
        "CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n"
        "— witness.example/w2 "
        "AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n"
    )

    assert [one.name for one in read_signatures(lines)] == ["witness.example/w1", "witness.example/w2"]


def test_a_tree_without_entries_has_one_root_and_no_other(witness: Witness) -> None:
    text = Checkpoint(KEY.public.name, 0, bytes(32)).write()
    note = Note(text, [KEY.sign(text)]).write().encode()

    assert ask(witness, 0, 0, proof=[], note=note).status == 422
    assert ask(witness, 0, 0, proof=[]).status == 200
    assert ask(witness, 0, 64).status == 200


def test_sixteen_large_signatures_of_others_fit_into_a_request() -> None:
    """C2SP signed-note: at least so many must be taken, and those of later kinds are nearly 5 kB each."""
    note = note_of(64) + b"".join(
        Signature(f"other{number}.example", b"abcd", bytes(5_000)).line().encode() for number in range(15)
    )

    assert len(WitnessRequest(0, [bytes(32)] * 63, note).write()) < BODY_BYTES_MAX
    assert len(read_note(note).signatures) == 16
