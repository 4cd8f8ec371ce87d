"""Brings the database's schema to the code's: `python -m taskapi.migrations`, which the service runs at its start."""

import re
import sys

import alembic.command
import alembic.config
import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy import Engine, create_engine, inspect
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

LOCK_TIMEOUT_SQL = (
    "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
"""A migration that waits for a table makes everybody behind it wait, too: rather give up, and try again later. Its work
may take as long as it needs, whatever limits the role has."""

COMMAND = "AUTO_MIGRATE=true python -m taskapi.migrations"
"""What brings the schema up in the environment of a service that may not do so itself."""


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
        current = _current(settings)
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
        upgrade()
        return f"The database's schema was brought from {current or 'nothing'} to {head()}."
    except DBAPIError as error:
        raise MigrationError(_explained(error, settings)) from None


def upgrade() -> None:
    """Run `alembic upgrade head` on DATABASE_URL."""
    alembic.command.upgrade(alembic.config.Config(ROOT / "alembic.ini"), "head")


def _current(settings: Settings) -> str | None:
    """The migration that the database is at, None when it has no schema of ours."""
    with engine(settings).connect() as connection:
        *properties, schema = connection.exec_driver_sql(f"SELECT {PROPERTIES_SQL}, current_schema()").one()
        if problem := misfit(*properties):
            raise MigrationError(f"The database of DATABASE_URL cannot be used: {problem}.")
        if schema is None:
            raise MigrationError(
                "The database of DATABASE_URL cannot be used: no schema of its search_path exists. Create one, or run"
                " ALTER ROLE name RESET search_path, or ALTER DATABASE name RESET search_path."
            )
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _known() -> set[str]:
    return {path.name.partition("_")[0] for path in (ROOT / "alembic" / "versions").glob("[0-9]*.py")}


def _explained(error: DBAPIError, settings: Settings) -> str:
    text = without_password(error.orig or error, settings)
    code = getattr(error.orig, "pgcode", None)
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
