"""Migrates the database's schema: `python -m taskapi.migrations`. The service does the same when it starts."""

import sys
import time
from contextlib import closing

import psycopg2
import psycopg2.errors
import psycopg2.extensions as ext

from taskapi.database import queries
from taskapi.database.connection import PROPERTIES_SQL, misfit
from taskapi.database.database_url import libpq_url, without_password
from taskapi.errors import ConfigurationError, DatabaseRewound, TaskapiError, TurnTaken
from taskapi.logs import take_over_prints
from taskapi.places import ROOT
from taskapi.revision import COMMAND, TABLES, VERSION_TABLE, current, head, known, missing_tables
from taskapi.settings import Settings

ADVISORY_LOCK_SQL = "SELECT pg_try_advisory_xact_lock(7225820101)"
"""Allows one migrator at a time on a database. The number is arbitrary, but taskapi's own."""

TURN_TIMEOUT = 60
"""Seconds that a migrator waits for another one. No request waits with it."""

LOCK_TIMEOUT = 5
"""Seconds that a migration waits for a table."""

LIMITS_SQL = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
    # Since PostgreSQL 17.
    " SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout'"
)
"""The SQL for a transaction that may take as long as it needs."""

ALL_OWNERS_SQL = "SET LOCAL row_security = off"
"""The SQL for a transaction that looks at the rows of all owners: it fails where row-level security would hide some."""

LOCK_TIMEOUT_SQL = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'; {LIMITS_SQL}"
"""A migration that waits for a table makes all later requests wait, too. So it gives up, and can be tried again later.
Its work may take as long as it needs, whatever the role's limits are."""


class MigrationError(TaskapiError):
    """The schema cannot be brought up to date."""


def connect(settings: Settings) -> ext.connection:
    """A connection for one short task, without the deadlines and the pool that requests use."""
    url = libpq_url(settings)
    return psycopg2.connect(
        **{
            "connect_timeout": 15,
            **ext.parse_dsn(url),
            "client_encoding": "utf8",
            "application_name": "taskapi-migrations",
        }
    )


def take_turn(holder: ext.connection) -> None:
    """Wait until no other migrator is running. The turn lasts until the connection is closed.

    Raises TurnTaken if that takes longer than TURN_TIMEOUT.
    """
    # At any other level, the transaction that keeps the turn would hold a snapshot, and CREATE INDEX CONCURRENTLY waits
    # for the end of all transactions that have one.
    holder.set_session(isolation_level="READ COMMITTED")
    give_up = time.monotonic() + TURN_TIMEOUT
    with holder.cursor() as cursor:
        while True:
            # Poll, since a waiting statement would hold a snapshot, too.
            cursor.execute(LIMITS_SQL)
            cursor.execute(ADVISORY_LOCK_SQL)
            if cursor.fetchone()[0]:
                return
            # The other migrator may have seen this statement's snapshot: it waits for the transaction, not for the
            # statement.
            holder.rollback()
            if time.monotonic() > give_up:
                raise TurnTaken
            time.sleep(0.1)


def for_the_session(limits: str) -> str:
    """The SQL that sets the same limits for all transactions of a session."""
    return limits.replace("SET LOCAL", "SET").replace("'0', true", "'0', false")


