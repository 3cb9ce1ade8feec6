"""A redelivered event of a forgotten person makes no new key."""

from migrations.sql import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run("r0008_redelivered.sql")


def downgrade() -> None:
    raise NotImplementedError("events that were appended by this rule stay")
