"""loyalty verify, attest, audit bundle and roles apply, as people use them; and loyalty-verify on what they made."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loyalty_verify
import pytest

from service.database_roles import ROLE_PURPOSES
from service.embedded.server import EmbeddedPostgres
from tests.service.cli.test_cli import ISSUED, loyalty, refusal

CHECKS = {
    "positions",
    "signatures",
    "times",
    "signer",
    "entries",
    "sealed parts",
    "look-ups",
    "tiles",
    "heads",
    "lists",
}


class Ledger:
    """A data folder with the ledger `acme` of one event, its server kept running from command to command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = ("--data", str(folder))

    def ask(self, *arguments: str) -> Any:
        """Run a command that must succeed, and read its JSON."""
        run = loyalty(*arguments, "--json", *self.place)
        assert run.code in (0, None), run
        return json.loads(run.out)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    folder = tmp_path_factory.mktemp("auditing") / "data"
    with EmbeddedPostgres.start(folder):
        ledger = Ledger(folder)
        ledger.ask("ledger", "create", "acme")
        made = ledger.ask("connection", "create", "--ledger", "acme", "--source", "capillary")
        line = json.dumps(json.loads(ISSUED.read_bytes())).encode()
        run = loyalty("import", "--connection", made["connection_id"], "-", *ledger.place, stdin=line)
        assert run.code in (0, None), run
        ledger.ask("seal", "--ledger", "acme")
        yield ledger


def verify_alone(bundle: Path, *arguments: str) -> tuple[int, Any]:
    """Run the one file as an auditor does, without anything of ours to import."""
    command = [sys.executable, "-I", loyalty_verify.__file__, str(bundle), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=bundle.parent)
    return done.returncode, json.loads(done.stdout)


def test_verify_ends_with_0_and_names_each_check(acme: Ledger) -> None:
    told = acme.ask("verify", "--ledger", "acme")
    run = loyalty("verify", *acme.place)

    assert told["verified"]
    assert {finding["check"] for finding in told["ledgers"]["acme"]} > CHECKS
    assert all(finding["holds"] for finding in told["ledgers"]["acme"])
    assert run.code in (0, None)
    assert run.out.startswith("acme:\n  ok    positions: 1 events, positions without a gap\n")


def test_verify_ends_with_1_where_something_does_not_hold_and_2_where_it_is_misused(acme: Ledger) -> None:
    head = acme.folder / "signer" / "acme.checkpoint"
    kept = head.read_bytes()
    head.write_bytes(kept.replace(b"\n1\n", b"\n7\n"))
    try:
        run = loyalty("verify", "--ledger", "acme", "--json", *acme.place)
    finally:
        head.write_bytes(kept)

    told = json.loads(run.out)
    wrong = {finding["check"]: finding["detail"] for finding in told["ledgers"]["acme"] if not finding["holds"]}
    assert (run.code, told["verified"], set(wrong)) == (1, False, {"signer", "heads"})
    assert "the signer signed a head of 7 events that is not among the checkpoints" in wrong["signer"]
    assert loyalty("verify", "--older", str(head), *acme.place).code == 2
    assert loyalty("verify", "--ledger", "acme", "--older", "nowhere", *acme.place).code == 2
    assert refusal("verify", "--ledger", "nobody", *acme.place)


def test_verify_takes_a_checkpoint_that_somebody_kept(acme: Ledger, tmp_path: Path) -> None:
    kept, spoilt = tmp_path / "kept", tmp_path / "spoilt"
    kept.write_bytes((acme.folder / "signer" / "acme.checkpoint").read_bytes())
    spoilt.write_bytes(b"no checkpoint\n")

    told = acme.ask("verify", "--ledger", "acme", "--older", str(kept))
    run = loyalty("verify", "--ledger", "acme", "--older", str(spoilt), *acme.place)

    assert "older checkpoint" in {finding["check"] for finding in told["ledgers"]["acme"]}
    assert run.code == 1
    assert next(line for line in run.out.splitlines() if "WRONG" in line).startswith("  WRONG older checkpoint: ")


def test_what_is_attested_is_verified_by_replay(acme: Ledger) -> None:
    attested = acme.ask("attest", "--ledger", "acme")

    assert attested["event_position"] == attested["position"] + 1
    assert attested["columns"]["lots"][:2] == ["subject", "lot_id"]
    assert {"facts", "accounts", "lots", "statement"} < set(attested["digests"])
    findings = {one["check"]: one for one in acme.ask("verify", "--replay")["ledgers"]["acme"]}
    assert "agree with the attestation" in findings["attestation"]["detail"]
    assert refusal("attest", "--ledger", "nobody", *acme.place)


@pytest.mark.parametrize(
    "scope",
    [(), ("--attest",), ("--customer", "capillary:150956:87884897"), ("--first-position", "1", "--last-position", "1")],
)
def test_a_bundle_is_verified_alone_with_the_key_and_the_checkpoint_that_were_handed_over(
    acme: Ledger, tmp_path: Path, scope: tuple[str, ...]
) -> None:
    kept = tmp_path / "kept"
    kept.write_text(loyalty("checkpoint", "show", "--ledger", "acme", *acme.place).out)
    key = acme.ask("seal", "keys", "--ledger", "acme")[0]["key"]
    output = tmp_path / "acme.tar"

    told = acme.ask("audit", "bundle", "--ledger", "acme", "--output", str(output), "--older", str(kept), *scope)

    assert told["bytes"] == output.stat().st_size
    code, found = verify_alone(output, "--older", str(kept), "--key", key)
    assert (code, found["verified"]) == (0, True), found
    assert "signed by the key that was given" in next(
        one["detail"] for one in found["checks"] if one["check"] == "checkpoint"
    )
    assert not list(tmp_path.glob("*.part"))


def test_a_bundle_is_refused_in_one_line_and_leaves_no_file(acme: Ledger, tmp_path: Path) -> None:
    output = ("--output", str(tmp_path / "acme.tar"))
    place = ("--ledger", "acme", *output, *acme.place)

    assert "positions must be within 1 to" in refusal(
        "audit", "bundle", "--first-position", "1", "--last-position", "99", *place
    )
    assert refusal("audit", "bundle", "--customer", "capillary:1:nobody", *place)
    assert loyalty("audit", "bundle", "--first-position", "1", *place).code == 2
    assert (
        loyalty("audit", "bundle", "--customer", "x", "--first-position", "1", "--last-position", "1", *place).code == 2
    )
    assert list(tmp_path.iterdir()) == []


def test_roles_are_applied_again_and_again(acme: Ledger) -> None:
    first, again = acme.ask("roles", "apply"), acme.ask("roles", "apply")
    run = loyalty("roles", "apply", *acme.place)

    assert first == again
    assert [role for role, _, _ in first["roles"]] == list(ROLE_PURPOSES)
    assert (first["owner"], first["kept_because"]) == ("loyalty_owner", None)
    assert run.code in (0, None)
    assert "loyalty_reader" in run.out
    assert acme.ask("verify")["verified"], "all goes on as before"
