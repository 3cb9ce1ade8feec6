"""Functions that close a ledger which has moved to another installation."""

from alembic import op

from migrations.sql import run

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0006/moved_ledgers.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
