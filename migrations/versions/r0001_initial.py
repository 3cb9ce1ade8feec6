"""The whole schema of the ledger: roles, tables, functions and triggers."""

from alembic import op

from migrations.sql import run

revision = "r0001"
down_revision = None

# In the order of their dependencies. Policies name roles, so the roles come first.
FILES = (
    "roles.sql",
    "versions/r0001/protection.sql",
    "versions/r0001/ledgers.sql",
    "versions/r0001/events.sql",
    "versions/r0001/personal_data.sql",
    "versions/r0001/append.sql",
    "versions/r0001/access_log.sql",
    "versions/r0001/transparency.sql",
    "versions/r0001/generations.sql",
)


def upgrade() -> None:
    for name in FILES:
        run(op.get_bind(), name)


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
