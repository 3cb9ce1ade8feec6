"""Back up with pg_dump as a role that may change nothing, restore into another cluster, and verify."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

import migrations
from ledger.database import connect
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.registry import create_ledger
from ledger.transparency.signer import Signer
from ledger.transparency.tree_heads import sign_head
from projections import rebuild
from projections.engine import generations
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from service.audit.verify_ledger import verify_ledger
from service.database_roles import apply_roles, create_roles
from service.embedded.cluster import WHEEL_BINARIES
from service.embedded.server import EmbeddedPostgres
from service.embedded.system_user import wheel_folder
from tests.service.cli.test_cli import ROOT, clean_environment
from tests.support.payloads import delivery, issued, sample

MASTER_KEY = MasterKey(bytes(range(32)))
TEST_BINARIES = os.environ.get("LOYALTY_TEST_POSTGRES")
BINARIES = Path(TEST_BINARIES) if TEST_BINARIES else wheel_folder() / WHEEL_BINARIES
QUICK = {"fsync": "off", "full_page_writes": "off"}


def run(program: str, dsn: str, *arguments: str) -> str:
    """Run a program of PostgreSQL on a database; return what it says on standard error."""
    done = subprocess.run(
        [BINARIES / program, *arguments, f"--dbname={dsn}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def cli(dsn: str, *arguments: str) -> None:
    """Run a command of ours on a database."""
    key = base64.b64encode(bytes(range(32))).decode()
    environment = clean_environment() | {"DATABASE_URL": dsn, "LOYALTY_MASTER_KEY": key}
    command = [sys.executable, "-m", "service.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def login_dsn(dsn: str, name: str) -> str:
    return re.sub(r"//[^@]*@", f"//{name}:x@", dsn)


async def own_database(postgres: EmbeddedPostgres, name: str) -> str:
    """Make a database whose owner is no superuser, as in production; return the owner's address."""
    maker = await asyncpg.connect(postgres.dsn())
    await maker.execute("CREATE ROLE owner LOGIN PASSWORD 'x' CREATEROLE")
    await maker.execute(f"CREATE DATABASE {name} OWNER owner")
    await maker.close()
    return login_dsn(postgres.dsn(name), "owner")


async def test_a_backup_by_the_role_for_it_restores_to_a_ledger_that_verifies(tmp_path: Path) -> None:
    file, signer = str(tmp_path / "loyalty.dump"), Signer(tmp_path / "signer", [], "example.com")
    binaries = Path(TEST_BINARIES) if TEST_BINARIES else None
    with EmbeddedPostgres.start(tmp_path / "here", binaries=binaries, settings=QUICK) as postgres:
        owner = await own_database(postgres, "here")
        await migrations.upgrade(owner)
        maker = await connect(owner)
        await maker.execute("CREATE ROLE web LOGIN PASSWORD 'x' IN ROLE loyalty_service")
        await maker.execute("CREATE ROLE backup LOGIN PASSWORD 'x' IN ROLE loyalty_backup")
        await maker.close()
        web = await connect(login_dsn(owner, "web"))
        await generations.ensure_active_generation(web)
        ledger = await create_ledger(web, "acme")
        vault = Vault(MASTER_KEY)
        await append(web, vault, ledger.ledger_id, [delivery(issued("a", 0, 1, 10)), delivery(issued("b", 1, 2, 5))])
        await append(web, vault, ledger.ledger_id, [delivery(sample("capillary", "customerAdded"))])
        await catch_up(web, ledger.ledger_id)
        await rebuild.rebuild(login_dsn(owner, "web"))  # so that there are two generations, one of them retired
        await sign_head(web, signer, ledger)
        before = await compute_digest(web, ledger.ledger_id)
        await web.close()
        exported = str(tmp_path / "acme.ndjson")
        cli(login_dsn(owner, "web"), "export", "--ledger=acme", f"--output={exported}", "--with-keys")
        cli(owner, "import", f"--exported={exported}", "--ledger=copy")  # the database's owner, after a service has run

        run("pg_dump", login_dsn(owner, "backup"), "--format=custom", "--enable-row-security", f"--file={file}")
        backup = await asyncpg.connect(login_dsn(owner, "backup"))
        for statement in ("UPDATE ledger.connections SET kind = 'x'", "DELETE FROM ledger.events", "CREATE TABLE t ()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await backup.execute(statement)
        await backup.close()

    with EmbeddedPostgres.start(tmp_path / "there", binaries=binaries, settings=QUICK) as postgres:
        await own_database(postgres, "there")
        superuser = postgres.dsn("there")
        empty = await asyncpg.connect(superuser)
        await create_roles(empty)
        await empty.close()

        run("pg_restore", superuser, "--exit-on-error", file)
        there = await connect(superuser)
        await apply_roles(there)
        await there.execute("CREATE ROLE web LOGIN PASSWORD 'x' IN ROLE loyalty_service")
        web = await connect(login_dsn(superuser, "web"))
        findings = await verify_ledger(
            there, superuser, ledger, signer, master_key=MASTER_KEY, older=None, replay=False
        )
        after = await compute_digest(there, ledger.ledger_id)
        await append(web, vault, ledger.ledger_id, [delivery(issued("c", 2, 1, 7))])

        assert [finding for finding in findings if not finding.holds] == []
        assert after == before
        assert await catch_up(web, ledger.ledger_id) == 4
        await there.close()
        await web.close()
