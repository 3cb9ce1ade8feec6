"""Answers of changes by their Idempotency-Key."""

from alembic import op

from migrations.sql import run

revision = "r0004"
down_revision = "r0003"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0004/idempotent_answers.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
