"""Real servers in temporary folders: made, shared, killed, recovered, and refused when something is amiss."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from ledger.errors import EmbeddedPostgresFailed
from service.embedded.cluster import Cluster, temporary_path
from service.embedded.server import EmbeddedPostgres

ROOT = Path(__file__).parents[3]
SMALL = {"shared_buffers": "16MB"}
DEATH_SECONDS_MAX = 20
USER_OF_THE_FOLDER = f"""
import sys
from pathlib import Path
from service.embedded.server import EmbeddedPostgres

with EmbeddedPostgres.start(Path(sys.argv[1]), settings={SMALL!r}):
    print("in", flush=True)
    sys.stdin.read()
"""


def start(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres.start(folder, settings=SMALL)


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the folder until its standard input is closed."""
    command = [sys.executable, "-c", USER_OF_THE_FOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        assert process.stdout.readline() == "in\n"
        yield process


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def server_pid(folder: Path) -> int | None:
    pid_file = folder / "postgres" / "postmaster.pid"
    return int(pid_file.read_text().splitlines()[0]) if pid_file.exists() else None


def kill_server(folder: Path) -> None:
    pid = server_pid(folder)
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not answers(folder))


def answers(folder: Path) -> bool:
    return Cluster.at(folder, None).ask("pg_isready").returncode == 0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEATH_SECONDS_MAX
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def write(postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('kept')")
    await connection.close()


async def read(postgres: EmbeddedPostgres) -> object:
    return await ask(postgres, "SELECT word FROM kept")


async def ask(postgres: EmbeddedPostgres, question: str) -> object:
    connection = await asyncpg.connect(postgres.dsn())
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_the_first_start_makes_a_cluster_and_a_later_one_finds_its_data(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        await write(first)
    assert not answers(tmp_path)

    with start(tmp_path) as second:
        assert await read(second) == "kept"


async def test_the_server_is_as_durable_and_as_silent_as_a_ledger_needs(tmp_path: Path) -> None:
    with start(tmp_path) as postgres:
        assert await ask(postgres, "SHOW fsync") == "on"
        assert await ask(postgres, "SHOW synchronous_commit") == "on"
        assert await ask(postgres, "SHOW data_checksums") == "on"
        assert await ask(postgres, "SHOW listen_addresses") == ""
        assert await ask(postgres, "SHOW log_error_verbosity") == "terse"
        assert await ask(postgres, "SHOW server_encoding") == "UTF8"


def test_a_second_process_shares_the_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    first = start(tmp_path)
    pid = server_pid(tmp_path)

    with another_process(tmp_path):
        assert server_pid(tmp_path) == pid
        first.close()
        first.close()
        assert answers(tmp_path)

    assert not answers(tmp_path)
    assert server_pid(tmp_path) is None


def test_processes_that_start_at_once_make_one_cluster_and_one_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", USER_OF_THE_FOLDER, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(4)
    ]

    outcomes = [(process.communicate()[0], process.returncode) for process in processes]

    assert outcomes == [("in\n", 0)] * 4
    assert not answers(tmp_path)


def test_a_killed_user_leaves_nothing_behind_that_keeps_the_server_up(tmp_path: Path) -> None:
    with another_process(tmp_path) as other:
        other.kill()
    assert answers(tmp_path)

    start(tmp_path).close()

    assert not answers(tmp_path)


async def test_what_was_committed_survives_the_kill_of_the_server(tmp_path: Path) -> None:
    with start(tmp_path) as before:
        await write(before)
        kill_server(tmp_path)

        with start(tmp_path) as after:
            assert await read(after) == "kept"
            assert await read(before) == "kept"

    assert not answers(tmp_path)


async def test_a_supervised_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    with start(tmp_path) as postgres:
        await write(postgres)
        supervision = asyncio.create_task(postgres.supervise())
        kill_server(tmp_path)

        await asyncio.to_thread(wait_until, lambda: answers(tmp_path))

        assert await read(postgres) == "kept"
        supervision.cancel()

    assert not answers(tmp_path)


def test_closing_after_the_server_was_killed_is_quiet(tmp_path: Path) -> None:
    with start(tmp_path):
        kill_server(tmp_path)

    start(tmp_path).close()


@pytest.mark.parametrize("alive", [True, False], ids=["a stranger", "a zombie"])
def test_the_pid_of_a_dead_server_may_belong_to_another_process_by_now(tmp_path: Path, alive: bool) -> None:
    start(tmp_path).close()
    owner = (tmp_path / "postgres").stat()
    program = ["sleep", "60"] if alive else ["true"]
    with subprocess.Popen(program, user=owner.st_uid, group=owner.st_gid) as other:
        if not alive:
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        pid_file = tmp_path / "postgres" / "postmaster.pid"
        pid_file.write_text(f"{other.pid}\n{tmp_path}/postgres\n1700000000\n5432\n{tmp_path}/socket\n\n\nready\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)

        with start(tmp_path):
            assert server_pid(tmp_path) != other.pid

        assert (other.poll() is None) == alive
        other.kill()


def test_a_missing_cluster_is_never_replaced_by_an_empty_one(tmp_path: Path) -> None:
    start(tmp_path).close()
    (tmp_path / "postgres").rename(tmp_path / "elsewhere")

    with pytest.raises(EmbeddedPostgresFailed, match="is missing, but"):
        start(tmp_path)

    assert not (tmp_path / "postgres").exists()


def test_a_missing_password_is_named(tmp_path: Path) -> None:
    start(tmp_path).close()
    (tmp_path / "postgres.password").unlink()

    with pytest.raises(EmbeddedPostgresFailed, match=r"postgres\.password is missing"):
        start(tmp_path)


async def test_a_making_that_was_cut_off_is_begun_again_or_finished(tmp_path: Path) -> None:
    (tmp_path / "postgres.new" / "base").mkdir(parents=True)
    (tmp_path / "postgres.password.new").write_text("half")
    start(tmp_path).close()
    password = tmp_path / "postgres.password"
    password.rename(temporary_path(password))

    with start(tmp_path) as postgres:
        assert await ask(postgres, "SELECT current_user::text") == "loyalty"

    assert not (tmp_path / "postgres.new").exists()


def test_only_its_own_user_reaches_the_cluster(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with start(folder):
        sockets = Cluster.at(folder, None).sockets
        assert mode(sockets) == 0o700
        assert mode(sockets / ".s.PGSQL.5432") == 0o700

    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "postgres": 0o700,
        "postgres.password": 0o600,
        "start.lock": 0o600,
        "in-use.lock": 0o600,
    }
    assert mode(folder) == (0o701 if os.geteuid() == 0 else 0o700)


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    with start(tmp_path) as postgres:
        right = (tmp_path / "postgres.password").read_text()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.dsn().replace(right, "wrong"))

    (tmp_path / "postgres.password").write_text("wrong")
    with pytest.raises(EmbeddedPostgresFailed, match="password authentication failed"):
        start(tmp_path)
    assert not answers(tmp_path)


def test_a_setting_that_postgres_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresFailed, match='invalid value for parameter "shared_buffers"'):
        EmbeddedPostgres.start(tmp_path, settings={"shared_buffers": "plenty"})

    start(tmp_path).close()


