"""Functions that distribute the tables over several servers, where PostgreSQL has the extension Citus."""

from alembic import op

from migrations.sql import run

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    run(op.get_bind(), "versions/r0005/distribution.sql")


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
