"""Runs the migrations: one transaction, one migrator at a time, no long waits for locks, a version table of our own.

The database is that of the settings in the configuration's attributes, where a program has put them there, else that of
DATABASE_URL.
"""

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from alembic import context
from taskapi.migrations import ADVISORY_LOCK_SQL, LOCK_TIMEOUT_SQL, connect
from taskapi.revision import current, move_version_sql, version_table
from taskapi.settings import Settings


def run_online() -> None:
    """Upgrade or downgrade the database, under the advisory lock that every migrator takes."""
    settings = context.config.attributes.get("settings") or Settings.from_environment()
    # The URL is libpq's to read, not SQLAlchemy's.
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(settings), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(LOCK_TIMEOUT_SQL)
        connection.exec_driver_sql(ADVISORY_LOCK_SQL)
        before = current(connection.connection.driver_connection)
        context.configure(connection=connection, version_table=version_table(before))
        context.run_migrations()
        for statement in move_version_sql(before, context.get_context().get_current_revision()):
            connection.exec_driver_sql(statement)


def run_offline() -> None:
    """Print the SQL instead (alembic upgrade head --sql), for a database that people change by hand."""
    before, after = context.get_starting_revision_argument(), context.get_revision_argument()
    # Of another parameter style than the driver's, which would double each % of the SQL.
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        version_table=version_table(before),
    )
    with context.begin_transaction():
        context.execute(LOCK_TIMEOUT_SQL)
        context.run_migrations()
        for statement in move_version_sql(before, after):
            context.execute(statement)


if context.is_offline_mode():
    run_offline()
else:
    run_online()
