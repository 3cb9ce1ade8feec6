"""`loyalty import`: what it reads, what it stores, what it says, and how it ends."""

import gzip
import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from service.importing.deliveries import zstd
from tests.service.cli.test_cli import ROOT, SAMPLES, Served, clean_environment, loyalty, refusal, serving
from tests.support.payloads import issued, sample

MARK = b"\xef\xbb\xbf"
NOTHING = {"conflicts": 0, "unreadable": 0, "too_long": [], "unreadable_lines": []}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("import") / "data"
    with serving(folder) as (_, url):
        served = Served(str(folder), url)
        served.ask("ledger", "create", "acme")
        yield served


def told_by(served: Served, stdin: bytes, *options: str, code: int = 0) -> dict[str, Any]:
    """Import standard input over a new connection of Capillary; give the answer with --json."""
    connection = served.connection()["connection_id"]
    arguments = ("import", "-", f"--connection={connection}", "--json", "--data", served.folder, *options)
    run = loyalty(*arguments, stdin=stdin)
    assert run.code == code, run
    answer: dict[str, Any] = json.loads(run.out)
    return answer


def events_of(served: Served) -> int:
    [events] = [one["events"] for one in served.ask("ledger", "list") if one["ledger"] == "acme"]
    return int(events)


def three(first: int) -> list[Mapping[str, Any]]:
    return [json.loads(issued(f"file-{n}", n, 77, 10)) for n in range(first, first + 3)]


