"""Every command with `--json`: standard output is one whole document or nothing, and the exit code says which."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.cli.main import COMMANDS, command_for
from tests.service.cli.test_cli import ROOT, SAMPLES, Served, clean_environment, loyalty, serving
from tests.support.payloads import issued

CUSTOMER = "capillary:150956:87884897"
PROGRAMME = "capillary:150956:838"
ACCOUNT = "87884897:838:points"
NO_DATABASE = {"vendors", "report views"}
# In this order, each with what it needs; {…} stands for what an earlier one printed.
WORKS = (
    ("migrate",),
    ("vendors",),
    ("ledger create", "json"),
    ("ledger list",),
    ("connection create", "--ledger=json", "--source=capillary"),
    ("import", str(SAMPLES["pointsIssued.json"]), "--connection={connection_id}"),
    ("connection list",),
    ("connection rotate", "{connection_id}"),
    ("connection settle", "{connection_id}"),
    ("connection disable", "{connection_id}"),
    ("connection enable", "{connection_id}"),
    ("endpoint create", "--ledger=json", "--url=https://receiver.example/hooks"),
    ("endpoint list",),
    ("endpoint show", "{endpoint_id}"),
    ("endpoint edit", "{endpoint_id}", "--label=changed"),
    ("endpoint test", "{endpoint_id}"),
    ("endpoint replay", "{endpoint_id}", "--after=0"),
    ("endpoint attempts", "{endpoint_id}"),
    ("endpoint rotate", "{endpoint_id}"),
    ("endpoint settle", "{endpoint_id}"),
    ("endpoint disable", "{endpoint_id}"),
    ("endpoint enable", "{endpoint_id}"),
    ("endpoint delete", "{endpoint_id}", "--yes"),
    ("send", str(SAMPLES["pointsIssued.json"]), "--connection={connection_id}"),
    ("tail", "--ledger=json", "--after=0", "--count=1"),
    ("key create", "--ledger=json", "--label=reports"),
    ("key list",),
    ("key revoke", "{key_id}", "--ledger=json"),
    ("report views",),
    ("report role create", "json_reports", "--ledger=json"),
    ("report role list",),
    ("report role drop", "json_reports", "--yes"),
    ("events check",),
    ("parked list", "--ledger=json"),
    ("parked retry", "--ledger=json"),
    ("digest",),
    ("reconcile", "--ledger=json"),
    ("explain", f"accounts/{ACCOUNT}", "--ledger=json"),
    ("adjust", ACCOUNT, "--ledger=json", "--points=5", "--author=a", "--reason=r"),
    ("terms set", "--ledger=json", f"--programme={PROGRAMME}", "--effective-from=2026-01-01", "--time-zone=UTC"),
    ("terms list", "--ledger=json"),
    ("policy set", "latest", "--ledger=json", "--source=capillary", "--kind=pointsIssued"),
    ("policy list", "--ledger=json"),
    ("trial-balance", "--ledger=json"),
    ("liability", "--ledger=json"),
    ("breakage", "--ledger=json"),
    ("close", "2023-05", "--ledger=json", "--yes"),
    ("period show", "2023-05", "--ledger=json"),
    ("periods", "--ledger=json"),
    ("reopen", "2023-05", "--ledger=json"),
    ("attest", "--ledger=json"),
    ("seal", "--ledger=json"),
    ("seal keys", "--ledger=json"),
    ("seal rotate",),
    ("checkpoint show", "--ledger=json"),
    ("verify", "--ledger=json"),
    ("audit bundle", "--ledger=json", "--output={folder}/json.tar"),
    ("export", "--ledger=json", "--output={folder}/views", "--format=csv", "--view=accounts"),
    ("export", "--ledger=json", "--output={folder}/json.ndjson"),
    ("log publish", "--ledger=json"),
    ("log list", "--ledger=json"),
    ("rebuild",),
    ("generations",),
    ("rollback",),
    ("rebuild", "--compare"),
    ("promote",),
    ("drop", "{other_generation}"),
    ("access-file", "--ledger=json", f"--customer={CUSTOMER}", "--reason=r"),
    ("erase", "--ledger=json", f"--customer={CUSTOMER}"),
    ("backup", "{folder}/backup"),
    ("roles create",),
    ("roles apply",),
    ("roles login", "json_login", "--password-file={folder}/password"),
    ("doctor",),
)
MAY_FIND = {"reconcile", "doctor", "endpoint test"}
RUN_LONG = {"demo", "serve", "project", "dispatch", "witness"}
REFUSED = {  # what a command says no to, before or after it has looked at the database
    "endpoint credentials": ("{endpoint_id}", "/nowhere.toml"),
    "unmerge": ("--ledger=json", f"--customer={CUSTOMER}", "--author=a", "--reason=r"),
    "seal retire": ("00000000", "--ledger=json"),
    "log withdraw": ("none", "--ledger=json"),
    "restore": ("/nowhere",),
    "move": ("json", "--to=postgresql://x@127.0.0.1:1/x", "--to-url=https://other.example"),
    "spread": (),
}


def leaves() -> dict[str, Any]:
    """Every command by its words."""
    found: dict[str, Any] = {}

    def walk(words: tuple[str, ...], command: Any) -> None:
        below = getattr(command, "commands", {})
        if not below or getattr(command, "invoke_without_command", False):
            found[" ".join(words)] = command
        for name, one in below.items():
            walk((*words, name), one)

    for name in COMMANDS:
        walk((name,), command_for([name]).commands[name])
    return found


def has_json(command: Any) -> bool:
    return any("--json" in given.opts for given in command.params)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("json") / "data"
    with serving(folder) as (_, url):
        yield Served(str(folder), url)


def assert_whole_or_absent(out: str) -> None:
    if out:
        json.loads(out)


def test_every_command_has_json_and_is_tried_here() -> None:
    commands = leaves()
    without = {name for name, one in commands.items() if not has_json(one)}

    assert without <= {"liability"}
    assert {one[0] for one in WORKS} | REFUSED.keys() | RUN_LONG == commands.keys()


@pytest.mark.parametrize("words", [*leaves(), "ledger", ""])
def test_the_help_of_a_command_names_values_for_people(words: str) -> None:
    run = loyalty(*words.split(), "--help")

    assert run.code == 0
    assert "Usage: loyalty" in run.out
    assert not re.search("<(str|bool|int|list|float|path|file|dir)", run.out), run.out


def test_every_command_that_works_prints_one_document(served: Served, tmp_path: Path) -> None:
    known = {"folder": str(tmp_path)}
    (tmp_path / "password").write_text("a-password-of-tests")
    commands = leaves()
    for words, *given in WORKS:
        if not has_json(commands[words]):
            continue
        arguments = [one.format_map(known) for one in given]

        run = loyalty(*words.split(), *arguments, "--json", *(("--data", served.folder) * (words not in NO_DATABASE)))

        assert run.code in (0, 1) if words in MAY_FIND else run.code == 0, (words, run)
        told = json.loads(run.out)
        if isinstance(told, dict):
            known |= {name: str(value) for name, value in told.items() if isinstance(value, str)}
        if words == "terms list":
            assert told
        if words == "generations":
            known["other_generation"] = str(min(one["generation"] for one in told if one["status"] == "retired"))


@pytest.mark.parametrize("words", [one for one in leaves() if one not in NO_DATABASE])
def test_a_command_that_cannot_ask_prints_nothing_and_ends_with_three(words: str, tmp_path: Path) -> None:
    works = {name: given for name, *given in WORKS}
    given = [one.format_map(_Anything()) for one in (works | {k: list(v) for k, v in REFUSED.items()}).get(words, [])]
    if words in RUN_LONG | {"doctor"} or not has_json(leaves()[words]):
        pytest.skip("it starts a database, waits for one, needs none, or reports the outage")
    if words == "roles login":
        (tmp_path / "password").write_text("a-password-of-tests")
        given = ["json_login", f"--password-file={tmp_path / 'password'}"]

    run = loyalty(*words.split(), *given, "--json", environment={"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"})

    assert (run.code, run.out) == (3, ""), run
    assert run.err.startswith("error: ")


@pytest.mark.parametrize("words", REFUSED)
def test_a_command_that_is_refused_prints_nothing(served: Served, words: str) -> None:
    loyalty("ledger", "create", "json", "--data", served.folder)

    run = loyalty(*words.split(), *REFUSED[words], "--json", "--data", served.folder)

    assert run.code in (2, 3), run
    assert run.out == ""


def test_a_command_without_its_ledger_ends_with_three(served: Served) -> None:
    for words in ("digest", "reconcile", "verify", "parked list", "checkpoint show", "attest"):
        run = loyalty(*words.split(), "--ledger=nobody", "--json", "--data", served.folder)

        assert (run.code, run.out) == (3, ""), (words, run)


def test_a_difference_is_told_from_an_outage(served: Served) -> None:
    loyalty("ledger", "create", "differs", "--data", served.folder)
    made = json.loads(
        loyalty(
            "connection", "create", "--ledger=differs", "--source=capillary", "--json", "--data", served.folder
        ).out
    )  # fmt: skip
    body = issued("a", 0, 1, 10, programCurrentPoints=99)
    loyalty("import", "-", f"--connection={made['connection_id']}", "--data", served.folder, stdin=body)
    body = issued("b", 1, 1, 10, programCurrentPoints=500)
    loyalty("import", "-", f"--connection={made['connection_id']}", "--data", served.folder, stdin=body)

    asked = ("reconcile", "--ledger=differs", "--grace-hours=0", "--fail-on=all", "--json")
    found = loyalty(*asked, "--data", served.folder)
    away = loyalty(*asked, environment={"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"})

    assert (found.code, away.code, away.out) == (1, 3, "")
    assert json.loads(found.out)["items"]


def test_a_statement_that_cannot_be_read_to_its_end_prints_no_half_document(served: Served, tmp_path: Path) -> None:
    loyalty("ledger", "create", "half", "--data", served.folder)
    file = tmp_path / "statement.csv.gz"
    import gzip

    rows = "".join(f"{n},50,10,2026-01-01\n" for n in range(20_000))
    file.write_bytes(gzip.compress(f"customer,programme,balance,as of\n{rows}".encode())[:-20])

    run = loyalty("reconcile", "--ledger=half", "--statement", str(file), "--json", "--data", served.folder)

    assert run.code != 0
    assert run.out == ""


@pytest.mark.parametrize("words", ["serve --port=0", "project", "witness --name=w --port=0"])
def test_what_runs_for_long_prints_one_document_when_it_is_ready(served: Served, tmp_path: Path, words: str) -> None:
    place = ["--folder", str(tmp_path)] if words.startswith("witness") else ["--data", served.folder]
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli.main", *words.split(), "--json", *place],
        cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = ""
    while not lines.endswith("}\n"):
        lines += process.stdout.readline()
    process.terminate()
    rest = process.stdout.read()
    process.stdout.close()

    assert process.wait(60) == 0
    assert json.loads(lines)
    assert rest == ""


class _Anything(dict[str, str]):
    def __missing__(self, _name: str) -> str:
        return "1"
