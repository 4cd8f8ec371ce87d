"""What pg_dump writes can be restored, in each of the usual ways, and is as true and as strict as before."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from taskapi.embedded import find_binaries
from taskapi.migrations import prepare_schema
from taskapi.repository import Repository
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.migrating import schema
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of

ROWS = {table: f"SELECT * FROM {table} ORDER BY 1" for table in ("tasks", "task_history", "taskapi_version")}

OF_AN_OLDER_VERSION = """
WITH old AS (
    INSERT INTO tasks (title, created_at, updated_at)
    VALUES (E'\\u200B', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z')
    RETURNING tasks, id, title, updated_at
)
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT id, 'CREATED', format('title: %L', title), updated_at, 1, to_jsonb(answer(tasks)) FROM old
"""
"""Writes a task whose title shows nothing, as the first version allowed."""


def program(name: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run one of PostgreSQL's own programs, of the server's version."""
    command = [str(find_binaries() / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done


def psql(url: str, file: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return program("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-f", str(file), *arguments, url, check=check)


@pytest.fixture(scope="module")
def lived(module_database_url: str, new_repository: NewRepository) -> str:
    """The URL of a database with tasks of every kind: old, new, changed, completed, reopened, deleted."""
    with Sql(module_database_url) as sql, sql.without_triggers():
        sql.execute(OF_AN_OLDER_VERSION)
    repository = new_repository(module_database_url)
    tasks = [id_of(repository.create_task(title=f"Task {n}", description=None)) for n in range(5)]
    repository.update_task(task_id=tasks[1], changes={"title": "Another"}, idempotency_key="key")
    for is_completed in (True, False):
        repository.set_tasks_completed(task_ids=tasks[2:], is_completed=is_completed)
    repository.set_task_completed(task_id=tasks[2], is_completed=True)
    repository.delete_task(task_id=tasks[3])
    return module_database_url


def restore_plain(source: str, target: str, file: Path) -> None:
    program("pg_dump", "-f", str(file), source)
    psql(target, file)


def restore_custom(source: str, target: str, file: Path) -> None:
    program("pg_dump", "-Fc", "-f", str(file), source)
    program("pg_restore", "-d", target, str(file))


def restore_sections(source: str, target: str, file: Path) -> None:
    for section in ("pre-data", "data", "post-data"):
        program("pg_dump", f"--section={section}", "-f", str(file), source)
        psql(target, file)


def restore_data(source: str, target: str, file: Path) -> None:
    """Of the two tables, into a database that the migrations have made."""
    prepare_schema(Settings(database_url=target))
    program("pg_dump", "--data-only", "-t", "tasks", "-t", "task_history", "-f", str(file), source)
    psql(target, file, "--single-transaction")


def restore_custom_data(source: str, target: str, file: Path) -> None:
    prepare_schema(Settings(database_url=target))
    program("pg_dump", "-Fc", "--data-only", "-t", "tasks", "-t", "task_history", "-f", str(file), source)
    program("pg_restore", "--single-transaction", "-d", target, str(file))


@pytest.fixture
def restored(
    request: pytest.FixtureRequest, lived: str, empty_database_url: str, tmp_path: Path, new_repository: NewRepository
) -> Iterator[tuple[Repository, Sql]]:
    request.param(lived, empty_database_url, tmp_path / "dump")
    with Sql(empty_database_url) as sql:
        yield new_repository(empty_database_url), sql


@pytest.mark.parametrize(
    "restored",
    [restore_plain, restore_custom, restore_sections, restore_data, restore_custom_data],
    ids=lambda way: way.__name__.removeprefix("restore_"),
    indirect=True,
)
def test_a_restored_database_is_the_same_and_goes_on(restored: tuple[Repository, Sql], lived: str) -> None:
    repository, sql = restored
    with Sql(lived) as original:
        for table, rows in ROWS.items():
            assert sql.rows(rows) == original.rows(rows), table
    assert_replay_equals_tasks(sql)
    task_id = id_of(repository.create_task(title="After", description=None))
    repository.set_task_completed(task_id=task_id, is_completed=True)
    repository.delete_task(task_id=task_id)
    assert_replay_equals_tasks(sql)
    with pytest.raises(psycopg2.errors.RestrictViolation):
        sql.execute("DELETE FROM task_history")
    with pytest.raises(psycopg2.errors.IntegrityConstraintViolation):
        sql.execute("UPDATE tasks SET version = version + 1")


def test_the_schema_of_a_restored_database_is_the_same(lived: str, empty_database_url: str, tmp_path: Path) -> None:
    restore_plain(lived, empty_database_url, tmp_path / "dump")
    assert schema(empty_database_url) == schema(lived)


def test_half_of_the_data_is_refused_with_the_way_out(lived: str, empty_database_url: str, tmp_path: Path) -> None:
    prepare_schema(Settings(database_url=empty_database_url))
    for table in ("tasks", "task_history"):
        program("pg_dump", "--data-only", "-t", table, "-f", str(tmp_path / "dump"), lived)
        done = psql(empty_database_url, tmp_path / "dump", "--single-transaction", check=False)
        assert done.returncode != 0
        assert "--single-transaction" in done.stderr
    with Sql(empty_database_url) as sql:
        assert sql.value("SELECT count(*) FROM tasks") == 0


def test_a_deleted_task_does_not_come_back_by_itself(lived: str) -> None:
    """What a dump's data may do, a person may not: a task whose last entry is its deletion stays deleted."""
    with Sql(lived) as sql:
        entry = "SELECT task_id, version FROM task_history WHERE action_type = 'DELETED'"
        ((task_id, version),) = sql.rows(entry)
        for back in (version - 1, version, version + 1):
            with pytest.raises(psycopg2.errors.IntegrityConstraintViolation):
                sql.execute(
                    "INSERT INTO tasks (id, title, created_at, updated_at, version) VALUES (%s, 'x', now(), now(), %s)",
                    (task_id, back),
                )


def test_another_schema_than_public(empty_database_url: str, tmp_path: Path) -> None:
    """A role may keep its tables where its search_path leads; the triggers find them there, in a restore, too."""
    with Sql(empty_database_url) as sql:
        sql.execute('CREATE SCHEMA "Our tasks"')
        sql.execute(f'ALTER DATABASE {sql.database} SET search_path = "Our tasks"')
    prepare_schema(Settings(database_url=empty_database_url))
    with Sql(empty_database_url) as sql, sql.transaction():
        sql.execute("INSERT INTO tasks (title, created_at, updated_at) VALUES ('x', now(), now())")
        sql.execute(
            "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT id, 'CREATED', '', updated_at, 1, to_jsonb(answer(tasks)) FROM tasks"
        )
    pattern = '"Our tasks".task*'
    program(
        "pg_dump",
        "--data-only",
        "-t",
        pattern,
        "-T",
        "*.taskapi_version",
        "-f",
        str(tmp_path / "dump"),
        empty_database_url,
    )
    with Sql(empty_database_url) as sql, sql.without_triggers():
        sql.execute("TRUNCATE tasks, task_history")
    psql(empty_database_url, tmp_path / "dump", "--single-transaction")
    with Sql(empty_database_url) as sql:
        assert_replay_equals_tasks(sql)
