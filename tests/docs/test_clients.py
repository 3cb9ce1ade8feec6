"""Clients that are generated from the OpenAPI document read README's first balance, as docs/clients.md shows.

The test installs the generators with npm and pip, in folders of its own. It is skipped where their registries cannot be
reached, except in CI.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from ledger.store import registry
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.docs.markdown import ROOT, blocks
from tests.support.client import MASTER_KEY, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

GUIDE = ROOT / "docs/clients.md"
FIRST_BALANCE = "165"


class Reader(NamedTuple):
    """A reader of the guide: the folder with the sample, and the variables of README's first balance."""

    variables: Mapping[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(postgres: EmbeddedPostgres) -> AsyncIterator[Reader]:
    """The service after README's first commands."""
    async with fresh_database(postgres) as dsn, serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            inbound = await registry.create_connection(
                connection, MASTER_KEY, acme.ledger, source="capillary", secret="a-shared-secret"
            )
        url = str(acme.client.make_url("")).rstrip("/")
        yield Reader({"url": url, "key": acme.key, "hook": f"{url}/v1/hooks/{inbound.connection_id}"})


def code_of(section: str, language: str) -> str:
    """Return the only block of a language in a section of the guide."""
    [text] = [block.text for block in blocks(GUIDE) if (block.section, block.language) == (section, language)]
    return text


async def run(command: str, reader: Reader, folder: Path) -> str:
    """Run commands in a folder, and return their output. They must succeed."""
    process = await asyncio.create_subprocess_shell(
        f"set -e; {command}",
        cwd=folder,
        env={**os.environ, **reader.variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{command}\n{output}"
    return output


async def install(command: str, reader: Reader, folder: Path) -> None:
    """Run the command that installs a generator. Skip the test if that fails, except in CI."""
    (folder / "tests").symlink_to(ROOT / "tests")
    try:
        await run(command, reader, folder)
    except AssertionError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"the generator cannot be installed here: {str(error)[-300:]}")


async def test_a_typescript_client_compiles_and_reads_the_first_balance(reader: Reader, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs npm (on Debian: apt install npm)")
    installing, generating = code_of("TypeScript", "sh").splitlines()
    await install(installing, reader, tmp_path)
    (tmp_path / "first-balance.mts").write_text(code_of("TypeScript", "ts"))

    await run(generating, reader, tmp_path)
    await run("npx tsc --strict --target es2022 --module nodenext first-balance.mts", reader, tmp_path)
    printed = await run("node first-balance.mjs", reader, tmp_path)

    assert printed.strip() == FIRST_BALANCE


async def test_a_python_client_is_typed_and_reads_the_first_balance(reader: Reader, tmp_path: Path) -> None:
    installing, generating = code_of("Python", "sh").splitlines()
    await install(installing, reader, tmp_path)
    (tmp_path / "first_balance.py").write_text(code_of("Python", "python"))

    generated = await run(generating, reader, tmp_path)
    mypy = f"{sys.executable} -m mypy --strict --cache-dir mypy --python-executable client/bin/python"
    await run(f"{mypy} loyalty_ledger_client first_balance.py", reader, tmp_path)
    printed = await run("client/bin/python first_balance.py", reader, tmp_path)

    assert printed.strip() == FIRST_BALANCE
    assert [line for line in generated.splitlines() if line.startswith("WARNING")] == []
