"""The schema of the truth, by Alembic, in SQL written by hand. A projection's table is never made here."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

Bind = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


@cache
def head() -> str:
    """Name the newest revision this version of the software knows. Revisions form one line, in the order of names."""
    newest = max(Path(__file__).parent.glob("versions/r[0-9]*.py"))
    return newest.name.removeprefix("r").partition("_")[0]


async def upgrade(dsn: str, bind: Bind | None = None) -> str:
    """Bring the schema `ledger` of the database at `dsn` to the newest revision, one migrator at a time; name it.

    `bind` takes a table of configuration and a row that an earlier version wrote, and returns the columns that bind it
    to the master key; see ledger/store/row_macs.py. Without it, such rows are not migrated: raises LookupError.
    """
    from migrations import upgrading

    return await upgrading.upgrade(dsn, bind)
