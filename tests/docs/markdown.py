"""The documents of the repository as tests read them: their blocks, links and words in backticks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "verify" / "README.md"])

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r"\n*```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^\n]+) -->\n *$")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block. `not_run` is the reason in a comment before it. `output` is a block of `json` right after it."""

    section: str
    line: int
    language: str
    text: str
    not_run: str | None
    output: str | None = None


def name_of(document: Path) -> str:
    """Return the path of a document inside the repository."""
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document in their order."""
    text = document.read_text()
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        marked = _NOT_RUN.search(before)
        lines = re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        section = "".join(_SECTION.findall(before)[-1:])
        shown = _OUTPUT.match(text, fence.end())
        yield Block(
            section=section,
            line=before.count("\n") + 2,
            language=fence["language"],
            text=lines,
            not_run=marked["reason"] if marked else None,
            output=shown[1] if shown else None,
        )


def prose(document: Path) -> str:
    """Return a document without its fenced blocks."""
    return _FENCE.sub("", document.read_text())


def codes(document: Path) -> list[str]:
    """List the words in backticks outside fenced blocks."""
    return _CODE.findall(prose(document))


def links(document: Path) -> list[str]:
    """List the targets of the links outside fenced blocks."""
    return _LINK.findall(prose(document))


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub derives them."""
    titles = (re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()) for title in _HEADING.findall(prose(document)))
    return {title.strip().replace(" ", "-") for title in titles}
