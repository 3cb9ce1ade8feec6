"""The command line as people use it: on a real data folder, beside a service in a process of its own."""

import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from service.cli.demo_steps import sample_files
from service.cli.main import main
from service.cli.terminal import console

ROOT = Path(__file__).parents[3]
COMMAND_SECONDS_MAX = 60
SAMPLES = {sample.name: sample for sample in sample_files()}
ISSUED = SAMPLES["pointsIssued.json"]


class Run(NamedTuple):
    """What a command printed, and how it ended."""

    code: object
    out: str
    err: str


def loyalty(*arguments: str, stdin: bytes = b"", environment: Mapping[str, str] = MappingProxyType({})) -> Run:
    """Run a command to its end, in this process: starting one takes a second. Nothing configured here is passed on."""
    out, err = io.StringIO(), io.StringIO()
    on_terminate = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(os, "environ", {**clean_environment(), **environment})
        patch.setattr(sys, "argv", ["loyalty", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main()
    signal.signal(signal.SIGTERM, on_terminate)
    return Run(end.value.code, out.getvalue(), err.getvalue())


def clean_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name != "DATABASE_URL" and not name.startswith("LOYALTY_")
    }


def refusal(*arguments: str, code: int | None = None, **environment: str) -> str:
    """Run a command that must fail, with an exit code if one is given; return its one line."""
    run = loyalty(*arguments, environment=environment)
    lines = run.err.splitlines()

    assert run.code in ((1, 2, 3) if code is None else (code,)), run
    assert run.out == ""
    assert len(lines) == 1, lines
    return lines[0]


class Served(NamedTuple):
    """A data folder with a service on it."""

    folder: str
    url: str

    def ask(self, *arguments: str, stdin: bytes = b"") -> Any:
        """Run a command with --json and read its answer."""
        run = loyalty(*arguments, "--json", "--data", self.folder, stdin=stdin)
        assert run.code == 0, run
        return json.loads(run.out)

    def connection(self, **options: str) -> Mapping[str, Any]:
        """Make a connection into the ledger `acme`, Capillary's unless the options name another source."""
        given = [f"--{name}={value}" for name, value in ({"source": "capillary"} | options).items()]
        made: Mapping[str, Any] = self.ask("connection", "create", "--ledger", "acme", *given)
        return made

    def import_file(self, path: Path | str, connection: Mapping[str, Any], stdin: bytes = b"") -> Mapping[str, Any]:
        """Import a file over a connection."""
        told: Mapping[str, Any] = self.ask(
            "import", str(path), f"--connection={connection['connection_id']}", stdin=stdin
        )
        return told


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service on a free port; give its process and URL."""
    command = [sys.executable, "-m", "service.cli.main", "serve", "--port", "0", "--data", str(folder), *options]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("Listening on http://127.0.0.1:"), line
        yield process, line.split()[-1]
    finally:
        process.terminate()
        process.wait(COMMAND_SECONDS_MAX)
        process.stdout.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("cli") / "data"
    with serving(folder) as (_, url):
        served = Served(str(folder), url)
        assert served.ask("ledger", "create", "acme") == {"ledger": "acme"}
        yield served


def get(url: str, key: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310  # http, ours
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return json.load(response)


def test_a_new_connection_says_what_to_enter_at_the_vendor(served: Served) -> None:
    made = served.connection(source="voucherify", kind="redemption.succeeded", secret="shown-by-the-vendor")

    identifier = made["connection_id"]
    assert made == {
        "connection_id": identifier,
        "label": "",
        "ledger": "acme",
        "source": "voucherify",
        "kind": "redemption.succeeded",
        "scheme": "voucherify",
        "header": "x-voucherify-signature",
        "secret": "shown-by-the-vendor",
        "url": f"{served.url}/v1/hooks/{identifier}",
        "path": f"/v1/hooks/{identifier}",
    }


def test_a_delivery_by_the_printed_url_is_answered_with_the_printed_key(served: Served) -> None:
    made = served.connection()
    key = served.ask("key", "create", "--ledger", "acme", "--scope", "read", "--scope", "audit")
    delivery = urllib.request.Request(  # noqa: S310
        made["url"], ISSUED.read_bytes(), {made["header"]: made["secret"]}
    )

    with urllib.request.urlopen(delivery, timeout=10) as response:  # noqa: S310
        position = json.load(response)["events"][0]["position"]
    account = f"/v1/accounts/87884897:838:points?at=2023-06-01T00:00:00Z&min_position={position}"

    assert get(served.url + account, key["key"])["available"] == "165"
    assert key["scopes"] == ["audit", "read"]
    assert key["key"].startswith(f"ll_{key['key_id']}_")


def test_an_exported_ledger_is_put_back_into_another_data_folder(served: Served, tmp_path: Path) -> None:
    served.import_file(SAMPLES["customerAdded.json"], served.connection())
    file, there = tmp_path / "acme.ndjson.zst", str(tmp_path / "there")
    key = f"--exporter-key={served.folder}/master.key"

    assert loyalty("export", "--ledger=acme", f"--output={file}", "--with-keys", "--data", served.folder).code == 0
    assert "the keys are wrapped by" in refusal("import", f"--exported={file}", "--ledger=acme", "--data", there)
    back = loyalty("import", f"--exported={file}", "--ledger=acme", key, "--json", "--data", there)
    digests = [loyalty("digest", "--ledger=acme", "--json", "--data", folder).out for folder in (served.folder, there)]

    assert json.loads(back.out)["events"] == json.loads(digests[0])["position"]
    assert digests[0] == digests[1]


def test_replay_gives_the_same_digest(served: Served) -> None:
    served.import_file(SAMPLES["pointsRedeemed.json"], served.connection())

    before = served.ask("digest", "--ledger", "acme")
    report = served.ask("rebuild")
    after = served.ask("digest", "--ledger", "acme")

    assert report["differing"] == {}
    assert report["events"] == before["position"] > 0
    assert after == before
    assert served.ask("digest") == {"acme": {name: value for name, value in after.items() if name != "ledger"}}


def test_a_rotated_connection_has_two_secrets_until_it_is_settled(served: Served) -> None:
    connection = served.connection()["connection_id"]

    rotated = served.ask("connection", "rotate", connection, "--secret=the-next-secret")
    live = [one["live_secrets"] for one in served.ask("connection", "list") if one["connection_id"] == connection]
    loyalty("connection", "settle", connection, "--data", served.folder)
    settled = [one["live_secrets"] for one in served.ask("connection", "list") if one["connection_id"] == connection]

    assert rotated == {"connection_id": connection, "header": "x-webhook-secret", "secret": "the-next-secret"}
    assert (live, settled) == ([2], [1])


def test_terms_that_were_set_are_listed(served: Served) -> None:
    named = ("--ledger", "acme", "--programme", "capillary:1:gold", "--time-zone", "Asia/Kolkata")
    said = ("--expiry", "fixed", "--years", "1", "--round-to-end-of", "march", "--ratio", "0.50", "--currency", "INR")

    served.ask("terms", "set", *named, "--effective-from", "2026-01-01", *said, "--new-programme")

    [terms] = [one for one in served.ask("terms", "list", "--ledger", "acme") if one["programme"] == "capillary:1:gold"]
    assert (terms["effective_from"], terms["time_zone"]) == ("2025-12-31T18:30:00Z", "Asia/Kolkata")
    assert (terms["expiry"], terms["worth"]) == ("12 months after earning, to the end of march", "0.5 INR")


def test_a_disabled_connection_takes_no_import(served: Served) -> None:
    connection = served.connection()["connection_id"]
    assert loyalty("connection", "disable", connection, "--data", served.folder).code == 0

    line = refusal("import", "-", f"--connection={connection}", "--data", served.folder)

    assert "There is no connection of this id, or it is disabled." in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ledger", "create", "acme"), "This name is in use; choose another one. (acme)"),
        (("ledger", "create", "Acme Inc"), "a ledger's name has 1 to 63 characters"),
        (("connection", "create", "--ledger", "none", "--source", "capillary"), "There is no ledger of this name."),
        (("connection", "create", "--ledger", "acme", "--source", "sap"), "unknown source 'sap'; choose one of"),
        (("connection", "create", "--ledger", "acme", "--source", "voucherify"), "the vendor makes the secret"),
        (
            ("connection", "create", "--ledger", "acme", "--source", "fabric", "--kind", "nonsense.kind"),
            "fabric has no kind 'nonsense.kind'; it has",
        ),
        (("connection", "create", "--ledger", "acme", "--source", "fabric", "--secret", ""), "the secret is empty"),
        (
            ("connection", "create", "--ledger", "acme", "--source", "fabric", "--secret-file", "/nowhere"),
            "--secret-file cannot be read: No such file",
        ),
        (
            ("connection", "create", "--ledger", "acme", "--source", "fabric", "--secret=a-secret", "--secret-file=-"),
            "--secret or --secret-file, not both",
        ),
        (("key", "create", "--ledger", "acme", "--scope", "all"), "a scope must be one of read,"),
        (("key", "create", "--ledger", "acme", "--scope", "ingest"), "a scope must be one of read,"),
        (("key", "revoke", "0", "--ledger", "acme"), "the ledger has no API key '0'"),
        (("import", "--connection=none", "-"), "There is no connection of this id"),
        (("digest", "--ledger", "none"), "There is no ledger of this name."),
    ],
)
def test_a_mistake_is_told_in_one_line(served: Served, arguments: tuple[str, ...], says: str) -> None:
    assert says in refusal(*arguments, "--data", served.folder)


@pytest.mark.parametrize(
    "url",
    ["foo", "foo.example.com", "ftp://x", "https://", "https://x:0", "https://a b", "https://u:p@x", "https://x?a=1"],
)
def test_a_public_url_that_vendors_cannot_reach_is_refused(served: Served, url: str) -> None:
    arguments = ("connection", "create", "--ledger", "acme", "--source", "fabric", "--data", served.folder)

    assert "LOYALTY_PUBLIC_URL" in refusal(*arguments, LOYALTY_PUBLIC_URL=url)


def test_a_secret_comes_from_a_file_or_from_standard_input(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("kept-in-a-file\n")

    made = served.connection(**{"secret-file": str(file)})
    rotated = served.ask("connection", "rotate", made["connection_id"], "--secret-file=-", stdin=b"typed-or-piped\r\n")

    assert (made["secret"], rotated["secret"]) == ("kept-in-a-file", "typed-or-piped")


@pytest.mark.parametrize(
    ("arguments", "says", "is_not_said"),
    [
        (("--source", "fabric"), ("header  x-webhook-secret", "secret  "), ()),
        (
            ("--source", "voucherify", "--secret", "shown-by-the-vendor"),
            ("Enter the URL at Voucherify", "x-voucherify-signature"),
            ("shown-by-the-vendor",),
        ),
        (("--source", "fabric", "--scheme", "standard-webhooks"), ("secret  whsec_", "rotate"), ("header",)),
    ],
)
def test_a_new_connection_says_by_its_scheme_what_to_enter_and_what_to_copy(
    served: Served, arguments: tuple[str, ...], says: tuple[str, ...], is_not_said: tuple[str, ...]
) -> None:
    run = loyalty("connection", "create", "--ledger", "acme", *arguments, "--data", served.folder)

    assert run.code == 0
    assert all(one in run.out for one in (*says, "  URL     http"))
    assert not any(one in run.out for one in is_not_said)


def test_a_file_that_is_not_there_is_told_in_one_line(served: Served, tmp_path: Path) -> None:
    connection = served.connection()["connection_id"]

    line = refusal("import", f"{tmp_path}/none", f"--connection={connection}", "--data", served.folder, code=2)

    assert line == f"error: No such file or directory: {tmp_path}/none"


def test_a_taken_port_is_told_in_one_line(served: Served) -> None:
    port = served.url.rpartition(":")[2]

    run = loyalty("serve", "--port", port, "--data", served.folder)

    assert run.code == 3
    assert run.err.splitlines()[-1] == f"error: Cannot listen on port {port} of 127.0.0.1: Address already in use"


def test_another_master_key_opens_no_connection(served: Served) -> None:
    served.connection()

    line = refusal("connection", "list", "--data", served.folder, code=3, LOYALTY_MASTER_KEY="A" * 43 + "=")

    assert "or this ledger was encrypted with another one" in line


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://someone:secret@127.0.0.1:1/loyalty", "(database loyalty on 127.0.0.1: Connection refused)"),
        ("mysql://127.0.0.1/loyalty", "(DATABASE_URL cannot be read as postgresql://user:password@host:port/database)"),
    ],
)
def test_a_wrong_database_url_is_told_in_one_line(address: str, says: str) -> None:
    line = refusal("ledger", "list", code=3, DATABASE_URL=address)

    assert says in line
    assert "secret" not in line


def test_a_wrong_setting_is_told_in_one_line() -> None:
    assert "LOYALTY_PORT: Input should be a valid integer" in refusal("ledger", "list", LOYALTY_PORT="http")


def test_a_command_that_is_not_understood_ends_with_two() -> None:
    assert loyalty("key", "create").code == 2


def test_a_process_of_its_own_tells_a_mistake_without_a_traceback() -> None:
    command = [sys.executable, "-m", "service.cli.main", "import", "--connection=none", "none"]
    environment = clean_environment() | {"DATABASE_URL": "postgresql://127.0.0.1:1/loyalty"}

    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1


def test_the_vendors_are_listed_with_a_sample_of_each_event() -> None:
    listed = json.loads(loyalty("vendors", "--source", "ascenda", "--json").out)

    assert listed[0] == {
        "source": "ascenda",
        "kind": "order_item.fulfillment.confirmed",
        "shape": "Fulfilment",
        "subject_kinds": ["account", "order_item"],
        "personal_keys": ["first_name", "last_name", "number"],
        "sample": "order_item.fulfillment.confirmed.json",
    }


def test_a_service_stops_in_order_and_leaves_no_server_behind(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with serving(folder) as (process, url):
        assert (folder / "service.url").read_text() == f"{url}\n"
        process.terminate()

        assert process.wait(COMMAND_SECONDS_MAX) == 0

    assert not (folder / "service.url").exists()
    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_a_database_url_with_a_port_that_is_none_is_told_in_one_line() -> None:
    line = refusal("ledger", "list", DATABASE_URL="postgresql://loyalty:secret@host:port/loyalty")

    assert "DATABASE_URL cannot be read" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    "arguments",
    [("ledger", "list"), ("reconcile", "--ledger=acme"), ("import", "-", "--connection=x")],
)
def test_a_command_in_the_wrong_folder_makes_no_database(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    folder = tmp_path / "typo"

    line = refusal(*arguments, "--data", str(folder), code=3)

    assert str(folder) in line
    assert "--data DIR" in line
    assert not folder.exists()


def test_a_service_that_stops_leaves_the_address_of_another(served: Served) -> None:
    command = [
        sys.executable,
        "-m",
        "service.cli.main",
        "serve",
        "--port",
        "0",
        "--no-project",
        "--data",
        served.folder,
    ]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    second = process.stdout.readline().split()[-1]

    both = served.connection()["url"]
    process.terminate()
    process.stdout.close()
    assert process.wait(COMMAND_SECONDS_MAX) == 0

    assert both.startswith(second)
    assert served.connection()["url"].startswith(served.url)


def test_an_address_at_which_nothing_listens_is_said_to_be_a_guess(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    place = ("--data", str(folder))
    assert loyalty("ledger", "create", "acme", *place).code == 0
    (folder / "service.url").write_text("http://127.0.0.1:1\n")  # of a service that was killed

    run = loyalty("connection", "create", "--ledger=acme", "--source=capillary", "--json", *place)

    assert json.loads(run.out)["url"].startswith("http://127.0.0.1:8080/")
    assert "No running service was found" in run.err


def test_terms_of_an_unknown_programme_are_refused_and_the_known_ones_named(served: Served) -> None:
    served.import_file(ISSUED, served.connection())
    said = ("--effective-from=2026-01-01", "--time-zone=UTC", "--ledger=acme")
    before = served.ask("digest", "--ledger=acme")["position"]

    line = refusal("terms", "set", "--programme=capillary:150956:9999", *said, "--data", served.folder, code=2)

    assert "capillary:150956:838" in line
    assert "--new-programme" in line
    assert served.ask("digest", "--ledger=acme")["position"] == before
    assert served.ask("terms", "set", "--programme=838", *said)["programme"] == "capillary:150956:838"


def test_one_subject_is_folded_again_in_the_ledger_that_is_named(served: Served) -> None:
    served.import_file(ISSUED, served.connection())
    subject = "--subject=account:capillary:150956:87884897"

    assert loyalty("rebuild", subject, "--data", served.folder).code == 2
    assert served.ask("rebuild", subject, "--ledger=acme") == {"folded": ["acme account capillary:150956:87884897"]}


def test_keys_are_listed_by_their_labels_and_shown_with_what_they_looked_at(served: Served) -> None:
    made = served.ask("key", "create", "--ledger=acme", "--scope=audit", "--label=Jane of support")
    plain = served.ask("key", "create", "--ledger=acme", "--scope=audit")
    served.ask("key", "revoke", plain["key_id"], "--ledger=acme")

    get(f"{served.url}/v1/audit/access?reason=a%20look", made["key"])
    looks = get(f"{served.url}/v1/audit/access", made["key"])["items"]
    listed = {one["key_id"]: one for one in served.ask("key", "list", "--ledger=acme")}

    assert {(one["key_id"], one["label"]) for one in looks if one["label"]} == {(made["key_id"], "Jane of support")}
    assert {one["key_id"] for one in looks} == {made["key_id"], "operator"}  # of the commands above
    assert (listed[made["key_id"]]["label"], listed[made["key_id"]]["revoked_at"]) == ("Jane of support", None)
    assert listed[plain["key_id"]]["revoked_at"] is not None
    assert "secret" not in json.dumps(list(listed.values()))


def test_a_disabled_connection_is_enabled_again_with_its_secret(served: Served) -> None:
    made = served.connection(label="India, production")
    served.ask("connection", "disable", made["connection_id"])
    served.ask("connection", "enable", made["connection_id"])

    [listed] = [one for one in served.ask("connection", "list") if one["connection_id"] == made["connection_id"]]

    assert (listed["label"], listed["disabled_at"]) == ("India, production", None)
    assert served.import_file(ISSUED, made)["lines"] == 1
    assert "There is no connection" in refusal("connection", "enable", "0" * 32, "--data", served.folder, code=3)


def test_a_label_is_one_line(served: Served) -> None:
    line = refusal("key", "create", "--ledger=acme", "--label=two\nlines", "--data", served.folder, code=2)

    assert "a label is printable text of at most 100 characters" in line


def test_an_id_is_printed_in_one_piece_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connection_id = "4f" * 16
    monkeypatch.setattr(console, "OUT", Console(width=40))

    console.show_table(("connection_id", "source", "kind"), [(connection_id, "voucherify", "customer.loyalty.updated")])

    assert connection_id in capsys.readouterr().out.split()
