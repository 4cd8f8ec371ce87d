"""Databases whose default isolation is a higher one: the statements ask for the level that they are written for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from taskapi.database import database
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
