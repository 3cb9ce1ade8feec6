"""The whole schema of the ledger: roles, tables, functions, triggers and grants."""

from migrations.sql import run

revision = "r0001"
down_revision = None

# In the order of their dependencies. Policies name roles, so the roles come first.
FILES = (
    "../roles.sql",
    "r0001/protection.sql",
    "r0001/ledgers.sql",
    "r0001/events.sql",
    "r0001/personal_data.sql",
    "r0001/append.sql",
    "r0001/access_log.sql",
    "r0001/transparency.sql",
    "r0001/generations.sql",
    "../grants.sql",
)


def upgrade() -> None:
    for name in FILES:
        run(name)


def downgrade() -> None:
    raise NotImplementedError("the ledger is permanent: no migration removes it")
