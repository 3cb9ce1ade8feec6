"""The schema of the report views, and the database roles that read one ledger through them."""

from alembic import op

from migrations.sql import run

revision = "r0007"
down_revision = "r0006"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0007/reports.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
