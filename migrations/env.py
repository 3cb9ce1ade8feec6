"""Alembic's entry point: run the revisions over the connection that `migrations.upgrade` passes."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="public")
with context.begin_transaction():
    context.run_migrations()
