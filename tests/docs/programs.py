"""Run the commands of a document in a folder, with programs that they install there."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT


async def run(command: str, variables: Mapping[str, str], folder: Path) -> str:
    """Run commands in a folder, and return their output. They must succeed."""
    process = await asyncio.create_subprocess_shell(
        f"set -e; {command}",
        cwd=folder,
        env={**os.environ, **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, f"{command}\n{output}"
    return output


async def install(command: str, variables: Mapping[str, str], folder: Path) -> None:
    """Run the command that installs a program. Skip the test if that fails, except in CI."""
    (folder / "tests").symlink_to(ROOT / "tests")
    try:
        await run(command, variables, folder)
    except AssertionError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(f"the program cannot be installed here: {str(error)[-300:]}")
