"""A wall between readers and the names of ledgers that are not theirs."""

from migrations.sql import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run("r0007_names.sql")


def downgrade() -> None:
    raise NotImplementedError("a wall is never taken down by a migration")
