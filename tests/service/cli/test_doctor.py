"""loyalty doctor names each fault and its remedy, and finds none in a sound installation."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.database_roles import create_login
from service.environment import Environment
from service.monitoring.doctor import Diagnosis, examine
from service.settings import Settings
from tests.service.cli.test_cli import ROOT, clean_environment
from tests.service.monitoring.test_conditions import Scene, dead_projector, failing_rule, missing_event, scene_of

KEY = base64.b64encode(bytes(range(32))).decode()
PASSWORD = "a-password-of-tests"


@pytest.fixture
async def scene(dsn: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A sound ledger. Its address logs in as a role of the service."""
    async with scene_of(dsn, tmp_path) as made:
        name = re.sub(r".*/(t_[0-9a-f]{16}).*", r"\1_doctor", dsn)
        await create_login(made.connection, name, PASSWORD)
        made.dsn = re.sub(r"//[^@]*@", f"//{name}:{PASSWORD}@", dsn)
        yield made


async def examined(scene: Scene, **changed: Any) -> dict[str, Diagnosis]:
    """Return the checks that are not ok, by name."""
    settings = Settings(database_url=scene.dsn, master_key=KEY, data=scene.folder, signer=scene.folder / "signer")
    settings = settings.model_copy(update=changed)
    found = await examine(Environment(settings.database_url or "", settings, embedded=False))
    return {one.check: one for one in found if one.status != "ok" and one.check != "database"}


async def test_a_sound_installation_has_no_problem(scene: Scene) -> None:
    assert await examined(scene) == {}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (dead_projector, "LoyaltyProjectorBehind"),
        (failing_rule, "LoyaltySubjectParked"),
        (missing_event, "LoyaltyDriftAtStake"),
    ],
)
async def test_a_condition_of_an_alert_is_named_with_its_remedy(scene: Scene, fault: Any, check: str) -> None:
    await fault(scene)

    found = await examined(scene)

    assert found.keys() == {check}
    assert found[check].status == "problem"
    assert "acme" in found[check].sentence
    assert found[check].act


async def test_another_master_key_is_noticed(scene: Scene) -> None:
    found = await examined(scene, master_key=base64.b64encode(bytes(32)).decode())

    assert found.keys() == {"keys"}
    assert "Restore the master key" in found["keys"].act


async def test_no_master_key_is_noticed_and_none_is_made(scene: Scene, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    found = await examined(scene, master_key=None, data=empty)

    assert found["keys"].sentence == "No master key is configured."
    assert not empty.exists()


async def test_a_folder_of_another_signer_is_a_warning_since_another_process_may_sign(scene: Scene) -> None:
    found = await examined(scene, signer=scene.folder / "other")

    assert found.keys() == {"signer"}
    assert found["signer"].status == "warning"


async def test_a_role_with_too_many_rights_is_noticed(scene: Scene, dsn: str) -> None:
    found = await examined(scene, database_url=dsn)

    assert found.keys() == {"roles"}
    assert "loyalty roles login" in found["roles"].act


async def test_another_schema_is_noticed_and_the_rest_is_left_out(scene: Scene) -> None:
    await scene.connection.execute("UPDATE public.alembic_version SET version_num = '0007'")

    found = await examined(scene)

    assert found.keys() == {"schema"}


def test_the_command_ends_with_1_and_prints_json_when_the_database_is_away(tmp_path: Path) -> None:
    environment = clean_environment() | {"DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:1/none"}

    def doctor(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "service.cli.main", "doctor", *options]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    as_json, as_text = doctor("--json"), doctor()

    assert (as_json.returncode, as_text.returncode) == (1, 1), as_json.stderr
    [database, *_] = json.loads(as_json.stdout)["checks"]
    assert (database["check"], database["status"]) == ("database", "problem")
    assert "Start PostgreSQL" in as_text.stdout
    assert "secret" not in as_text.stdout + as_text.stderr + as_json.stdout
