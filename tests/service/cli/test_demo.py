"""The demonstration, twice on one folder: a real PostgreSQL, a real service, every sample over HTTP."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from service.cli.demo_steps import EXAMPLE_PATHS, sample_files
from tests.service.cli.test_cli import ROOT, clean_environment, loyalty

FOLDERS = {"capillary", "voucherify", "ascenda", "fabric"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


def demonstrate(folder: Path) -> str:
    """Run the demonstration with a few members of the simulated programme."""
    run = loyalty("demo", "--once", "--port", "0", "--members", "8", "--data", str(folder))
    assert run.code == 0, run
    return run.out


def total(printed: str, name: str) -> int:
    """Read the last number of a row of the summary."""
    row = re.search(rf"^ *{name} .*$", printed, re.MULTILINE)
    assert row, printed
    return int(row[0].split()[-1])


def test_the_samples_are_every_payload_of_every_vendor_and_no_expectation() -> None:
    found = sample_files()

    assert {sample.parent.name for sample in found} == FOLDERS
    assert not [sample for sample in found if sample.name.endswith(".facts.json")]


def test_a_second_run_appends_nothing_and_keeps_the_key(folder: Path) -> None:
    first = demonstrate(folder)
    key = (folder / "demo.key").read_text()
    second = demonstrate(folder)

    assert total(first, "samples sent") == total(second, "samples sent") == len(sample_files())
    assert total(first, "events appended") == total(second, "recognised") >= 129
    assert re.search(r"8 members, \d+ deliveries \(.*\d+ appended", first)
    assert re.search(r"8 members, (\d+) deliveries \(\1 duplicate\)", second)
    assert total(first, "quarantined") == total(first, "conflicts") == 0
    assert total(second, "events appended") == 0
    assert total(second, "accounts") > 0
    assert total(second, "order_items") == 5
    assert (folder / "demo.key").read_text() == key
    assert "curl" not in second  # no service is left to ask
    assert (folder / "demo.key").stat().st_mode & 0o777 == 0o600


async def test_what_it_suggests_to_ask_is_answered_until_it_is_stopped(folder: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli.main", "demo", "--port", "0", "--members", "0", "--data", str(folder),
        cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert demo.stdout is not None
    suggested, link = [], ""
    try:
        while not (line := (await demo.stdout.readline()).decode()).startswith("Serving"):
            assert line, "it ended before it served"
            if "/console/login?once=" in line:
                link = line.strip()
            if match := re.fullmatch(r"  curl -s -H 'Authorization: (.*)' '(.*)'\n", line):
                suggested.append((match[1], match[2]))
        async with aiohttp.ClientSession() as session:
            for authorization, url in suggested:
                async with session.get(url, headers={"Authorization": authorization}) as response:
                    assert response.status == 200, url
            async with session.get(link) as response:
                assert "Sign in" in await response.text()
    finally:
        demo.terminate()

    assert await demo.wait() == 0
    assert len(suggested) == len(EXAMPLE_PATHS)