def test_an_import_run_twice_appends_once(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "history.ndjson.gz"
    lines = [json.dumps(json.loads(SAMPLES[name].read_bytes())) for name in ("tierUpgraded.json", "cardUpdated.json")]
    file.write_bytes(gzip.compress("\r\n\n".join(lines).encode()))
    connection = served.connection()

    first = served.import_file(file, connection)
    second = served.import_file("-", connection, stdin=gzip.decompress(file.read_bytes()))

    same = {"lines": 2, "kinds": {"cardUpdated": 1, "tierUpgraded": 1}, **NOTHING}
    assert first == {"appended": 2, "duplicates": 0, **same}
    assert second == {"appended": 0, "duplicates": 2, **same}


def test_a_document_over_several_lines_is_one_delivery(served: Served) -> None:
    told = served.import_file(SAMPLES["customerAdded.json"], served.connection())

    assert (told["lines"], told["unreadable"]) == (1, 0)


@pytest.mark.parametrize(
    ("form", "packed", "mark"),
    [
        ("lines", "", MARK),
        ("printed", ".gz", b""),
        ("array", ".zst", MARK),
        ("printed array", "", MARK),
        ("crlf", ".gz", MARK),
    ],
)
def test_a_history_is_read_whatever_form_it_has(
    served: Served, tmp_path: Path, form: str, packed: str, mark: bytes
) -> None:
    told = three(100)
    text = {
        "lines": "\n".join(map(json.dumps, told)),
        "printed": "\n".join(json.dumps(one, indent=2) for one in told),
        "array": json.dumps(told),
        "printed array": json.dumps(told, indent=4),
        "crlf": "\r\n\r\n".join(map(json.dumps, told)),
    }[form]
    content = mark + text.encode()
    file = tmp_path / f"history.json{packed}"
    file.write_bytes({"": content, ".gz": gzip.compress(content), ".zst": zstd.compress(content)}[packed])

    answer = served.import_file(file, served.connection())

    assert (answer["lines"], answer["unreadable"], answer["kinds"]) == (3, 0, {"pointsIssued": 3})
    assert answer["appended"] + answer["duplicates"] == 3
    assert answer.get("repaired") == ({"lines": 0, "places": {"byte order mark": 1}} if mark else None)


def test_a_file_in_which_every_line_is_damaged_is_repaired_line_by_line(served: Served) -> None:
    damaged = b"\n".join(json.dumps(one).encode()[:-1] + b",}" for one in three(200))

    told = told_by(served, damaged, "--repair")

    assert (told["lines"], told["appended"], told["unreadable"]) == (3, 3, 0)
    assert told["repaired"] == {"lines": 3, "places": {"trailing comma": 3}}


def test_a_file_that_cannot_be_read_stores_nothing(served: Served) -> None:
    before = events_of(served)

    told = told_by(served, b"\n".join(json.dumps(one).encode()[:-1] for one in three(300)), code=1)

    assert (told["lines"], told["appended"], told["unreadable"], told["unreadable_lines"]) == (3, 0, 3, [1, 2, 3])
    assert events_of(served) == before


def test_a_line_that_cannot_be_read_is_left_out_unless_it_is_to_be_quarantined(served: Served) -> None:
    text = b'{"left": 1}\nnot JSON\n{"left": 2}\n'

    without = told_by(served, text, code=1)
    with_it = told_by(served, text, "--quarantine")
    again = told_by(served, text, "--quarantine")

    assert (without["appended"], without["unreadable"]) == (2, 1)
    assert (with_it["appended"], with_it["duplicates"], with_it["unreadable"]) == (1, 2, 1)
    assert (again["appended"], again["duplicates"]) == (0, 3)


def test_a_line_that_cannot_be_stored_is_named_and_the_others_are_kept(served: Served) -> None:
    connection = served.connection()["connection_id"]
    lines = b'{"n": 1}\n' + b"x" * (1024 * 1024 + 1) + b'\n{"n": 2}\n'

    run = loyalty("import", "-", f"--connection={connection}", "--json", "--data", served.folder, stdin=lines)

    assert run.code == 1
    told = json.loads(run.out)
    assert (told["lines"], told["appended"], told["too_long"]) == (2, 2, [2])
    assert "line 2." in run.err
    assert "2 events are of an unknown kind" in run.err


def test_a_dry_run_counts_and_stores_nothing(served: Served) -> None:
    stored, new = three(400), three(402)
    told_by(served, "\n".join(map(json.dumps, stored)).encode())
    before = events_of(served)
    other = {**new[2], "data": {**new[2]["data"], "pointsIssued": 11}}
    text = "\n".join([*map(json.dumps, [*new, new[1], other]), "not JSON"]).encode()

    told = told_by(served, text, "--dry-run", code=1)
    after = events_of(served)
    done = told_by(served, text, code=1)

    assert (told["appended"], told["duplicates"], told["conflicts"], told["unreadable"]) == (2, 2, 1, 1)
    assert told["kinds"] == {"pointsIssued": 5}
    assert told.pop("dry_run") is True
    assert after == before
    assert done == told


def test_lines_that_are_not_json_are_repaired_on_request(served: Served) -> None:
    connection = served.connection()["connection_id"]
    arguments = ("import", "-", f"--connection={connection}", "--repair", "--json", "--data", served.folder)

    run = loyalty(*arguments, "--quarantine", stdin=b'{"repaired": [1, 2,],}\n{"sound": 1}\nnot to be repaired\n')

    told = json.loads(run.out)
    assert (told["lines"], told["appended"], told["unreadable"]) == (3, 3, 1)
    assert told["repaired"] == {"lines": 1, "places": {"trailing comma": 2}}
    assert "trailing comma 2" in run.err


def test_a_damaged_file_is_told_in_one_line(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "cut.gz"
    file.write_bytes(gzip.compress(b'{"n": 3}\n' * 100)[:-9])
    connection = served.connection()["connection_id"]

    for more in ((), ("--workers=2",)):
        line = refusal("import", str(file), f"--connection={connection}", *more, "--data", served.folder, code=1)

        assert "the deliveries before the damage are appended" in line


def test_no_process_is_started_for_a_small_file(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_method: str) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr(multiprocessing, "get_context", refuse)

    told = told_by(served, b"".join(b'{"packed": %d}\n' % number for number in range(50)), "--workers=4")

    assert (told["lines"], told["appended"]) == (50, 50)


def test_a_large_file_is_imported_by_workers(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("service.cli.import_file.PARALLEL_BYTES_MIN", 100)
    file = tmp_path / "large.ndjson.zst"
    file.write_bytes(zstd.compress(b"".join(b'{"large": %d}\n' % number for number in range(50))))
    connection = served.connection()["connection_id"]

    told = served.ask("import", str(file), f"--connection={connection}", "--workers=2")

    assert (told["lines"], told["appended"], told["kinds"]) == (50, 50, {"unknown": 50})


def test_an_interrupted_import_says_what_is_stored_and_how_to_go_on(served: Served) -> None:
    connection = served.connection()["connection_id"]
    command = (sys.executable, "-m", "service.cli.main", "import", "-", f"--connection={connection}", "--json")
    lines = [json.dumps({"interrupted": n}).encode() + b"\n" for n in range(2_500)]
    process = subprocess.Popen(
        [*command, "--data", served.folder], cwd=ROOT, env=clean_environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    before = events_of(served)
    process.stdin.write(b"".join(lines[:2_001]))
    process.stdin.flush()
    while events_of(served) < before + 1_000:  # the first block is stored
        pass
    process.send_signal(signal.SIGINT)
    process.stdin.close()
    assert process.stdout is not None
    assert process.stderr is not None
    out, said = process.stdout.read(), process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()

    assert process.wait(60) == 130
    assert out == b""
    assert "Run the same command again to continue" in said
    assert "Traceback" not in said
    again = loyalty(*command[3:], "--data", served.folder, stdin=b"".join(lines))
    assert json.loads(again.out)["lines"] == 2_500
    assert events_of(served) == before + 2_500


def test_the_samples_of_a_vendor_can_be_imported_as_one_array(served: Served) -> None:
    bodies = [sample("ascenda", name) for name in ("order_item.fulfillment.confirmed", "order_item.fulfillment.failed")]
    connection = served.connection(source="ascenda")["connection_id"]

    told = served.ask("import", "-", f"--connection={connection}", stdin=b"[" + b",".join(bodies) + b"]")

    assert (told["lines"], told["appended"], told["unreadable"]) == (2, 2, 0)