def lift_limits(connection: ext.connection) -> None:
    """Let statements outside a transaction, such as CREATE INDEX CONCURRENTLY, take as long as they need.

    Not behind a transaction-mode pooler, where a session's setting would leak to other clients.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone()[0] == connection.info.backend_pid:
            cursor.execute(f"SET lock_timeout = 0; {for_the_session(LIMITS_SQL)}")
    connection.commit()


def prepare_schema(settings: Settings) -> str:
    """Upgrade to head if AUTO_MIGRATE allows it. Return a sentence about what was done.

    Raises MigrationError, with what to do, if the schema is not this code's afterwards.
    """
    try:
        with closing(connect(settings)) as connection:
            _check(connection)
            revision, missing = current(connection), missing_tables(connection)
            is_rewound = revision == head() and not missing and _is_rewound(connection)
    except psycopg2.errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"The database role may not read what a start looks at ({without_password(error, settings)}). The tables'"
            f" owner runs GRANT SELECT ON {VERSION_TABLE} TO the role, as docs/operations.md has it; then start again."
        ) from None
    except psycopg2.Error as error:
        raise MigrationError(_reason(error, settings)) from None
    if revision is not None and missing:
        raise MigrationError(
            f"The database's schema is at {revision}, but there is no table {missing[0]}. Restore it from a backup;"
            f" to begin without data, drop {VERSION_TABLE} and what is left of the tables {' and '.join(TABLES)}."
        )
    if revision == head():
        # No write: the service's role may have no right to change the schema.
        if is_rewound:
            raise MigrationError(DatabaseRewound.sentence)
        return f"The database's schema is up to date ({revision})."
    if revision is not None and revision not in known():
        raise MigrationError(
            f"The database's schema is at {revision}, which this version of taskapi does not know:"
            f" its own newest is {head()}. Deploy a newer taskapi, or connect to another database."
        )
    if not settings.auto_migrate:
        raise MigrationError(
            f"The database's schema is at {revision or 'nothing'}, this version of taskapi needs {head()},"
            f" and AUTO_MIGRATE is off: run `{COMMAND}`, then start again."
        )
    upgrade(settings)
    try:
        with closing(connect(settings)) as connection:
            is_rewound = _is_rewound(connection)
    except psycopg2.Error as error:
        raise MigrationError(_reason(error, settings)) from None
    if is_rewound:
        raise MigrationError(DatabaseRewound.sentence)
    return f"The database's schema was brought from {revision or 'nothing'} to {head()}."


def upgrade(settings: Settings) -> None:
    """Run `alembic upgrade head` on the database of the settings. Raises MigrationError, with what to do."""
    # Imported here: they take most of a second to load, and most starts have nothing to migrate.
    import alembic.command
    import alembic.config
    from sqlalchemy.exc import DBAPIError

    try:
        alembic.command.upgrade(alembic.config.Config(ROOT / "alembic.ini", attributes={"settings": settings}), "head")
    except TurnTaken as error:
        raise MigrationError(str(error)) from None
    except psycopg2.Error as error:
        raise MigrationError(_reason(error, settings)) from None
    except DBAPIError as error:
        raise MigrationError(_reason(error.orig or error, settings)) from None


def _is_rewound(connection: ext.connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(queries.load()["is_rewound"].text)
        return bool(cursor.fetchone()[0])


def _check(connection: ext.connection) -> None:
    """Raise MigrationError if taskapi cannot work on this database or with this role."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {PROPERTIES_SQL}, current_schema()")
        *properties, schema = cursor.fetchone()
    if problem := misfit(*properties):
        raise MigrationError(f"The database of DATABASE_URL cannot be used: {problem}.")
    if schema is None:
        raise MigrationError(
            "The database of DATABASE_URL cannot be used: no schema of its search_path exists. Create one, or run"
            " ALTER ROLE name RESET search_path, or ALTER DATABASE name RESET search_path."
        )


def _reason(error: Exception, settings: Settings) -> str:
    text = without_password(error, settings)
    code = getattr(error, "pgcode", None)
    if code == "40P01":
        return f"The migration met others' locks ({text}), and was rolled back; start again."
    if code in ("42P07", "42710", "42723"):
        return (
            f"The database has a table, or the like, of a name that taskapi needs ({text}), and no {VERSION_TABLE} that"
            " says it is taskapi's. Nothing was changed. Connect to a database of taskapi's own; of a backup, restore"
            f" {VERSION_TABLE}, too."
        )
    if code == "55P03":
        return (
            f"A table stayed locked for longer than a migration may wait ({text}). The migration was rolled back; start"
            " again."
        )
    if code == "42501":
        return (
            f"The database role may not change the schema ({text}). Run `{COMMAND}` with DATABASE_URL of the tables'"
            " owner, then start again."
        )
    if code == "25006":
        return (
            f"The database is read-only, and its schema has to change ({text}). Connect to the primary, or, where"
            " default_transaction_read_only is set for the role or the database, RESET it with ALTER ROLE or DATABASE."
        )
    if code is None:
        return f"The database of DATABASE_URL cannot be reached: {text}"
    return f"The migration failed, and was rolled back: {text}"


def main() -> int:
    """Prepare the schema. Print what was done, or one sentence about what is wrong. Return the exit code."""
    try:
        print(prepare_schema(Settings.from_environment()), flush=True)
    except (MigrationError, ConfigurationError) as error:
        print(f"taskapi: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
