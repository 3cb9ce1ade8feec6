"""loyalty seal, checkpoint, log and witness, as people use them."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.merkle import root_of
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.signed_notes import VerifierKey, read_note, verify
from service.embedded.server import EmbeddedPostgres
from tests.service.cli.test_cli import ISSUED, ROOT, clean_environment, loyalty, refusal


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a ledger of one event, its server kept running from command to command."""
    folder = tmp_path_factory.mktemp("sealing") / "data"
    place = ("--data", str(folder))
    with EmbeddedPostgres.start(folder):
        _fill(place)
        yield folder


def _fill(place: tuple[str, str]) -> None:
    loyalty("ledger", "create", "acme", *place)
    made = loyalty("connection", "create", "--ledger", "acme", "--source", "capillary", "--json", *place)
    connection = json.loads(made.out)["connection_id"]
    line = json.dumps(json.loads(ISSUED.read_bytes())).encode()
    assert loyalty("import", "--connection", connection, "-", *place, stdin=line).code in (0, None)


@contextmanager
def a_witness(folder: Path, log: str) -> Iterator[tuple[str, str]]:
    """Run a witness that knows one log; give its key and its URL."""
    command = [sys.executable, "-m", "service.cli.main", "witness", "--name", "witness.example/w1"]
    command += ["--folder", str(folder), "--log", log, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment()) as process:
        assert process.stdout
        key, listening = process.stdout.readline().strip(), process.stdout.readline().strip()
        try:
            yield key, listening.removeprefix("Listening on ")
        finally:
            process.terminate()


def test_seal_prints_a_checkpoint_that_the_printed_key_verifies(data: Path) -> None:
    run = loyalty("seal", "--ledger", "acme", "--data", str(data))
    [key] = json.loads(loyalty("seal", "keys", "--ledger", "acme", "--json", "--data", str(data)).out)

    note = read_note(run.out.encode())
    assert run.code in (0, None)
    assert verify(note, [VerifierKey.read(key["key"])])
    assert Checkpoint.read(note.text).size == 1
    assert key["signs_now"]
    assert loyalty("checkpoint", "show", "--ledger", "acme", "--data", str(data)).out == run.out


def test_a_witness_and_an_anchor_get_what_is_sealed(data: Path, tmp_path: Path) -> None:
    loyalty("seal", "--ledger", "acme", "--data", str(data))
    [key] = json.loads(loyalty("seal", "keys", "--ledger", "acme", "--json", "--data", str(data)).out)
    with a_witness(tmp_path / "witness", key["key"]) as (witness, url):
        assert urllib.request.urlopen(url).read().decode().strip() == witness  # noqa: S310
        environment = {"LOYALTY_WITNESSES": f"{witness} {url}", "LOYALTY_ANCHORS": str(tmp_path / "anchor")}
        run = loyalty("seal", "--ledger", "acme", "--json", "--data", str(data), environment=environment)

    told = json.loads(run.out)
    assert told["handed_out"] == {"witness.example/w1": "done", str(tmp_path / "anchor"): "done"}
    note = read_note(told["note"].encode())
    assert verify(note, [VerifierKey.read(witness)]) == [VerifierKey.read(witness)]
    assert read_note((tmp_path / "anchor").read_bytes().removesuffix(b"\n")).text == note.text


def test_a_checkpoint_is_written_as_a_mail(data: Path) -> None:
    sealed = loyalty("seal", "--ledger", "acme", "--data", str(data)).out
    mail = loyalty("checkpoint", "show", "--ledger", "acme", "--format", "email", "--data", str(data)).out

    assert mail.startswith("Subject: Checkpoint of ledger acme: 1 events\n")
    assert mail.split("-----8<-----\n")[1].split("----->8-----")[0] == sealed
    assert loyalty("checkpoint", "show", "--ledger", "acme", "--format", "fax", "--data", str(data)).code == 2


def test_a_ledger_that_was_rewritten_is_not_sealed(data: Path) -> None:
    loyalty("seal", "--ledger", "acme", "--data", str(data))
    head = data / "signer/acme.checkpoint"
    kept = head.read_bytes()
    note = read_note(kept)
    forged = Checkpoint.read(note.text)._replace(root=root_of([bytes(32)]))
    head.write_bytes(note._replace(text=forged.write()).write().encode())

    assert "does not continue the last head" in refusal("seal", "--ledger", "acme", "--data", str(data))
    head.write_bytes(kept)
    assert loyalty("seal", "--ledger", "acme", "--data", str(data)).code in (0, None)
    assert loyalty("seal", "--data", str(data)).code == 2


def test_keys_are_rotated_and_retired(data: Path) -> None:
    place = ("--ledger", "acme", "--data", str(data))
    loyalty("seal", *place)
    loyalty("seal", "rotate", "--data", str(data))
    pending = json.loads(loyalty("seal", "keys", "--json", *place).out)
    loyalty("seal", *place)
    old, new = json.loads(loyalty("seal", "keys", "--json", *place).out)
    loyalty("seal", "retire", old["key_id"], *place)
    loyalty("seal", *place)

    mail = loyalty("checkpoint", "show", "--format", "email", *place).out
    assert mail.split("Keys that signed it:\n")[1].split("\n\n")[0] == new["key"]
    assert mail.rstrip().endswith(f"Retired keys:\n{old['key']}")
    assert [(one["key"], one["status"]) for one in pending] == [(old["key"], "signs"), (new["key"], "pending")]
    assert [one["signs_now"] for one in (old, new)] == [True, True]
    after = json.loads(loyalty("seal", "keys", "--json", *place).out)
    assert [(one["key"], one["signs_now"]) for one in after] == [(old["key"], False), (new["key"], True)]
    assert "it is the only key" in refusal("seal", "retire", new["key_id"], *place)
    assert "there is no signing key with the id" in refusal("seal", "retire", "00000000", *place)


def test_an_address_is_published_listed_and_withdrawn(data: Path) -> None:
    place = ("--ledger", "acme", "--data", str(data))
    url = json.loads(loyalty("log", "publish", "--json", *place).out)["url"]

    [listed] = json.loads(loyalty("log", "list", "--json", *place).out)
    assert (listed["url"], url.rpartition("/")[2]) == (url, listed["token"])
    loyalty("log", "withdraw", listed["token"], *place)
    assert json.loads(loyalty("log", "list", "--json", *place).out) == []
    assert "no log at this address" in refusal("log", "withdraw", listed["token"], *place)


def test_a_witness_without_a_valid_key_does_not_start(tmp_path: Path) -> None:
    assert "malformed" in refusal("witness", "--name", "w", "--folder", str(tmp_path / "w"), "--log", "nonsense")
    assert "malformed" in refusal("witness", "--name", "two words", "--folder", str(tmp_path / "w"))
