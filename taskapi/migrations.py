"""Brings the database's schema to the code's: `python -m taskapi.migrations`, which the service runs at its start."""

import re
import sys
from collections.abc import Sequence

import alembic.command
import alembic.config
import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy import Connection, Engine, column, create_engine, select
from sqlalchemy import table as table_of
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from taskapi.connection import PROPERTIES_SQL, misfit
from taskapi.database_url import libpq_url, without_password
from taskapi.errors import ConfigurationError, TaskapiError
from taskapi.logs import take_over_prints
from taskapi.places import ROOT
from taskapi.settings import Settings

ADVISORY_LOCK_SQL = "SELECT pg_advisory_xact_lock(7225820101)"
"""One migrator at a time on a database; the number is taskapi's own, and otherwise without meaning."""

LOCK_TIMEOUT = 5
"""Seconds that a migration waits for a lock: for another migrator's, and for a table."""

LOCK_TIMEOUT_SQL = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'; SET LOCAL statement_timeout = 0;"
    " SET LOCAL idle_in_transaction_session_timeout = 0"
)
"""A migration that waits for a table makes everybody behind it wait, too: rather give up, and try again later. Its work
may take as long as it needs, whatever limits the role has."""

COMMAND = "AUTO_MIGRATE=true python -m taskapi.migrations"
"""What brings the schema up in the environment of a service that may not do so itself."""


VERSION_TABLE = "taskapi_version"
"""Where Alembic keeps which migration the database is at: not its default table, which other applications use, too."""

FIRST_VERSION_TABLE = "alembic_version"
"""Where that is kept while the database is at the first migration, whose code knew no other table."""

TABLES = ("tasks", "task_history")
"""The tables that every migration has."""


class MigrationError(TaskapiError):
    """The schema cannot be brought up to date."""


def head() -> str:
    """The newest migration of this code. Its number is the start of its file's name."""
    return max(re.match(r"\d+", path.name)[0] for path in (ROOT / "alembic" / "versions").glob("[0-9]*.py"))  # type: ignore[index]


def engine(settings: Settings) -> Engine:
    """An engine for one short piece of work: no pool. The URL is libpq's to read, not SQLAlchemy's."""
    url = libpq_url(settings)
    return create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(
            **{"connect_timeout": 15, **parse_dsn(url)}, client_encoding="utf8", application_name="taskapi-migrations"
        ),
        poolclass=NullPool,
    )


def prepare_schema(settings: Settings) -> str:
    """Upgrade to head where AUTO_MIGRATE allows it; return a sentence about what was done.

    Raises MigrationError, with what to do, when the schema is not this code's afterwards.
    """
    try:
        with engine(settings).connect() as connection:
            _check(connection)
            current, missing = revision(connection), missing_tables(connection)
        if current is not None and missing:
            raise MigrationError(
                f"The database's schema is at {current}, but there is no table {missing[0]}. Restore it from a backup;"
                f" to begin without data, drop {VERSION_TABLE} and what is left of the tables {' and '.join(TABLES)}."
            )
        if current == head():
            # Without a write, so that a role that may not change the schema can run the service.
            return f"The database's schema is up to date ({current})."
        if current is not None and current not in _known():
            raise MigrationError(
                f"The database's schema is at {current}, which this version of taskapi does not know:"
                f" its own newest is {head()}. Deploy a newer taskapi, or connect to another database."
            )
        if not settings.auto_migrate:
            raise MigrationError(
                f"The database's schema is at {current or 'nothing'}, this version of taskapi needs {head()},"
                f" and AUTO_MIGRATE is off: run `{COMMAND}`, then start again."
            )
        upgrade(settings)
        return f"The database's schema was brought from {current or 'nothing'} to {head()}."
    except DBAPIError as error:
        raise MigrationError(_explained(error, settings)) from None


def upgrade(settings: Settings) -> None:
    """Run `alembic upgrade head` on the database of the settings."""
    alembic.command.upgrade(alembic.config.Config(ROOT / "alembic.ini", attributes={"settings": settings}), "head")