def test_the_server_holds_none_of_our_locks_and_hears_no_interrupt_of_ours(tmp_path: Path) -> None:
    with start(tmp_path):
        pid = server_pid(tmp_path)
        assert pid
        held = Cluster.at(tmp_path, None).serve("/bin/ls", "-l", f"/proc/{pid}/fd").stdout

        assert "server.log" in held
        assert "in-use.lock" not in held
        assert "start.lock" not in held
        assert os.getsid(pid) != os.getsid(0)


@pytest.mark.parametrize("name", ["n" * 120, "a folder, $HOME \"quoted\" 'twice'"], ids=["long", "odd"])
async def test_a_folder_whose_name_no_socket_can_have_is_served_from_another(tmp_path: Path, name: str) -> None:
    with start(tmp_path / name) as postgres:
        assert await ask(postgres, "SELECT 1") == 1
        sockets = Cluster.at(tmp_path / name, None).sockets

    assert sockets.parent == Path("/tmp")  # noqa: S108
    assert not sockets.exists()


def test_a_squatter_in_place_of_the_socket_folder_is_refused(tmp_path: Path) -> None:
    start(tmp_path).close()
    squatted = Cluster.at(tmp_path, None).sockets
    squatted.mkdir()
    squatted.chmod(0o755)

    with pytest.raises(EmbeddedPostgresFailed, match="must be a folder with mode 0700"):
        start(tmp_path)

    squatted.rmdir()


async def test_another_postgres_can_be_named(tmp_path: Path, installed_postgres: Path) -> None:
    with EmbeddedPostgres.start(tmp_path, binaries=installed_postgres, settings=SMALL) as postgres:
        assert await ask(postgres, "SELECT current_setting('server_version_num')::int >= 150000") is True


@pytest.fixture
def installed_postgres() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("this machine has no PostgreSQL of its own")
    return found[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves a copy that belongs to root")
def test_a_folder_that_root_has_copied_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres.password").write_text("x")

    with pytest.raises(EmbeddedPostgresFailed, match=r"belongs to root, as after `cp -r`.*copy with `cp -a`"):
        EmbeddedPostgres.start(tmp_path)
