"""The wheel: it holds every file that is needed, and both commands run from it, far from a checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

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


def test_both_commands_run_from_the_wheel_in_an_empty_folder(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=empty)
    python = environment / "bin/python"
    install = ("install", "--no-deps", "--no-index", "--disable-pip-version-check", built[0])
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=empty)
    [packages] = (environment / "lib").glob("python*/site-packages")
    # What we depend on is that of this environment; its link to the checkout is not followed from here.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = (
        "import loyalty_verify, service.cli.demo, migrations as m; print(m.head(), m.__file__, loyalty_verify.__file__)"
    )
    assert run(python, "-c", where, cwd=empty).count(str(packages)) == 2
    assert "Receive webhooks" in run(environment / "bin/loyalty", "serve", "--help", cwd=empty)
    assert "loyalty-verify" in run(environment / "bin/loyalty-verify", "--help", cwd=empty)
    assert list(empty.iterdir()) == []
