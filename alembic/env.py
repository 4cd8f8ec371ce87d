"""Runs the migrations on DATABASE_URL: one transaction, one migrator at a time, no long waits for locks."""

from alembic import context
from taskapi.migrations import ADVISORY_LOCK_SQL, LOCK_TIMEOUT_SQL, engine
from taskapi.settings import Settings


def run_online() -> None:
    """Upgrade or downgrade the database, under the advisory lock that every migrator takes."""
    with engine(Settings.from_environment()).begin() as connection:
        connection.exec_driver_sql(ADVISORY_LOCK_SQL)
        connection.exec_driver_sql(LOCK_TIMEOUT_SQL)
        context.configure(connection=connection)
        context.run_migrations()


def run_offline() -> None:
    """Print the SQL instead (alembic upgrade head --sql), for a database that people change by hand."""
    # Of another parameter style than the driver's, which would double each % of the SQL.
    context.configure(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.execute(LOCK_TIMEOUT_SQL)
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
