"""The migration of the database, the one that this code needs, and the table that holds it. Changes nothing.

Separate from taskapi.migrations, because every worker needs this, but no worker needs Alembic.
"""

import re

import psycopg2.extensions as ext
from psycopg2 import sql

from taskapi.places import ROOT

COMMAND = "AUTO_MIGRATE=true python -m taskapi.migrations"
"""The command that migrates the schema for a service with AUTO_MIGRATE off."""

VERSION_TABLE = "taskapi_version"
"""Alembic's table for the database's migration. Not its default table, which other applications may use, too."""

FIRST_REVISION = "0001"

FIRST_VERSION_TABLE = "alembic_version"
"""The table that the first migration uses instead."""

TABLES = ("tasks", "task_history")
"""The tables that every migration has."""


def known() -> set[str]:
    """The numbers of this code's migrations, from the start of the files' names."""
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
    """The migration of the database, None if it has no taskapi schema.

    Another application may use Alembic's default table, and may even call its migration as we call our first one. It
    does not count, since then our tables are missing.
    """
    if _exists(connection, VERSION_TABLE):
        return _only_row(connection, VERSION_TABLE)
    if _exists(connection, FIRST_VERSION_TABLE) and not missing_tables(connection):
        found = _only_row(connection, FIRST_VERSION_TABLE)
        return found if found == FIRST_REVISION else None
    return None


def missing_tables(connection: ext.connection) -> list[str]:
    """Our tables that do not exist."""
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
