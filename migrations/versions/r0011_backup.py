"""A role that backs everything up."""

from migrations.sql import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run("../roles.sql")
    run("r0011_backup.sql")
    run("../grants.sql")


def downgrade() -> None:
    raise NotImplementedError("a role for backups is not taken away by a migration")
