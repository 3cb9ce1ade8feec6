"""A database of an earlier version is upgraded: it verifies, its rows are rebuilt, and its ledger and log go on.

tests/migrations/r0001/ holds a database of 0.1.0, with every published payload as an event, and its signer's folder.
The next schema adds a folder of its own; the old ones stay.
"""

import shutil
import subprocess
from pathlib import Path

import asyncpg
import pytest
from backports import zstd

import migrations
from ledger.database import connect
from ledger.privacy.encryption import MasterKey
from ledger.store.append import append
from ledger.store.registry import find_ledger
from ledger.transparency.signer import Signer
from ledger.transparency.tree_heads import sign_head
from projections import rebuild
from projections.engine.worker import catch_up
from service.audit.verify_ledger import verify_ledger
from service.database_roles import create_roles
from service.embedded.cluster import WHEEL_BINARIES
from service.embedded.server import EmbeddedPostgres
from service.embedded.system_user import wheel_folder
from tests.support.payloads import VAULT, delivery, issued

FOLDER = Path(__file__).parent
MASTER_KEY = MasterKey(bytes(range(32)))
EVENTS = 134
RELEASED = "r0001"  # the newest revision of a released version
PSQL = wheel_folder() / WHEEL_BINARIES / "psql"


@pytest.fixture
async def upgraded(dsn: str, postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> str:
    """A database of an earlier revision, migrated to the newest."""
    creator = await asyncpg.connect(postgres.dsn())
    name = f"{dsn.split('@/')[1].split('?')[0]}_old"
    await creator.execute(f"CREATE DATABASE {name}")
    await creator.close()
    old = postgres.dsn(name)
    connection = await asyncpg.connect(old)
    await create_roles(connection)
    await connection.close()
    script = zstd.decompress((FOLDER / request.param / "database.sql.zst").read_bytes())
    command = [str(PSQL), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--dbname={old}"]
    restored = subprocess.run(command, input=script, capture_output=True, check=False)  # noqa: ASYNC221
    assert restored.returncode == 0, restored.stderr

    assert await migrations.upgrade(old) == migrations.head()
    return old


def test_each_released_revision_has_a_database_here() -> None:
    folders = {folder.name for folder in FOLDER.iterdir() if (folder / "database.sql.zst").exists()}

    assert folders == {revision for revision in migrations.revisions() if revision <= RELEASED}


@pytest.mark.parametrize("upgraded", [RELEASED], indirect=True)
async def test_a_database_of_an_earlier_version_verifies_and_goes_on(upgraded: str, tmp_path: Path) -> None:
    revision = migrations.revisions()[0]
    shutil.copytree(FOLDER / revision / "signer", tmp_path / "signer")
    signer = Signer(tmp_path / "signer", site="logs.example")
    connection = await connect(upgraded)
    try:
        ledger = await find_ledger(connection, "acme")
        before = await verify_ledger(connection, upgraded, ledger, signer, master_key=MASTER_KEY)
        report = await rebuild.rebuild(upgraded, force=True)  # rows that a later version corrects differ
        [[result]] = await append(connection, VAULT, ledger.ledger_id, [delivery(issued("new", 0, 1, 10))])
        signed = await sign_head(connection, signer, ledger)
    finally:
        await connection.close()
    reader = await connect(upgraded)
    try:
        position = await catch_up(reader, ledger.ledger_id)
        after = await verify_ledger(reader, upgraded, ledger, signer, master_key=MASTER_KEY)
    finally:
        await reader.close()

    assert [finding for finding in before if not finding.holds] == []
    assert report.promoted
    assert (result.position, result.outcome, position, signed.size) == (EVENTS + 1, "appended", EVENTS + 1, EVENTS + 1)
    assert [finding for finding in after if not finding.holds] == []


@pytest.mark.parametrize(
    ("revision", "usable"),
    [(None, False), ("0012", False), ("r0000", False), (migrations.head(), True), ("r9999", True)],
)
def test_a_running_service_goes_on_when_its_database_is_migrated_to_a_newer_revision(
    revision: str | None, usable: bool
) -> None:
    assert migrations.is_usable(revision) == usable
