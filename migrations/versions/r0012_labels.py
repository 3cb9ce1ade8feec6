"""Labels of keys and connections."""

from migrations.sql import run

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run("r0012_labels.sql")


def downgrade() -> None:
    raise NotImplementedError("labels are not taken away by a migration")
