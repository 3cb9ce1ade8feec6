"""What a machine can keep tidy: which way imports point, how long things are, and that every list is whole."""

import ast
import hashlib
import io
import json
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from ledger.facts import FACTS
from ledger.vendors import SOURCES
from projections.registry import BY_SUBJECT, PROJECTIONS
from service.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGES = ("ledger", "projections", "service", "migrations")
VERIFIER = ROOT / "verify" / "loyalty_verify.py"  # one file that runs alone, so it may be long
# What each package may import of ours: the truth knows nothing of the views, the views nothing of the service.
MAY_IMPORT = {
    "ledger": {"ledger"},
    "projections": {"ledger", "projections"},
    "migrations": {"migrations"},
    "service": {"ledger", "projections", "service", "migrations"},
}
FILE_LINES_MAX = 350
FILES_PER_FOLDER_MAX = 24
FUNCTION_LINES_MAX = 70
VERIFIER_LINES_MAX = 2_000
OWN_CLOCK = {"ledger.clock", "service.api.webhooks", "service.cli.deliveries", "service.server.witness_app"}

PARTICIPLES = {"parsing", "importing", "formatting", "pending", "staging", "gc_tuning"}  # words of the field
# Words at which a reader who is no native speaker stops. The field has plainer ones.
BANNED_WORDS = frozenset(
    ("told", "said", "tells", "whoever", "whomever", "whom", "whosoever", "anew", "thereof", "whereof", "whence")
)
BANNED_OPENINGS = ("Give ", "Say ", "What ", "Whether ", "Who ")
BANNED_NAMES = frozenset(("told", "said", "tells", "anew", "whom", "house", "shelf", "desk", "crew"))
STORED_NAMES = {"told_at"}  # in snapshots and rows

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Name the modules of ours that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    package = name_of(path).split(".")[0]

    assert {name.split(".")[0] for name in imports_of(path)} <= MAY_IMPORT[package]


