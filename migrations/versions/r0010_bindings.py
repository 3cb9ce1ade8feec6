"""Rows of configuration carry a MAC under the master key; those of before are bound in this migration, once."""

from alembic import context, op
from sqlalchemy.util import await_only

revision = "0010"
down_revision = "0009"

TABLES = {"api_keys": "key_id", "connections": "connection_id", "public_logs": "token"}


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    bind = context.config.attributes["bind"]
    for table, name in TABLES.items():
        await_only(driver.execute(f"ALTER TABLE ledger.{table} ADD COLUMN mac bytea"))
        for row in await_only(driver.fetch(f"SELECT * FROM ledger.{table}")):  # noqa: S608
            if bind is None:
                raise LookupError("rows of configuration are bound by the master key: run `loyalty migrate`")
            for column, value in bind(table, dict(row)).items():
                await_only(
                    driver.execute(f"UPDATE ledger.{table} SET {column} = $1 WHERE {name} = $2", value, row[name])  # noqa: S608
                )
        await_only(driver.execute(f"ALTER TABLE ledger.{table} ALTER COLUMN mac SET NOT NULL"))


def downgrade() -> None:
    raise NotImplementedError("bindings are never taken away by a migration")
