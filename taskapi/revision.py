"""Which migration the database is at, which one this code needs, and the table that says so. It changes nothing.

Apart from taskapi.migrations, because every worker needs it, and none needs what migrates: Alembic and its own.
"""

import re

import psycopg2.extensions as ext
from psycopg2 import sql

from taskapi.places import ROOT

COMMAND = "AUTO_MIGRATE=true python -m taskapi.migrations"
"""What brings the schema up in the environment of a service that may not do so itself."""

VERSION_TABLE = "taskapi_version"
"""Where Alembic keeps which migration the database is at: not its default table, which other applications use, too."""

FIRST_REVISION = "0001"

FIRST_VERSION_TABLE = "alembic_version"
"""Where that is kept while the database is at the first migration, whose code knew no other table."""

TABLES = ("tasks", "task_history")
"""The tables that every migration has."""


def known() -> set[str]:
    """The numbers of this code's migrations: what their files' names begin with."""
    return {re.match(r"\d+", path.name)[0] for path in (ROOT / "alembic" / "versions").glob("[0-9]*.py")}  # type: ignore[index]


def head() -> str:
    """The newest migration of this code."""
    return max(known())


def rename_version_table_sql(old: str, new: str) -> list[str]:
    """The statements that rename the version table. It keeps its owner and its grants."""
    return [
        f"ALTER TABLE {old} RENAME TO {new}",
        f"ALTER TABLE {new} RENAME CONSTRAINT {old}_pkc TO {new}_pkc",
    ]


def current(connection: ext.connection) -> str | None:
    """The migration that the database is at, None when it has no schema of ours.

    What another application keeps in Alembic's default table does not count, even where it calls its migration as we
    do our first one: then our tables are not there.
    """
    if _exists(connection, VERSION_TABLE):
        return _only_row(connection, VERSION_TABLE)
    if _exists(connection, FIRST_VERSION_TABLE) and not missing_tables(connection):
        found = _only_row(connection, FIRST_VERSION_TABLE)
        return found if found == FIRST_REVISION else None
    return None


def missing_tables(connection: ext.connection) -> list[str]:
    """Those of our tables that are not there."""
    return [table for table in TABLES if not _exists(connection, table)]


def _exists(connection: ext.connection, table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
        return bool(cursor.fetchone()[0])


def _only_row(connection: ext.connection, table: str) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(table)))
        rows = cursor.fetchall()
    return rows[0][0] if len(rows) == 1 else None