# The other users of aiohttp are clients, and the small server of `loyalty witness`.
HTTP_FOLDERS = ("service.api.", "service.console.", "service.server.")
HTTP_CLIENTS = {
    "service.background.checkpoint_publisher",
    "service.cli.deliveries",
    "service.cli.demo_steps",
    "service.cli.witness",
    "service.outgoing.http_client",
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_api_the_console_and_the_server_know_http(path: Path) -> None:
    name = name_of(path)
    if not name.startswith(HTTP_FOLDERS) and name not in HTTP_CLIENTS:
        assert "aiohttp" not in path.read_text()
        assert not [imported for imported in imports_of(path) if imported.startswith("service.api")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_is_one_idea_and_says_which(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a file opens with a sentence"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short(path: Path) -> None:
    assert_functions_are_short(path)


def test_the_verifier_stands_alone_and_is_one_file_of_short_functions() -> None:
    tree = ast.parse(VERIFIER.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }

    assert imported <= sys.stdlib_module_names
    assert [path.name for path in VERIFIER.parent.glob("*.py")] == [VERIFIER.name]
    assert len(VERIFIER.read_text().splitlines()) <= VERIFIER_LINES_MAX
    assert_functions_are_short(VERIFIER)


def test_the_hash_that_is_published_is_that_of_the_verifier() -> None:
    digest = hashlib.sha256(VERIFIER.read_bytes()).hexdigest()

    assert f"echo '{digest}  {VERIFIER.name}' | sha256sum -c\n" in VERIFIER.with_name("README.md").read_text()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_time_is_told_by_the_one_clock(path: Path) -> None:
    """What is held against times of the database is told by ledger/clock.py; signatures of vendors and of witnesses are
    held against no such time."""
    told = [
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("datetime", "now"), ("datetime", "utcnow"), ("time", "time")}
    ]

    assert not told or name_of(path) in OWN_CLOCK


def assert_functions_are_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name


def test_no_file_is_dead() -> None:
    everywhere = [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    used = {name for path in everywhere for name in imports_of(path)}
    revisions = {name_of(path) for path in (ROOT / "migrations/versions").glob("r*.py")}
    commands = {f"service.cli.{entry.module}" for entry in COMMANDS.values()}
    entries = {"service.cli.main", "migrations.env"} | revisions | commands

    modules = {name_of(path) for path in MODULES if path.name != "__init__.py"}
    dead = modules - used - entries - set(PACKAGES) - {"migrations.versions"}

    assert dead == set()


def test_every_kind_of_fact_has_a_rule_in_the_projection_of_its_subject() -> None:
    for fact in FACTS:
        assert fact in BY_SUBJECT[fact.subject_kind].on, fact.__name__


def test_every_rule_is_for_a_fact_that_exists() -> None:
    for projection in PROJECTIONS:
        assert set(projection.on) <= set(FACTS), projection.name
        assert all(fact.subject_kind == projection.subject for fact in projection.on), projection.name


def test_every_kind_of_event_has_a_sample_with_its_facts() -> None:
    sampled = set()
    for path in (ROOT / "tests/samples").rglob("*.facts.json"):
        assert path.with_name(path.name.replace(".facts.json", ".json")).exists(), path
        sampled |= {(path.parent.name, event["kind"]) for event in json.loads(path.read_text())}

    missing = {(vendor.name, kind) for vendor in SOURCES.values() for kind in vendor.kinds} - sampled

    assert missing == set()


def test_every_sample_is_written_as_it_was_published_or_modelled_and_has_its_facts() -> None:
    for path in (ROOT / "tests/samples").rglob("*.json"):
        if ".facts." not in path.name:
            assert path.with_name(f"{path.stem}.facts.json").exists(), path


def test_names_of_tables_and_paths_are_taken_once() -> None:
    tables = [table.name for projection in PROJECTIONS for table in projection.tables]
    paths = [projection.path for projection in PROJECTIONS if projection.path]

    assert len(tables) == len(set(tables))
    assert len(paths) == len(set(paths))
    assert len(BY_SUBJECT) == len(PROJECTIONS)


PATHS = {name_of(path): path for path in MODULES}


def module_imports(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, without itself and the packages that it stands in."""
    own = name_of(path).split(".")
    enclosing = {".".join(own[:count]) for count in range(1, len(own) + 1)}
    return {name for name in imports_of(path) if name in PATHS} - enclosing


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: module_imports(path) for name, path in PATHS.items()}

    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_two_folders_import_each_other() -> None:
    """The top of a package holds its shared values and its registries, so that imports between it and a folder below it
    may go both ways."""
    edges = defaultdict[tuple[Path, Path], set[str]](set)
    for name, path in PATHS.items():
        for imported in module_imports(path):
            edges[path.parent, PATHS[imported].parent].add(f"{name} imports {imported}")

    both_ways = {
        (one, other): edges[one, other] | edges[other, one]
        for one, other in edges
        if (other, one) in edges and one < other and one not in other.parents
    }

    assert both_ways == {}


def test_no_class_name_is_used_twice_outside_of_vendors() -> None:
    names = Counter(
        node.name
        for path in [*MODULES, VERIFIER]
        if "vendors" not in path.parts
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    )

    assert {name for name, count in names.items() if count > 1} == set()


def test_a_folder_is_short_enough_to_be_read_at_a_glance() -> None:
    folders = Counter(path.parent for path in MODULES)

    assert {str(folder) for folder, count in folders.items() if count > FILES_PER_FOLDER_MAX} == set()


@pytest.mark.parametrize("path", [*MODULES, VERIFIER], ids=lambda path: path.stem)
def test_modules_are_nouns_or_verbs(path: Path) -> None:
    assert not path.stem.endswith("ing") or path.stem in PARTICIPLES


def prose_of(path: Path) -> Iterator[str]:
    """Yield every docstring and comment of a file."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


@pytest.mark.parametrize("path", [*MODULES, VERIFIER], ids=lambda path: path.stem)
def test_prose_is_plain(path: Path) -> None:
    for text in prose_of(path):
        assert not text.startswith(BANNED_OPENINGS), text
        assert BANNED_WORDS.isdisjoint(re.findall(r"[a-z]+", text.lower())), text


@pytest.mark.parametrize("path", [*MODULES, VERIFIER], ids=lambda path: path.stem)
def test_names_are_of_the_field(path: Path) -> None:
    names = {
        getattr(node, field)
        for node in ast.walk(ast.parse(path.read_text()))
        for field in ("id", "attr", "arg", "name")
        if isinstance(getattr(node, field, None), str)
    }
    words = {word for name in names - STORED_NAMES for word in re.findall(r"[A-Z]?[a-z]+", name)}

    assert BANNED_NAMES.isdisjoint(word.lower() for word in words)
