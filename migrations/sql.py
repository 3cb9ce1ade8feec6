"""Run a file of SQL statements inside Alembic's transaction."""

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

VERSIONS = Path(__file__).parent / "versions"


def run(name: str) -> None:
    """Execute the file `migrations/versions/<name>`, many statements at once.

    This uses asyncpg directly. SQLAlchemy would prepare the text, and a prepared statement holds one statement only.
    """
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute((VERSIONS / name).read_text()))
