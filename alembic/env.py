"""Runs the migrations: one migrator at a time, a transaction for each migration, no long waits for locks.

The version table is our own.

The database is that of the settings in the configuration's attributes, where a program has put them there, else that of
DATABASE_URL.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from alembic import context
from taskapi.migrations import LOCK_TIMEOUT_SQL, connect, for_the_session, lift_limits, take_turn
from taskapi.revision import FIRST_REVISION, FIRST_VERSION_TABLE, VERSION_TABLE, current, rename_version_table_sql
from taskapi.settings import Settings


def run_online() -> None:
    """Upgrade or downgrade the database, while no other migrator does."""
    settings = context.config.attributes.get("settings") or Settings.from_environment()
    # The URL is libpq's to read, not SQLAlchemy's.
    engine = create_engine("postgresql+psycopg2://", creator=lambda: connect(settings), poolclass=NullPool)
    # Another connection waits for the turn and keeps it: the migrations' transactions come and go.
    with closing(connect(settings)) as holder, engine.connect() as connection:
        take_turn(holder)
        lift_limits(connection.connection.driver_connection)
        event.listen(connection, "begin", lambda begun: begun.exec_driver_sql(LOCK_TIMEOUT_SQL))
        with _version_table(connection):
            context.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=True)
            with context.begin_transaction():
                context.run_migrations()


@contextmanager
def _version_table(connection: Connection) -> Iterator[None]:
    """Meanwhile, the version table has its name, also where the first revision, whose code knew no other, had its own.

    Where nothing comes of the first migration, no version table is left either.
    """
    before = _current(connection)
    if before == FIRST_REVISION:
        _rename(connection, FIRST_VERSION_TABLE, VERSION_TABLE)
    try:
        yield
    finally:
        connection.rollback()
        after = _current(connection)
        if after == FIRST_REVISION:
            _rename(connection, VERSION_TABLE, FIRST_VERSION_TABLE)
        if before is after is None:
            with connection.begin():
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {VERSION_TABLE}")


def _current(connection: Connection) -> str | None:
    with connection.begin():
        return current(connection.connection.driver_connection)


def _rename(connection: Connection, old: str, new: str) -> None:
    with connection.begin():
        for statement in rename_version_table_sql(old, new):
            connection.exec_driver_sql(statement)


def run_offline() -> None:
    """Print the SQL instead (alembic upgrade head --sql), for a database that people change by hand with psql."""
    before, after = context.get_starting_revision_argument(), context.get_revision_argument()
    # Of another parameter style than the driver's, which would double each % of the SQL.
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
    )
    context.execute(for_the_session(LOCK_TIMEOUT_SQL))
    if before == FIRST_REVISION:
        for statement in rename_version_table_sql(FIRST_VERSION_TABLE, VERSION_TABLE):
            context.execute(statement)
    with context.begin_transaction():
        context.run_migrations()
    if after == FIRST_REVISION:
        for statement in rename_version_table_sql(VERSION_TABLE, FIRST_VERSION_TABLE):
            context.execute(statement)


if context.is_offline_mode():
    run_offline()
else:
    run_online()
