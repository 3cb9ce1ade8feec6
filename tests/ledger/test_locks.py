"""Advisory locks: one number, one use, and every number is listed in ledger/locks.py."""

import re
from pathlib import Path

from ledger import locks

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"pg_(?:try_)?advisory\w*\((\d+)")
LISTED = [value for value in vars(locks).values() if isinstance(value, int)]


def test_no_two_locks_share_a_number() -> None:
    assert len(LISTED) == len(set(LISTED))


def test_every_number_in_a_statement_is_listed() -> None:
    sources = [
        path for folder in ("ledger", "projections", "service", "migrations") for path in (ROOT / folder).rglob("*")
    ]
    numbers = {int(n) for path in sources if path.suffix in (".py", ".sql") for n in NUMBER.findall(path.read_text())}

    assert numbers
    assert numbers <= set(LISTED)
