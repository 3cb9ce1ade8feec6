"""An append that compares only the events whose key is not new."""

from alembic import op

from migrations.sql import run

revision = "r0009"
down_revision = "r0008"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0009/append.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
