"""The ledger: events, connections, keys, the append function, and what refuses to change them."""

from migrations.sql import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run("r0001_ledger.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is never taken down by a migration: it is the truth")
