"""Functions that take the lock of a ledger."""

from alembic import op

from migrations.sql import run

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0002/ledger_lock.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
