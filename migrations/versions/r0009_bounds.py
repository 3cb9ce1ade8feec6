"""No table settles conflicts beside the events, and looks are numbered by a function."""

from migrations.sql import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run("r0009_bounds.sql")


def downgrade() -> None:
    raise NotImplementedError("bounds are never taken away by a migration")
