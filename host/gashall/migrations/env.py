"""Alembic's environment: the connection is given, with its transaction begun; nothing is read from a file."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
