"""Databases whose default isolation is a higher one: the statements ask for the level that they are written for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from taskapi.database import database
from taskapi.migrations import prepare_schema
from taskapi.settings import Settings
from tests.conftest import NewRepository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of

WRITES = 96


@pytest.fixture(params=["serializable", "repeatable read"])
def strict_url(request: pytest.FixtureRequest, database_url: str, sql: Sql) -> str:
    """A database whose sessions begin on a higher level."""
    sql.execute(f"ALTER DATABASE {sql.database} SET default_transaction_isolation = '{request.param}'")
    return database_url


@pytest.mark.parametrize("prepares", [True, False], ids=["prepared", "not prepared"])
def test_writers_do_not_fail_each_other(
    strict_url: str, prepares: bool, new_repository: NewRepository, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the second runs, which would hide that a first one failed.
    monkeypatch.setattr(database, "CONFLICTS", set())
    repository = new_repository(strict_url, db_connections=8, db_prepare=prepares)
    task_id = id_of(repository.create_task(title="the one that all want", description=None))

    def update(number: int) -> object:
        return repository.update_task(task_id=task_id, changes={"title": f"{number}"})

    def create(number: int) -> object:
        return repository.create_task(title=f"{number}", description=None)

    with ThreadPoolExecutor(8) as threads:
        for write in (update, create):
            list(threads.map(write, range(WRITES)))
    assert sql.value("SELECT count(*) FROM task_history") == 1 + 2 * WRITES
    assert_replay_equals_tasks(sql)


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_migrations_do_not_wait_for_themselves(level: str, empty_database_url: str) -> None:
    """Building an index concurrently waits for all snapshots, also for one of the connection that keeps the turn."""
    with Sql(empty_database_url) as sql, ThreadPoolExecutor(1) as thread:
        sql.execute(f"ALTER DATABASE {sql.database} SET default_transaction_isolation = '{level}'")
        done = thread.submit(prepare_schema, Settings(database_url=empty_database_url))
        try:
            assert "was brought from nothing" in done.result(timeout=60)
        finally:
            sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
