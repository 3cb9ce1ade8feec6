"""Run a file of SQL, many statements at once, inside Alembic's transaction."""

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

VERSIONS = Path(__file__).parent / "versions"


def run(name: str) -> None:
    """Execute `migrations/versions/<name>` as it stands.

    asyncpg prepares what SQLAlchemy sends, and a prepared statement is one statement; its own simple query is not.
    """
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute((VERSIONS / name).read_text()))
