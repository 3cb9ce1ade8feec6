"""Alembic's entry: runs the revisions over one asyncpg connection that `migrations.upgrade` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
