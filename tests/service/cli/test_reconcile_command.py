"""`loyalty reconcile` and `loyalty adjust` as support, finance and a pipeline run them."""

import base64
import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ledger.store.append import append
from ledger.store.registry import Ledger
from tests.service.cli.test_cli import Run, loyalty
from tests.support.payloads import VAULT, delivery, issued, redeemed

ANN = "capillary:9001:1:77:points"
CHAIN = (
    issued("a", 0, 1, 1000, programCurrentPoints=1000),
    redeemed("b", 60, 1, 40, "R1", programCurrentPoints=960),
    issued("c", 180, 1, 10, programCurrentPoints=990),
    issued("d", 180, 2, 10, lapses="2024-01-31"),
)


class Office:
    """Runs commands on one database."""

    def __init__(self, dsn: str) -> None:
        key = base64.b64encode(bytes(range(32))).decode()
        self._environment = {"DATABASE_URL": dsn, "LOYALTY_MASTER_KEY": key}

    def run(self, *arguments: str, stdin: bytes = b"") -> Run:
        return loyalty(*arguments, stdin=stdin, environment=self._environment)

    def reconcile(self, *arguments: str, stdin: bytes = b"") -> Run:
        return self.run("reconcile", "--ledger", "acme", *arguments, stdin=stdin)


@pytest.fixture
async def told(connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in CHAIN])


@pytest.fixture
def office(dsn: str, told: None) -> Office:
    return Office(dsn)


def totals(run: Run) -> dict[str, Any]:
    return {one["name"]: (one["open_count"], one["points"]) for one in json.loads(run.out)["items"]}


def test_the_summary_ends_with_1_where_what_is_named_is_open(office: Office) -> None:
    plain = office.reconcile()
    named = office.reconcile("--fail-on", "drift,parked")
    others = office.reconcile("--fail-on", "parked,refunds", "--json")
    every = office.reconcile("--fail-on", "all")

    assert [run.code for run in (plain, named, others, every)] == [0, 1, 0, 1]
    assert (totals(others)["drift"], totals(others)["expiries"]) == ((1, {"points": "20"}), (1, {"points": "10"}))
    assert "20 points" in plain.out


@pytest.mark.parametrize(
    "wrong",
    [
        ("--fail-on", "everything"),
        ("--csv", "nothing"),
        ("--at", "yesterday"),
        ("--at", "2026-01-01T00:00:00"),
        ("--statement", "-", "--columns", "account"),
        ("--statement", "-", "--time-zone", "Mars/Olympus"),
        ("--fail-on", "statement"),
    ],
)
def test_misuse_ends_with_2(office: Office, wrong: tuple[str, ...]) -> None:
    run = office.reconcile(*wrong)

    assert (run.code, run.out) == (2, "")


def test_a_list_is_printed_as_csv(office: Office) -> None:
    run = office.reconcile("--csv", "drift")

    [row] = csv.DictReader(io.StringIO(run.out))
    assert (run.code, row["id"], row["points"], row["position"]) == (0, ANN, "20", "3")


def test_a_claim_is_adopted_and_the_adoption_taken_back(office: Office) -> None:
    words = ("--author", "Jane Roe", "--reason", "the vendor confirms")

    made = office.run("adjust", "--ledger", "acme", ANN, "--adopt", "--id", "case-1", *words, "--json")
    again = office.run("adjust", "--ledger", "acme", ANN, "--adopt", "--id", "case-1", *words)
    after = office.reconcile("--fail-on", "drift")
    back = office.run("adjust", "--ledger", "acme", "1:77:points", "--reverse", "case-1", *words)
    reopened = office.reconcile("--fail-on", "drift")
    fewer = office.run("adjust", "--ledger", "acme", ANN, "--points", "-12.5", *words)

    assert json.loads(made.out) == {
        "id": "case-1",
        "account": ANN,
        "points": "20",
        "position": 5,
        "outcome": "appended",
        "before": "970",
        "after": "990",
    }
    assert again.out.endswith("It was made before.\n")
    assert [run.code for run in (after, back, reopened, fewer)] == [0, 0, 1, 0]
    assert fewer.out.startswith(f"{ANN}: -12.5; ")


