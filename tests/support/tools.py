"""Programs that only some machines have. Tests that need one are skipped without it, except in CI."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def run_tool(program: str, package: str, *arguments: str | Path) -> str:
    """Run a program and return all that it prints. It must end with 0. `package` is Debian's package with it."""
    path = shutil.which(program, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))
    if path is None:
        assert not os.environ.get("LOYALTY_TEST_ALL_TOOLS"), f"{program} is missing"
        pytest.skip(f"needs {program} (on Debian: apt install {package})")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
