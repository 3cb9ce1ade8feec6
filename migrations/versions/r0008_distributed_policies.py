"""A policy that distributed tables accept, so that `loyalty spread` distributes the table of report roles."""

from alembic import op

from migrations.sql import run

revision = "r0008"
down_revision = "r0007"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0008/policies.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
