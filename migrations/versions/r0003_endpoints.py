"""Outgoing webhooks: endpoints, cursors, attempts and notices."""

from alembic import op

from migrations.sql import run

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0003/endpoints.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
