"""The guards: a role for each kind of work, triggers on every table of the ledger, row-level security by ledger."""

from migrations.sql import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run("roles.sql")
    run("versions/r0002_guards.sql")
    run("grants.sql")


def downgrade() -> None:
    raise NotImplementedError("guards are not taken down by a migration")
