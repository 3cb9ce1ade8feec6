"""The guards: a role for each kind of work, triggers on every table of the ledger, row-level security by ledger."""

from migrations.sql import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run("../roles.sql")
    run("r0003_guards.sql")
    run("../grants.sql")


def downgrade() -> None:
    raise NotImplementedError("guards are not taken down by a migration")
