"""The version table is taskapi's own: older databases move over and back, and other applications' tables are let be."""

from collections.abc import Callable
from io import StringIO

import alembic.command
import pytest
from alembic.config import Config

from taskapi import migrations
from taskapi.migrations import MigrationError, prepare_schema
from taskapi.places import ROOT
from taskapi.revision import head
from taskapi.settings import Settings
from tests.support.migrating import psql, schema
from tests.support.server import Server
from tests.support.sql import Sql

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
OLD = ["alembic_version", "task_history", "tasks"]
NEW = [
    "history_periods",
    "history_totals",
    "task_history",
    "task_quarters",
    "task_totals",
    "taskapi_version",
    "tasks",
]


def settings(url: str) -> Settings:
    return Settings(database_url=url)


def configuration(url: str) -> Config:
    return Config(ROOT / "alembic.ini", attributes={"settings": settings(url)}, output_buffer=StringIO())


def upgrade(url: str, revision: str) -> None:
    alembic.command.upgrade(configuration(url), revision)


def downgrade(url: str, revision: str) -> None:
    alembic.command.downgrade(configuration(url), revision)


def tables(sql: Sql) -> list[str]:
    return [name for (name,) in sql.rows(TABLES)]


def test_an_older_database_moves_over_and_back(
    empty_database_url: str, template_url: str, new_role: Callable[[str], str]
) -> None:
    upgrade(empty_database_url, "0001")
    before = schema(empty_database_url)
    with Sql(empty_database_url) as sql:
        assert tables(sql) == OLD
        new_role(empty_database_url)
        sql.execute("GRANT SELECT ON alembic_version TO somebody")
        newest = head()
        done = prepare_schema(settings(empty_database_url))
        assert done == f"The database's schema was brought from 0001 to {newest}."
        assert tables(sql) == NEW
        assert sql.value("SELECT has_table_privilege('somebody', 'taskapi_version', 'SELECT')")
        sql.execute("REVOKE ALL ON taskapi_version FROM somebody")
        downgrade(empty_database_url, "0001")
        assert tables(sql) == OLD
        assert schema(empty_database_url) == before
        alembic.command.current(configuration(empty_database_url))
        assert tables(sql) == OLD
        upgrade(empty_database_url, "head")
        sql.execute("CREATE EXTENSION pg_stat_statements")
    assert schema(empty_database_url) == schema(template_url)


def test_the_sql_for_hand_made_changes_moves_it_too(empty_database_url: str) -> None:
    upgrade(empty_database_url, "0001")
    with Sql(empty_database_url) as sql:
        newest = head()
        for command, path, after in (
            (alembic.command.upgrade, "0001:head", NEW),
            (alembic.command.downgrade, f"{newest}:0001", OLD),
        ):
            printed = configuration(empty_database_url)
            command(printed, path, sql=True)
            assert isinstance(printed.output_buffer, StringIO)
            psql(empty_database_url, printed.output_buffer.getvalue())
            assert tables(sql) == after
        assert sql.value("SELECT version_num FROM alembic_version") == "0001"


@pytest.mark.parametrize("revision", ["0001", "0002", "1975ea83b712"])
def test_another_applications_table_is_let_be(revision: str, empty_database_url: str) -> None:
    """Also where it calls its migration as we call one of ours."""
    with Sql(empty_database_url) as sql:
        sql.execute("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
        sql.execute("INSERT INTO alembic_version VALUES (%s)", (revision,))
        newest = head()
        for done in (f"was brought from nothing to {newest}", f"is up to date ({newest})"):
            assert prepare_schema(settings(empty_database_url)) == f"The database's schema {done}."
        downgrade(empty_database_url, "base")
        assert sql.rows("SELECT version_num FROM alembic_version") == [(revision,)]
        assert tables(sql) == ["alembic_version", "taskapi_version"]


def test_another_applications_tasks_are_told(empty_database_url: str) -> None:
    with Sql(empty_database_url) as sql:
        sql.execute("CREATE TABLE tasks (id int)")
        with pytest.raises(MigrationError, match=r'name that taskapi needs .relation "tasks" already exists'):
            prepare_schema(settings(empty_database_url))
        assert tables(sql) == ["tasks"]


@pytest.mark.parametrize("table", ["tasks", "task_history"])
def test_a_table_that_is_missing_stops_the_start(table: str, database_url: str, sql: Sql) -> None:
    sql.execute(f"DROP TABLE {table} CASCADE")
    with pytest.raises(MigrationError, match=rf"there is no table {table}\. Restore it from a backup;"):
        prepare_schema(settings(database_url))


def test_the_settings_database_is_the_one_that_is_migrated(
    empty_database_url: str, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_database()
    downgrade(other, "base")
    monkeypatch.setenv("DATABASE_URL", other)
    done = prepare_schema(settings(empty_database_url))
    assert done == f"The database's schema was brought from nothing to {head()}."
    with Sql(empty_database_url) as sql, Sql(other) as untouched:
        assert tables(sql) == NEW
        assert tables(untouched) == ["taskapi_version"]


def test_another_migrator_is_not_waited_for_without_end(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "TURN_TIMEOUT", 0.1)
    with Sql(empty_database_url) as holder:
        with holder.transaction():
            holder.execute(migrations.ADVISORY_LOCK_SQL)
            with pytest.raises(MigrationError, match="Another migration of this database has been running"):
                prepare_schema(settings(empty_database_url))
        assert tables(holder) == []


def test_the_limit_is_that_of_tables() -> None:
    assert f"lock_timeout = '{migrations.LOCK_TIMEOUT}s'" in migrations.LOCK_TIMEOUT_SQL
    assert migrations.LOCK_TIMEOUT == 5


def test_a_database_that_is_lost_after_its_migrations(
    empty_database_url: str, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start says so in a sentence."""
    with Sql(empty_database_url) as sql:
        database = sql.database
    run = migrations.upgrade

    def upgrade_and_lose(settings: Settings) -> None:
        run(settings)
        with Sql(postgres.embedded.url) as other:
            other.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")

    monkeypatch.setattr(migrations, "upgrade", upgrade_and_lose)
    with pytest.raises(MigrationError, match="not currently accepting connections"):
        prepare_schema(settings(empty_database_url))
