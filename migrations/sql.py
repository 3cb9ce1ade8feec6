"""Run a file of SQL, many statements at once, inside Alembic's transaction."""

from pathlib import Path

from alembic import op
from sqlalchemy.util import await_only

HERE = Path(__file__).parent


def run(name: str) -> None:
    """Execute `migrations/<name>` as it stands.

    asyncpg prepares what SQLAlchemy sends, and a prepared statement is one statement; its own simple query is not.
    """
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    await_only(driver.execute((HERE / name).read_text()))
