"""Runs the blocks of a document in bash, in a folder that stands in for a fresh checkout.

A block runs as it is written, with these five arrangements around it:

1. The folder links to everything in the checkout, and has a data folder of its own. `.venv` counts as installed.
2. `LOYALTY_PORT` is 0, so each service takes a free port. Documents name `$url`, which a service's answer sets.
3. `loyalty serve`, `project` and `dispatch` run until Ctrl-C. They are started in the background and awaited.
4. `curl` fails if the answer is an error. Standard input holds a secret, for commands that read one.
5. Each section begins with the variables and functions that README's first balance left.

A command may end with another code than 0 only if its own line states it: `# ends with 1`.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.docs.markdown import ROOT, Block

DOCUMENT_SECONDS_MAX = 300
STOP_SECONDS_MAX = 60
PASTED = "a-secret-that-somebody-pastes"
CURL = '#!/bin/sh\nexec "{curl}" --fail-with-body --max-time 60 "$@"\n'
ENDLESS = re.compile(
    r"^(?P<command>(?:\w+=\S+ )*(?:\.venv/bin/)?loyalty (?:serve|project|dispatch)\b[^#\n]*)(?P<rest>.*)$", re.M
)

# `awaited LOG PID` returns when a service has begun, and fails if it ended. `failed` notes a command that failed.
PRELUDE = """
set -a -E -o pipefail
source {state} 2>/dev/null
awaited() {{
    for _ in $(seq 600); do
        grep -qsE 'Listening on|Projecting from|Sending outgoing' "$1" && return 0
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    cat "$1"; return 1
}}
failed() {{ case "$2" in "source "*|"return "*) ;; *) echo "$block $1 $3 $2" >> {failures} ;; esac; }}
trap 'failed "$?" "$BASH_COMMAND" "$LINENO"' ERR
"""
KEEP = "trap - ERR; {{ export -p; declare -f; }} > {state}"
SECTION = "(\n{commands}\nexit 0\n)"


class Checkout:
    """A stand-in for a fresh checkout: links to everything but the data, and programs that documents call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.own = folder / "own"
        self.state = self.own / "state"
        self._groups: list[int] = []
        for made in (self.folder, self.own, self.folder / ".venv", self.own / "bin", self.own / "home"):
            made.mkdir()
        hidden = {".git", ".venv", "data"}
        for entry in ROOT.iterdir():
            if entry.name not in hidden:
                (self.folder / entry.name).symlink_to(entry)
        for entry in Path(sys.prefix).iterdir():
            if entry.name != "installed":
                (self.folder / ".venv" / entry.name).symlink_to(entry)
        (self.folder / ".venv" / "installed").write_text(f"dev {self._wanted()}\n")
        curl = self.own / "bin" / "curl"
        curl.write_text(CURL.format(curl=shutil.which("curl")))
        curl.chmod(0o755)

    def _wanted(self) -> str:
        """Return the line by which scripts/install knows that nothing is left to install."""
        sums = "cat scripts/install requirements*.lock pyproject.toml | cksum"
        printed = subprocess.run(["bash", "-c", sums], cwd=self.folder, capture_output=True, text=True, check=True)
        return f"{printed.stdout.strip()} {self.folder}"

    def environment(self, programs: Path, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a reader's terminal: no setting of ours but the port."""
        path = os.pathsep.join([str(self.own / "bin"), str(programs), "/usr/local/bin", "/usr/bin", "/bin"])
        home = str(self.own / "home")
        return {"PATH": path, "HOME": home, "LANG": "C.UTF-8", "LOYALTY_PORT": "0", "NO_COLOR": "1", **more}

    def run(
        self, blocks: Iterable[Block], programs: Path, more: Mapping[str, str] | None = None, *, keep: bool = False
    ) -> list[str]:
        """Run blocks one after the other, and return what differs: commands that fail, output that is another.

        With `keep` they share one shell, and later runs begin with its variables and functions.
        """
        blocks = list(blocks)
        failures = self.own / "failures"
        failures.write_text("")
        for leftover in self.own.glob("*.out"):
            leftover.unlink()
        sections: dict[str, list[str]] = {}
        for number, block in enumerate(blocks):
            for step, (command, _) in enumerate(steps(block)):
                file = self.own / f"{number}.{step}"
                file.write_text(ENDLESS.sub(rf"\1 > {file}.log 2>&1 & awaited {file}.log $!", command))
                run = f"block={number}.{step}; source {file} > {file}.out 2>&1 <<< '{PASTED}'"
                sections.setdefault("" if keep else block.section, []).append(run)
        script = [PRELUDE.format(state=self.state, failures=failures)]
        if keep:
            script += [*sections[""], KEEP.format(state=self.state)]
        else:
            script += [SECTION.format(commands="\n".join(commands)) for commands in sections.values()]
        bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", "\n".join(script)],
            cwd=self.folder, env=self.environment(programs, more or {}), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._groups.append(bash.pid)
        bash.wait(DOCUMENT_SECONDS_MAX)
        return [*self._failures(failures, blocks), *self._differences(blocks)]

    def _failures(self, failures: Path, blocks: list[Block]) -> list[str]:
        found = []
        for line in failures.read_text().splitlines():
            place, code, lineno, command = line.split(" ", 3)
            number, step = map(int, place.split("."))
            text = steps(blocks[number])[step][0].splitlines()
            stated = text[min(int(lineno), len(text)) - 1]
            if f"ends with {code}" not in stated:
                output = (self.own / f"{place}.out").read_text()[-2000:]
                found.append(f"line {blocks[number].line}: `{command}` ended with {code}:\n{output}")
        return found

    def _differences(self, blocks: list[Block]) -> list[str]:
        found = []
        for number, block in enumerate(blocks):
            for step, (command, expected) in enumerate(steps(block)):
                printed = self.own / f"{number}.{step}.out"
                if not printed.exists():
                    found.append(f"line {block.line}: `{command.strip()}` was never run")
                elif expected is not None and not matches(expected, printed.read_text()):
                    found.append(f"line {block.line}: `{command.strip()}` printed\n{printed.read_text()}")
        return found

    def stop(self) -> None:
        """Stop every service that a document started, and wait until it has ended."""
        for group in self._groups:
            until = time.monotonic() + STOP_SECONDS_MAX
            try:
                os.killpg(group, signal.SIGTERM)
                while time.monotonic() < until:
                    os.killpg(group, 0)
                    time.sleep(0.05)
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue


def steps(block: Block) -> list[tuple[str, str | None]]:
    """Return the commands of a block, each with the output that is expected of it, or None.

    A block of `sh` is one step. A block of `json` right after it is its output. In a block of `console` commands begin
    with `$ ` and are continued with `> `; the lines below are their output. `...` stands for anything.
    """
    if block.language != "console":
        return [(block.text, block.output)]
    found: list[tuple[str, str | None]] = []
    for line in block.text.splitlines(keepends=True):
        command, expected = found[-1] if found else ("", None)
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> ") and expected == "":
            found[-1] = (command + line[2:], "")
        else:
            found[-1] = (command, (expected or "") + line)
    return found


def matches(expected: str, printed: str) -> bool:
    """Return True if a text is as expected: `...` stands for anything, and white space does not count."""
    parts = (re.escape(part) for part in _plain(expected).split("..."))
    return re.fullmatch(".*".join(parts), _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    return "".join(text.split())
