"""Prepared statements: a connection that remembers them stays of use, whatever happens to it."""

from uuid import UUID

import pytest

from taskapi.errors import IdempotencyKeyReused, RolledBack
from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of


@pytest.fixture
def repository(database_url: str, new_repository: NewRepository) -> Repository:
    """One connection, so that each statement meets what the one before it has left."""
    return new_repository(database_url, db_connections=1, db_lock_timeout=0.05)


def test_a_statement_whose_first_run_failed_runs_afterwards(
    repository: Repository, database_url: str, sql: Sql
) -> None:
    task_id = id_of(repository.create_task(title="Buy", description=None))
    with Sql(database_url) as holder, holder.transaction():
        holder.execute("SELECT FROM tasks FOR UPDATE")
        for _ in range(2):
            with pytest.raises(RolledBack):
                repository.update_task(task_id=task_id, changes={"title": "in vain"})
    assert task_of(repository.update_task(task_id=task_id, changes={"title": "Buy milk"}))["title"] == "Buy milk"
    assert_replay_equals_tasks(sql)


def test_a_statement_that_failed_later_runs_afterwards(repository: Repository, database_url: str) -> None:
    task_id = id_of(repository.create_task(title="Buy", description=None))
    repository.update_task(task_id=task_id, changes={"title": "Buy milk"})
    with Sql(database_url) as holder, holder.transaction():
        holder.execute("SELECT FROM tasks FOR UPDATE")
        with pytest.raises(RolledBack):
            repository.update_task(task_id=task_id, changes={"title": "in vain"})
    assert task_of(repository.update_task(task_id=task_id, changes={"title": "Buy it"}))["title"] == "Buy it"


def test_a_first_run_that_lost_a_race_for_its_key_finds_the_key(repository: Repository, database_url: str) -> None:
    with Sql(database_url) as holder:
        holder.execute("BEGIN")
        # Uncommitted, so that the statement does not see it, and runs into it.
        holder.execute(
            "INSERT INTO tasks (title, created_at, updated_at) VALUES ('first', now(), now());"
            " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot,"
            " idempotency_key, request_digest)"
            " SELECT id, 'CREATED', '', created_at, 1, to_jsonb(answer(tasks)), 'key', '\\x00' FROM tasks"
        )
        with pytest.raises(RolledBack):
            repository.create_task(title="second", description=None, idempotency_key="key")
        holder.execute("COMMIT")
    with pytest.raises(IdempotencyKeyReused):
        repository.create_task(title="second", description=None, idempotency_key="key")


@pytest.mark.parametrize(
    "migration",
    [
        "ALTER TABLE taskapi_version ALTER version_num TYPE text",
        "ALTER DOMAIN task_title DROP CONSTRAINT tasks_title_length;"
        " ALTER DOMAIN task_title ADD CONSTRAINT tasks_title_length CHECK (char_length(VALUE) <= 300)",
        "ALTER TABLE tasks ADD COLUMN colour text; DROP INDEX tasks_list",
    ],
)
def test_a_migration_under_a_running_service(migration: str, repository: Repository, sql: Sql) -> None:
    def everything(task_id: UUID) -> None:
        repository.update_task(task_id=task_id, changes={"title": "Buy milk"})
        repository.set_task_completed(task_id=task_id, is_completed=True)
        repository.list_tasks()
        repository.list_history(task_id=None, action_type=None, limit=10, offset=0)
        repository.weekly_stats()
        repository.schema_version()
        repository.delete_task(task_id=id_of(repository.get_task(task_id=task_id)))

    everything(id_of(repository.create_task(title="before", description=None)))
    sql.execute(migration)
    for _ in range(2):
        everything(id_of(repository.create_task(title="after", description=None)))
    assert_replay_equals_tasks(sql)
