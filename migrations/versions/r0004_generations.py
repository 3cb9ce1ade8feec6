"""Generations keep their names and have states: filling, ready, active, retired, dropping."""

from migrations.sql import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run("r0004_generations.sql")


def downgrade() -> None:
    raise NotImplementedError("the readers of this version look for the active generation by its state")
