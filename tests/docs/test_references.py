"""Everything that documents, docstrings and comments refer to is there: links, paths, names, numbered rules, tests."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from projections.queries.fact_sentences import SENTENCES
from tests.docs.markdown import DOCUMENTS, ROOT, anchors, codes, links, name_of, prose

FOLDERS = ("ledger", "projections", "service", "migrations", "tests", "benchmarks", "verify", "scripts")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SQL = sorted((ROOT / "migrations").rglob("*.sql"))
INVARIANTS_MAX = 10
# Paths that begin like ours, or files of ours by their ending. `<name>`, `*` and `…` stand for anything.
PATH = re.compile(
    rf"(?:{'|'.join(FOLDERS)}|docs)/[\w./<>*…-]*|[A-Za-z][\w/<>*…-]*\.(?:py|lock|toml)|(?:[A-Z]+|docs/[\w-]+|[a-z]+)\.md"
)
MADE = {"data/master.key", "r0002_name.py", "first_balance.py"}  # paths that commands or people make
NUMBERED = re.compile(r"\b(invariant|trap|law)s? (\d+)(?:(?:, | and | to |[-–])(\d+))*", re.IGNORECASE)
SECTION = re.compile(r"\bdomain(?:\.md)?,? §(\d+(?:\.\d+)?)")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = re.compile(r"`([\w/]+\.py)`, `(\w+(?:\.\w+)?)`|`(\w+(?:\.\w+)?)` \(`([\w/]+\.py)`\)")


@cache
def comments(path: Path) -> str:
    """Return the docstrings and comments of a module, or the text of an SQL file."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    found = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, DOCUMENTED)]
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join([*found, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every document, and of the docstrings and comments of every module."""
    for document in DOCUMENTS:
        yield name_of(document), prose(document)
    for path in (*MODULES, *SQL):
        yield name_of(path), comments(path)


def names_in(path: Path) -> set[str]:
    """Return the functions, classes and constants of a module, and `Class.name` for the members of its classes."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        found |= set(names_of(node))
        if isinstance(node, ast.ClassDef):
            members = [name for inner in node.body for name in names_of(inner)]
            attributes = (inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute))
            members += [inner.attr for inner in attributes if getattr(inner.value, "id", "") == "self"]
            found |= {f"{node.name}.{name}" for name in members}
    return found


def names_of(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_and_its_anchor_resolve(document: Path) -> None:
    broken = []
    for link in links(document):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one.name != "CHANGELOG.md"], ids=name_of)
def test_every_path_in_backticks_exists(document: Path) -> None:
    paths = [code for code in codes(document) if PATH.fullmatch(code) and code not in MADE]

    missing = [
        path
        for path in paths
        if not any(
            list(base.glob(re.sub(r"<[^>]*>|…", "*", path.rstrip("/"))))
            for base in (ROOT, document.parent, ROOT / "verify")
        )
    ]

    assert missing == []


def test_every_name_that_stands_beside_its_file_is_defined_there() -> None:
    missing = []
    for document in DOCUMENTS:
        for match in NAMED.finditer(prose(document)):
            path, name = (match[1], match[2]) if match[1] else (match[4], match[3])
            if not (ROOT / path).exists() or name not in names_in(ROOT / path):
                missing.append((name_of(document), path, name))

    assert missing == []


def test_invariants_and_traps_are_referred_to_by_numbers_that_exist() -> None:
    domain = (ROOT / "docs" / "domain.md").read_text()
    section = domain.partition("### 1.6 Traps")[2].partition("\n## ")[0]
    traps = {int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)}
    invariants = {
        int(number) for number in re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "invariants.md").read_text(), re.M)
    }

    wrong = []
    for name, text in texts():
        for match in NUMBERED.finditer(" ".join(text.split())):
            numbers = {int(number) for number in re.findall(r"\d+", match[0])}
            known = {"invariant": invariants, "trap": traps}.get(match[1].lower(), set())
            if not numbers <= known:
                wrong.append((name, match[0]))

    assert traps == set(range(1, len(traps) + 1))
    assert invariants == set(range(1, INVARIANTS_MAX + 1))
    assert wrong == []


def test_sections_of_the_domain_are_referred_to_by_numbers_that_exist() -> None:
    headings = re.findall(r"^##+ (\d+(?:\.\d+)?)", (ROOT / "docs" / "domain.md").read_text(), re.MULTILINE)

    wrong = [(name, match[0]) for name, text in texts() for match in SECTION.finditer(text) if match[1] not in headings]

    assert wrong == []


def test_every_test_that_holds_an_invariant_exists() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    missing, held = [], 0
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        for file, tests in re.findall(r"^- `([\w/.]+)`:((?:[^\n]|\n(?!\n|- ))*)", section, re.MULTILINE):
            named = set(re.findall(r"`(test_\w+)`", tests))
            held += len(named)
            missing += sorted(named - (names_in(ROOT / file) if (ROOT / file).exists() else set()))
        assert re.search(r"`test_\w+`", section), f"invariant {section.split('.')[0]} has no test"

    assert missing == []
    assert held > 2 * INVARIANTS_MAX


def test_docstrings_and_comments_name_files_that_exist() -> None:
    own = re.compile(
        r"(?<![\w/.<-])((?:ledger|projections|service|tests|migrations|benchmarks|docs)/[\w./-]+\.(?:py|md|sql|txt))"
    )

    missing = [
        (name_of(path), file) for path in (*MODULES, *SQL) for file in own.findall(comments(path))
        if not (ROOT / file).exists()
    ]  # fmt: skip

    assert missing == []


def test_the_guide_to_a_wrong_balance_names_the_file_of_every_rule_of_accounts() -> None:
    guide = (ROOT / "docs" / "debugging-a-wrong-balance.md").read_text()
    rows = re.findall(r"^\| `account\..*", guide, re.MULTILINE)

    rules = {name for row in rows for name in re.findall(r"`(account\.\w+)`", row)}
    files = {name for row in rows for name in re.findall(r"(\w+\.py)", row)} - {"programme_terms.py"}
    assert rules == {name for name in [*SENTENCES, "account.earlier_report"] if name.startswith("account.")}
    assert [name for name in files if not (ROOT / "projections" / "accounts" / name).exists()] == []
