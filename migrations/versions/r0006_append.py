"""Plan the append once a session instead of at each call: half the cost of a single event."""

from migrations.sql import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run("r0006_append.sql")


def downgrade() -> None:
    """Leave it: an older version calls the same function, which does the same."""