def test_an_adjustment_that_is_not_one_is_refused(office: Office) -> None:
    words = ("--author", "Jane Roe", "--reason", "why not")

    both = office.run("adjust", "--ledger", "acme", ANN, "--adopt", "--points", "5", *words)
    silent = office.run("adjust", "--ledger", "acme", ANN, "--points", "5", "--author", "Jane Roe", "--reason", " ")
    nobody = office.run("adjust", "--ledger", "acme", "capillary:9001:404:77:points", "--points", "5", *words)

    assert [run.code for run in (both, silent, nobody)] == [2, 2, 3]


def test_more_than_is_available_is_taken_away_only_on_request(office: Office) -> None:
    words = ("--author", "Jane Roe", "--reason", "why not", "--ledger", "acme", "--json")

    planned = json.loads(office.run("adjust", ANN, "--points", "7", "--dry-run", *words).out)
    available = Decimal(planned["before"])
    refused = office.run("adjust", ANN, f"--points={-available - 5}", *words)
    made = json.loads(office.run("adjust", ANN, f"--points={-available - 5}", "--allow-debt", *words).out)
    back = json.loads(office.run("adjust", ANN, "--reverse", made["id"], *words).out)
    again = json.loads(office.run("adjust", ANN, "--reverse", made["id"], *words).out)

    assert planned["dry_run"]
    assert Decimal(planned["after"]) - available == Decimal(7)
    assert (refused.code, refused.out) == (2, "")
    assert "leaves a debt of 5; use --allow-debt to allow it" in refused.err
    assert (Decimal(made["before"]), made["after"]) == (available, "-5")
    assert (back["before"], Decimal(back["after"])) == ("-5", available)
    assert (again["outcome"], again["before"]) == ("duplicate", again["after"])


def test_a_statement_of_balances_is_compared(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "balances.csv"
    file.write_text("customer;programme;balance;as of\n1;77;990;2024-01-01\n2;77;10;2024-01-01\n3;77;1;2024-01-01\n")

    text = office.reconcile("--statement", str(file))
    told = json.loads(office.reconcile("--statement", str(file), "--json").out)
    table = list(csv.DictReader(io.StringIO(office.reconcile("--statement", str(file), "--csv", "statement").out)))
    failing = office.reconcile("--statement", str(file), "--fail-on", "statement")

    assert (text.code, failing.code) == (0, 1)
    assert "3 lines of balances: 1 agree (balance 1); differs 1, unknown-account 1." in text.out
    assert told["summary"] == {
        "of": "balances",
        "lines": 3,
        "matched": 1,
        "matched_by": {"balance": 1},
        "findings": {"unknown-account": 1, "differs": 1},
    }
    assert [(one["finding"], one["line"], one["difference"]) for one in told["findings"]] == [
        ("unknown-account", 4, None),
        ("differs", 2, "20"),
    ]
    assert [(row["finding"], row["theirs"], row["ours"]) for row in table] == [
        ("unknown-account", "", ""),
        ("differs", "990", "970"),
    ]


def test_a_statement_of_entries_shows_what_never_arrived(office: Office) -> None:
    rows = ("Member ID,Date,Amount,Reference", "1,2023-11-14,1000,", "1,2023-11-14,-40,R1", "1,2023-11-14,20,")
    lines = "\n".join((*rows, "1,2023-11-14,10,")).encode()

    told = json.loads(office.reconcile("--statement", "-", "--json", stdin=lines).out)

    assert told["summary"]["matched_by"] == {"reference": 1, "day": 2}
    assert [(one["finding"], one["line"], one["theirs"]) for one in told["findings"]] == [("only-theirs", 4, "20")]
