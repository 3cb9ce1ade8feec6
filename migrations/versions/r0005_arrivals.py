"""When the events of each kind came in over each connection, in an index: whether a connection has fallen silent."""

from migrations.sql import run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run("r0005_arrivals.sql")
    run("../grants.sql")


def downgrade() -> None:
    raise NotImplementedError("an index that answers questions is never taken down by a migration")
