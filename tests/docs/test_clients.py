"""Clients that are generated from the OpenAPI document read README's first balance, as docs/clients.md shows.

The test installs the generators with npm and pip, in folders of its own. It is skipped where their registries cannot be
reached, except in CI.
"""

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ledger.store import registry
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.docs.markdown import ROOT, blocks
from tests.docs.programs import install, run
from tests.support.client import MASTER_KEY, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

GUIDE = ROOT / "docs/clients.md"
FIRST_BALANCE = "165"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def variables(postgres: EmbeddedPostgres) -> AsyncIterator[dict[str, str]]:
    """The service after README's first commands, and the variables that these leave."""
    async with fresh_database(postgres) as dsn, serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            inbound = await registry.create_connection(
                connection, MASTER_KEY, acme.ledger, source="capillary", secret="a-secret-of-our-own"
            )
        url = str(acme.client.make_url("")).rstrip("/")
        yield {"url": url, "key": acme.key, "hook": f"{url}/v1/hooks/{inbound.connection_id}"}


def code_of(section: str, language: str) -> str:
    """Return the only block of a language in a section of the guide."""
    [text] = [block.text for block in blocks(GUIDE) if (block.section, block.language) == (section, language)]
    return text


async def test_a_typescript_client_compiles_and_reads_the_first_balance(
    variables: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs npm (on Debian: apt install npm)")
    installing, generating = code_of("TypeScript", "sh").splitlines()
    await install(installing, variables, tmp_path)
    (tmp_path / "first-balance.mts").write_text(code_of("TypeScript", "ts"))

    await run(generating, variables, tmp_path)
    await run("npx tsc --strict --target es2022 --module nodenext first-balance.mts", variables, tmp_path)
    printed = await run("node first-balance.mjs", variables, tmp_path)

    assert printed.strip() == FIRST_BALANCE


async def test_a_python_client_is_typed_and_reads_the_first_balance(variables: dict[str, str], tmp_path: Path) -> None:
    installing, generating = code_of("Python", "sh").splitlines()
    await install(installing, variables, tmp_path)
    (tmp_path / "first_balance.py").write_text(code_of("Python", "python"))

    generated = await run(generating, variables, tmp_path)
    mypy = f"{sys.executable} -m mypy --strict --cache-dir mypy --python-executable client/bin/python"
    await run(f"{mypy} loyalty_ledger_client first_balance.py", variables, tmp_path)
    printed = await run("client/bin/python first_balance.py", variables, tmp_path)

    assert printed.strip() == FIRST_BALANCE
    assert [line for line in generated.splitlines() if line.startswith("WARNING")] == []
