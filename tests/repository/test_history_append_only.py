"""The history is append-only, and true: no entry is changed or lost, none lies, and no task changes without one."""

from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest

from taskapi.repository import Repository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of

Refused = psycopg2.errors.RestrictViolation
Untrue = psycopg2.errors.IntegrityConstraintViolation


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


@pytest.fixture
def task_id(repository: Repository) -> UUID:
    """A task with two entries."""
    task_id = id_of(repository.create_task(title="Buy milk", description=None))
    repository.set_task_completed(task_id=task_id, is_completed=True)
    return task_id


def history(sql: Sql) -> list[tuple[Any, ...]]:
    return sql.rows("SELECT * FROM task_history ORDER BY timestamp")


def add_entry(sql: Sql, task_id: UUID, version: int, action: str = "UPDATED") -> None:
    sql.execute(
        "INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
        " VALUES (%s, %s, 'by hand', clock_timestamp(), %s, '{}')",
        (str(task_id), action, version),
    )


# Entries stay


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task_history SET description = 'another'",
        "UPDATE task_history SET description = description",
        "UPDATE task_history SET description = 'another' WHERE false",
        "DELETE FROM task_history",
        "DELETE FROM task_history WHERE false",
        "TRUNCATE task_history",
        "TRUNCATE task_history, tasks",
        "INSERT INTO task_history SELECT * FROM task_history"
        " ON CONFLICT (owner, task_id, version) DO UPDATE SET description = 'another'",
        "MERGE INTO task_history USING tasks ON true WHEN MATCHED THEN DELETE",
    ],
)
def test_no_statement_rewrites_it(statement: str, task_id: UUID, sql: Sql) -> None:
    before = history(sql)
    assert len(before) == 2
    with pytest.raises(Refused, match="the history is append-only"):
        sql.execute(statement)
    assert history(sql) == before


def test_entries_outlive_their_task(task_id: UUID, repository: Repository, sql: Sql) -> None:
    before = history(sql)
    repository.delete_task(task_id=task_id)
    assert sql.value("SELECT count(*) FROM tasks") == 0
    assert history(sql)[:2] == before
    assert sql.rows("SELECT task_id, action_type, version FROM task_history WHERE version = 3") == [
        (str(task_id), "DELETED", 3)
    ]


# Entries are true


def test_an_entry_needs_its_task(sql: Sql) -> None:
    with pytest.raises(Untrue, match=r"the entry UPDATED of task .* is not true: the task is not there"):
        add_entry(sql, uuid4(), 2)


def test_an_entry_of_a_deletion_needs_the_deletion(task_id: UUID, sql: Sql) -> None:
    with pytest.raises(Untrue, match=r"the entry DELETED of task .* is not true: the task is there"):
        add_entry(sql, task_id, 3, "DELETED")


def test_a_deleted_task_gets_no_more_entries(task_id: UUID, repository: Repository, sql: Sql) -> None:
    repository.delete_task(task_id=task_id)
    with pytest.raises(Untrue):
        add_entry(sql, task_id, 4)


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_has_one_entry(version: int, task_id: UUID, sql: Sql) -> None:
    with pytest.raises(psycopg2.errors.UniqueViolation, match="task_history_pkey"):
        add_entry(sql, task_id, version, "CREATED" if version == 1 else "UPDATED")


@pytest.mark.parametrize(("action", "version"), [("CREATED", 3), ("UPDATED", 1)])
def test_created_is_the_first_and_only_the_first(action: str, version: int, task_id: UUID, sql: Sql) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation, match="task_history_created_first"):
        add_entry(sql, task_id, version, action)


def test_there_are_six_actions(task_id: UUID, sql: Sql) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation, match="task_history_action_type"):
        add_entry(sql, task_id, 3, "RENAMED")


# No change without an entry


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tasks (title, created_at, updated_at) VALUES ('silently', now(), now())",
        "INSERT INTO tasks (title, created_at, updated_at, version) VALUES ('silently', now(), now(), 2)",
        "UPDATE tasks SET title = 'silently'",
        "UPDATE tasks SET title = 'silently', version = version + 1",
        "UPDATE tasks SET version = version - 1",
        "DELETE FROM tasks",
    ],
)
def test_a_silent_change_is_refused_at_the_commit(statement: str, task_id: UUID, sql: Sql) -> None:
    with pytest.raises(Untrue, match="has no entry"), sql.transaction():
        # The entry may follow in the same transaction: until then nothing is said.
        assert sql.execute(statement) == 1
    assert sql.rows("SELECT title, version FROM tasks") == [("Buy milk", 2)]
    assert_replay_equals_tasks(sql)


@pytest.mark.parametrize("column", ["id = gen_random_uuid()", "created_at = now()"])
def test_what_never_changes_cannot_even_with_an_entry(column: str, task_id: UUID, sql: Sql) -> None:
    sql.execute("BEGIN")
    sql.execute(f"UPDATE tasks SET {column}, version = version + 1")
    add_entry(sql, task_id if "created_at" in column else sql.value("SELECT id FROM tasks"), 3)
    with pytest.raises(Untrue):
        sql.execute("COMMIT")
    assert_replay_equals_tasks(sql)


def test_a_change_and_its_entry_may_be_two_statements(task_id: UUID, sql: Sql) -> None:
    with sql.transaction():
        sql.execute("UPDATE tasks SET title = 'By hand', version = version + 1")
        add_entry(sql, task_id, 3)
    assert sql.rows("SELECT title, version FROM tasks") == [("By hand", 3)]


def test_two_changes_need_two_entries(task_id: UUID, sql: Sql) -> None:
    change = "UPDATE tasks SET title = title || '!', version = version + 1"
    sql.execute("BEGIN")
    sql.execute(change)
    sql.execute(change)
    add_entry(sql, task_id, 3)
    with pytest.raises(Untrue):
        sql.execute("COMMIT")
    with sql.transaction():
        for version in (3, 4):
            sql.execute(change)
            add_entry(sql, task_id, version)
    assert sql.rows("SELECT title, version FROM tasks") == [("Buy milk!!", 4)]


@pytest.mark.parametrize("statement", ["TRUNCATE tasks", "TRUNCATE tasks CASCADE"])
def test_truncating_the_tasks_is_refused(statement: str, task_id: UUID, sql: Sql) -> None:
    with pytest.raises(Refused, match="TRUNCATE would remove tasks without an entry"):
        sql.execute(statement)
    assert sql.value("SELECT count(*) FROM tasks") == 1
