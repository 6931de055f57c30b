"""Alembic's entry: migrations run in the transaction of the connection given by `gregale.store.migrate`."""

from alembic import context

from gregale.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