def version_table(revision: str | None) -> str:
    """The table in which Alembic keeps that a database is at this migration; None: at no migration."""
    return FIRST_VERSION_TABLE if revision == "0001" else VERSION_TABLE


def move_version_sql(old: str | None, new: str | None) -> list[str]:
    """The statements that bring the version table of the migration `old` to the name that it has at `new`.

    Renamed, it keeps its owner and its grants.
    """
    before, after = version_table(old), version_table(new)
    if before == after:
        return []
    return [
        f"ALTER TABLE {before} RENAME TO {after}",
        f"ALTER TABLE {after} RENAME CONSTRAINT {before}_pkc TO {after}_pkc",
    ]


def revision(connection: Connection) -> str | None:
    """The migration that the database is at, None when it has no schema of ours.

    What another application keeps in Alembic's default table does not count, even where it calls its migration as we
    do our first one: then our tables are not there.
    """
    if _exists(connection, VERSION_TABLE):
        return _only_row(connection, VERSION_TABLE)
    if _exists(connection, FIRST_VERSION_TABLE) and not missing_tables(connection):
        found = _only_row(connection, FIRST_VERSION_TABLE)
        return found if version_table(found) == FIRST_VERSION_TABLE else None
    return None


def missing_tables(connection: Connection) -> list[str]:
    """Those of our tables that are not there."""
    return [table for table in TABLES if not _exists(connection, table)]


def _exists(connection: Connection, table: str) -> bool:
    return connection.exec_driver_sql("SELECT to_regclass(%s) IS NOT NULL", (table,)).scalar() is True


def _only_row(connection: Connection, table: str) -> str | None:
    rows: Sequence[str] = connection.execute(select(column("version_num")).select_from(table_of(table))).scalars().all()
    return rows[0] if len(rows) == 1 else None


def _check(connection: Connection) -> None:
    """Raise MigrationError where taskapi cannot work on this database or with this role."""
    *properties, schema = connection.exec_driver_sql(f"SELECT {PROPERTIES_SQL}, current_schema()").one()
    if problem := misfit(*properties):
        raise MigrationError(f"The database of DATABASE_URL cannot be used: {problem}.")
    if schema is None:
        raise MigrationError(
            "The database of DATABASE_URL cannot be used: no schema of its search_path exists. Create one, or run"
            " ALTER ROLE name RESET search_path, or ALTER DATABASE name RESET search_path."
        )


def _known() -> set[str]:
    return {path.name.partition("_")[0] for path in (ROOT / "alembic" / "versions").glob("[0-9]*.py")}


def _explained(error: DBAPIError, settings: Settings) -> str:
    text = without_password(error.orig or error, settings)
    code = getattr(error.orig, "pgcode", None)
    if code == "55P03" and error.statement == ADVISORY_LOCK_SQL:
        return (
            f"Another migration of this database has been running for more than {LOCK_TIMEOUT} s. Nothing was changed"
            " here; start again when it has ended."
        )
    if code == "40P01":
        return f"The migration met others' locks ({text}). Nothing was changed; start again."
    if code in ("42P07", "42710", "42723"):
        return (
            f"The database has a table, or the like, of a name that taskapi needs ({text}), and no {VERSION_TABLE} that"
            " says it is taskapi's. Nothing was changed. Connect to a database of taskapi's own; of a backup, restore"
            f" {VERSION_TABLE}, too."
        )
    if code == "55P03":
        return f"A table stayed locked for longer than a migration may wait ({text}). Nothing was changed; start again."
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
    return f"The migration failed, and nothing was changed: {text}"


def main() -> int:
    """Prepare the schema; print what was done, or in one sentence what is wrong. Return the exit code."""
    try:
        print(prepare_schema(Settings.from_environment()), flush=True)
    except (MigrationError, ConfigurationError) as error:
        print(f"taskapi: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
