"""The tree over the ledger: full tiles, signed checkpoints, cosignatures, and what refuses to change them."""

from migrations.sql import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run("r0002_tree.sql")


def downgrade() -> None:
    raise NotImplementedError("what was signed is never taken down by a migration")
