"""Run by alembic: migrates over the connection it is given, within the transaction and lock of who gave it."""

from alembic import context

from cds_service.edge.tables import METADATA

# SQLite's data definition is transactional too: a migration that is cut off leaves the schema as it was
context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
