"""Run a file of SQL statements inside Alembic's transaction, one statement after the other.

A distributed PostgreSQL refuses some statements if they are sent together with others.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.util import await_only

MIGRATIONS = Path(__file__).parent
# A comment, a quoted text, or the end of a statement. A dollar-quoted text ends with the tag that it begins with.
TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"|(\$\w*\$).*?\1|(;)", re.DOTALL)


def run(connection: Connection, name: str) -> None:
    """Execute the statements of the file `migrations/<name>`.

    This uses asyncpg directly: SQLAlchemy would read a colon as the begin of a parameter.
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    for statement in split_statements((MIGRATIONS / name).read_text()):
        await_only(driver.execute(statement))


def split_statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, without the semicolon after them. Comments stay in the statement they precede.

    Semicolons in comments, quoted texts and bodies of functions do not end a statement.
    """
    start = 0
    for token in TOKEN.finditer(script):
        if token.group(2):
            yield script[start : token.start()].strip()
            start = token.end()
    rest = script[start:]
    if re.sub(r"--[^\n]*|/\*.*?\*/", "", rest, flags=re.DOTALL).strip():
        yield rest.strip()
