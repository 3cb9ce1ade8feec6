"""The schema of the ledger: SQL written by hand, run by Alembic. Projection tables are not made here.

Each revision is a Python file and SQL files in `versions/`. The file name begins with the revision: r0001, r0002 ...
The Python file runs its SQL files in order, statement by statement. `grants.sql` runs after the last revision.
`roles.sql` and `grants.sql` only add, so they can be run at any time: `loyalty roles apply` runs them too.

A revision only adds. An object that the version before needs is removed one version later. So services of the version
before go on while and after the database is migrated.
"""

import re
from functools import cache
from pathlib import Path

# Development versions had the revisions 0001 to 0012. They cannot be upgraded: r0001 is written from the start.
DEVELOPMENT_REVISION = re.compile(r"00[01][0-9]")


class NotMigratable(Exception):
    """The schema is at a revision from which this version cannot migrate. The argument gives the reason and remedy."""


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this version of the software knows, oldest first, such as ("r0001", "r0002")."""
    files = (Path(__file__).parent / "versions").glob("r[0-9]*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


def head() -> str:
    """Return the newest revision that this version of the software knows."""
    return revisions()[-1]


def is_usable(revision: str | None) -> bool:
    """Return True if a running service of this version can work with a database at a revision: its own, or a newer."""
    return revision is not None and re.fullmatch(r"r\d{4}", revision) is not None and revision >= head()


def check_migratable(revision: str | None) -> None:
    """Raise NotMigratable unless a database at this revision can be migrated. None: it has no schema yet."""
    if revision is None or revision in revisions():
        return
    if DEVELOPMENT_REVISION.fullmatch(revision):
        raise NotMigratable(
            f"it is at {revision}, made by a development version before 0.1.0; move each ledger by `loyalty export "
            "--with-keys` with that version and `loyalty import --exported` with this one: see docs/operations.md"
        )
    raise NotMigratable(f"it is at {revision}, made by a newer version; run that version, or a newer one")


async def upgrade(dsn: str) -> str:
    """Migrate the database at `dsn` to the newest revision and return that revision.

    One migration runs at a time. Raises NotMigratable.
    """
    from migrations import runner  # importing Alembic takes a second

    return await runner.upgrade(dsn)
