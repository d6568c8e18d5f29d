"""Runs migrations on the connection, and within the transaction, that `scoring.schema` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
