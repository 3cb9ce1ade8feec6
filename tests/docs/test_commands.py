"""Every command in README and the guides runs as it is written, in the order in which README lists the guides."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.cli.main import COMMANDS, command_for
from service.embedded.cluster import WHEEL_BINARIES
from service.embedded.server import EmbeddedPostgres
from service.embedded.system_user import wheel_folder
from tests.docs.markdown import DOCUMENTS, ROOT, Block, blocks, codes, links, name_of
from tests.docs.shell import Checkout, matches, steps

SHELL = {"sh", "console", "bash"}
NOT_RUN_MAX = 13
README = ROOT / "README.md"
GUIDES = [ROOT / link for link in dict.fromkeys(links(README)) if re.fullmatch(r"docs/[\w-]+\.md", link)]
RUN = {README, *GUIDES}
# A whole word in capitals, or in quotation marks or brackets, stands for a value of the reader's.
PLACEHOLDER = re.compile(r"[A-Z_]+|…")


def shell_blocks(document: Path) -> list[Block]:
    return [block for block in blocks(document) if block.language in SHELL and block.not_run is None]


async def make_production(server: EmbeddedPostgres) -> dict[str, str]:
    """Make a database whose owner is no superuser, and return the addresses that the guides name."""
    superuser = await asyncpg.connect(server.dsn())
    await superuser.execute("CREATE ROLE owner LOGIN PASSWORD 'choose one' CREATEROLE")
    await superuser.execute("CREATE DATABASE production OWNER owner")
    # The roles of this cluster are the service's, which runs on it already; the owner of a new one makes them.
    await superuser.execute("GRANT loyalty_service, loyalty_backup TO owner WITH ADMIN OPTION")
    await superuser.close()

    def address(login: str, database: str = "production") -> str:
        return re.sub(r"//[^@]*@", f"//{login}:choose%20one@", server.dsn(database))

    return {
        "SIGNER_FOLDER": "signer-of-production",
        "SUPERUSER_URL": server.dsn("production"),
        "OWNER_URL": address("owner"),
        "SERVICE_URL": address("loyalty_web"),
        "DUMP_URL": address("loyalty_dump"),
        "DRILL_URL": server.dsn("loyalty_drill"),
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path)
    yield made
    made.stop()


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("bash") is None or shutil.which("curl") is None, reason="needs bash and curl")
async def test_every_command_of_readme_and_the_guides_runs_as_it_is_written(checkout: Checkout) -> None:
    programs = wheel_folder() / WHEEL_BINARIES

    found = [f"README.md, {one}" for one in checkout.run(shell_blocks(README), programs, keep=True)]
    with EmbeddedPostgres.start(checkout.folder / "data", may_make=False) as server:
        addresses = await make_production(server)
        for guide in GUIDES:
            found += [f"{name_of(guide)}, {one}" for one in checkout.run(shell_blocks(guide), programs, addresses)]

    assert not found, "\n\n".join(found)


def test_few_blocks_are_not_run_and_each_has_a_reason() -> None:
    marked = [block for document in DOCUMENTS for block in blocks(document) if block.not_run]

    unmarked = [name_of(document) for document in DOCUMENTS if document not in RUN and shell_blocks(document)]
    assert unmarked == []
    assert len(marked) <= NOT_RUN_MAX
    assert all(block.language in SHELL for block in marked)


def inline_commands() -> list[tuple[str, str]]:
    """List the commands of ours that stand in backticks in the text."""
    return [
        (name_of(document), code)
        for document in DOCUMENTS
        for code in codes(document)
        if re.match(r"loyalty [a-z]", code) and name_of(document) != "CHANGELOG.md"
    ]


def unknown_words(text: str) -> list[str]:
    """Name the commands and options in a text that do not exist."""
    words = shlex.split(text.replace("…", "X"))[1:]
    if words[0] not in COMMANDS:
        return words[:1]
    command: Any = command_for(words).commands[words.pop(0)]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return [] if PLACEHOLDER.fullmatch(name) else [name]
        command = command.commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in words if word.startswith("--") and word.split("=")[0] not in known | {"--help"}]


def test_every_command_in_a_sentence_exists_with_its_options() -> None:
    unknown = {(place, code): wrong for place, code in inline_commands() if (wrong := unknown_words(code))}

    assert len(inline_commands()) > 50
    assert unknown == {}


def test_the_runner_compares_output_where_a_document_shows_it() -> None:
    [block] = [Block("", 1, "console", '$ echo \\\n> one\none\n$ cat x.json\n{"a": 1, ...}\n', None)]

    assert steps(block) == [("echo \\\none\n", "one\n"), ("cat x.json\n", '{"a": 1, ...}\n')]
    assert matches('{"a": 1, ...}\n', '{"a": 1, "b": 2}')
    assert not matches('{"a": 1, ...}\n', '{"a": 2, "b": 2}')
