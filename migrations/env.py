"""Alembic's entry: it migrates the connection it is given and opens none itself."""

from alembic import context

from storage.index.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
