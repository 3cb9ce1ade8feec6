"""Signed notes, checkpoints and proof files: the published examples, what others make of ours, and what is refused."""

import base64
import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proofbundle import checkpoint as oracle
from proofbundle.tlogproof import parse_tlog_proof, verify_tlog_proof

from ledger.errors import KeyWrong, NoteWrong
from ledger.merkle import compute_hashes, inclusion_plan, leaf_hash, root_of, tiles_of
from ledger.transparency.checkpoints import Checkpoint, ProofFile
from ledger.transparency.signed_notes import COSIGNATURE, Note, SigningKey, VerifierKey, cosigned_at, read_note, verify

# The example of C2SP signed-note.
SALVATORE = """\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""  # noqa: E501
# The example of Go's golang.org/x/mod/sumdb/note, the first implementation, with its key.
NEUMANN = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
NEUMANN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
# The example of C2SP tlog-checkpoint.
BEHIND_THE_SOFA = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""  # noqa: E501

SEED = bytes(range(32))
KEY = SigningKey("logs.example/acme", SEED)
WITNESS = SigningKey("witness.example/w1", bytes(range(1, 33)), COSIGNATURE)
HEAD = Checkpoint("logs.example/acme", 3, root_of([leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c")]))


def signed(text: str = HEAD.write(), *keys: SigningKey) -> bytes:
    return Note(text, [key.sign(text) for key in keys or (KEY,)]).write().encode()


def test_the_published_note_is_read_and_written_as_it_is() -> None:
    note = read_note(SALVATORE.encode())

    assert note.text.endswith("\n\ned è subito sera.\n")
    assert [(one.name, one.key_id.hex()) for one in note.signatures] == [("quasimodo.example/salvatore", "367ba04b")]
    assert note.write() == SALVATORE


def test_the_published_note_with_a_published_key_is_verified() -> None:
    key = VerifierKey.read(NEUMANN_KEY)

    assert key.write() == NEUMANN_KEY
    assert verify(read_note(NEUMANN.encode()), [key]) == [key]
    for place in range(len(NEUMANN)):
        changed = NEUMANN[:place] + chr(ord(NEUMANN[place]) ^ 1) + NEUMANN[place + 1 :]
        with pytest.raises(NoteWrong):
            verify(read_note(changed.encode()), [key])


def test_the_published_checkpoint_is_read_and_written_as_it_is() -> None:
    head = Checkpoint.read(read_note(BEHIND_THE_SOFA.encode()).text)

    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert BEHIND_THE_SOFA.startswith(head.write() + "\n")


def test_a_key_id_is_of_name_kind_and_key() -> None:
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()

    assert KEY.public.key_id == sha256(b"logs.example/acme\n\x01" + public).digest()[:4]
    assert KEY.public.write() == oracle.vkey("logs.example/acme", public)
    assert WITNESS.public.write() == oracle.cosign_vkey("witness.example/w1", WITNESS.public.public)


def test_another_implementation_writes_the_same_checkpoint_and_accepts_ours() -> None:
    private = Ed25519PrivateKey.from_private_bytes(SEED)

    assert signed().decode() == oracle.sign_checkpoint(HEAD.origin, HEAD.size, HEAD.root, private, "logs.example/acme")
    assert oracle.verify_checkpoint(signed().decode(), KEY.public.write())["ok"]


def test_another_implementation_accepts_our_cosignature_and_we_accept_theirs() -> None:
    note = read_note(signed())
    ours = Note(note.text, [*note.signatures, WITNESS.cosign(note.text, 1_700_000_000)])
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    theirs = oracle.cosign_checkpoint(signed().decode(), private, "witness.example/w1", 1_700_000_000)

    assert ours.write() == theirs
    assert oracle.verify_cosignature(ours.write(), WITNESS.public.write())["ok"]
    assert verify(read_note(theirs.encode()), [WITNESS.public]) == [WITNESS.public]
    assert cosigned_at(read_note(theirs.encode()).signatures[1]) == 1_700_000_000


def test_another_implementation_accepts_our_proof_file() -> None:
    entries = [b'{"position":%d}' % number for number in range(1, 301)]
    leaves = [leaf_hash(entry) for entry in entries]
    tiles = {
        name: b"".join(leaves)[name.number * 8192 :][: name.width * 32]
        for name in tiles_of(inclusion_plan(7, 300), 300)
    }
    tiles = {name: row if name.level == 0 else root_of(leaves[:256]) for name, row in tiles.items()}
    proof = compute_hashes(inclusion_plan(7, 300), tiles, 300)
    note = signed(Checkpoint("logs.example/acme", 300, root_of(leaves)).write())
    content = ProofFile(7, proof, note, entries[7]).write()

    assert ProofFile.read(content) == ProofFile(7, proof, note, entries[7])
    assert parse_tlog_proof(content.decode())["index"] == 7
    verdict = verify_tlog_proof(content.decode(), entries[7], KEY.public.write(), expected_origin="logs.example/acme")
    assert verdict["ok"], json.dumps(verdict, default=str)
    assert not verify_tlog_proof(content.decode(), entries[8], KEY.public.write())["ok"]


def test_signatures_of_strangers_are_passed_over_and_those_of_known_keys_must_be_right() -> None:
    text = HEAD.write()
    stranger = SigningKey("logs.example/acme", bytes(32))  # the same name, another key
    note = read_note(signed(text, stranger, KEY))
    forged = note.signatures[0]._replace(key_id=KEY.public.key_id)

    assert verify(note, [KEY.public]) == [KEY.public]
    assert verify(note, [KEY.public, WITNESS.public]) == [KEY.public]
    with pytest.raises(NoteWrong):
        verify(note, [WITNESS.public])
    with pytest.raises(NoteWrong):
        verify(note, [])
    with pytest.raises(NoteWrong):
        verify(Note(text, [*note.signatures, forged]), [KEY.public])


def test_a_cosignature_counts_for_its_own_time_and_kind_only() -> None:
    text = HEAD.write()
    cosigned = WITNESS.cosign(text, 1_700_000_000)
    later = cosigned._replace(value=(1_700_000_001).to_bytes(8, "big") + cosigned.value[8:])

    assert verify(Note(text, [cosigned]), [WITNESS.public])
    for wrong in (later, cosigned._replace(value=cosigned.value[8:]), cosigned._replace(value=cosigned.value + b"\0")):
        with pytest.raises(NoteWrong):
            verify(Note(text, [wrong]), [WITNESS.public])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA=",
        b"text\n\xe2\x80\x94 name AAAAAAAA\n",
        b"te\txt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"te\rxt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"text\n\n- name AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 na+me AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAAA \n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA*\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAB=\n",
        b"text\n\n\xe2\x80\x94  AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 name\xc2\xa0b AAAAAAAA\n",
        b"text\n\n" + b"\xe2\x80\x94 name AAAAAAAA\n" * 101,
        b"x" * 1_000_001,
    ],
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(NoteWrong):
        read_note(note)


def test_a_note_may_have_many_signatures() -> None:
    assert len(read_note(b"text\n\n" + b"\xe2\x80\x94 name AAAAAAAA\n" * 100).signatures) == 100


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"origin\n1\n{ROOT}",
        f"origin\n1\n{ROOT}\n\n",
        f"\n1\n{ROOT}\n",
        f"origin\n01\n{ROOT}\n",
        f"origin\n-1\n{ROOT}\n",
        f"origin\n1 \n{ROOT}\n",
        f"origin\n١\n{ROOT}\n",
        f"origin\n1\n{ROOT[:-1]}\n",
        f"origin\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        "origin\n1\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteWrong):
        Checkpoint.read(text)


def test_a_checkpoint_may_have_further_lines_and_the_empty_tree() -> None:
    assert Checkpoint.read(f"origin\n0\n{ROOT}\nmore\n") == Checkpoint("origin", 0, bytes(32))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "name",
        NEUMANN_KEY.replace("c74f20a3", "c74f20a4"),
        NEUMANN_KEY.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN_KEY.removesuffix("TW"),
        NEUMANN_KEY.replace("+ARpc", "+CRpc"),
    ],
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(KeyWrong):
        VerifierKey.read(key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\nindex 0\n",
        b"c2sp.org/tlog-proof@v2\nindex 0\n\nnote\n",
        b"c2sp.org/tlog-proof@v1\nindex 00\n\nnote\n",
        b"c2sp.org/tlog-proof@v1\nextra *\nindex 0\n\nnote\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nnote\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + ROOT.encode() + b"\n" * 1 + (ROOT.encode() + b"\n") * 63 + b"\nnote\n",
    ],
)
def test_what_is_no_proof_file_is_refused(content: bytes) -> None:
    with pytest.raises(NoteWrong):
        ProofFile.read(content)
