"""The replay of the history is the tasks: after anything one does, many do at once, and clocks that go back."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import orjson
import pytest

from taskapi.errors import TaskNotFound
from taskapi.repository import Repository
from tests.conftest import NewRepository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of

ACTIONS = ("create", "update", "update", "update", "complete", "reopen", "delete")


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


def act(repository: Repository, chance: random.Random, ids: list[UUID]) -> None:
    """Do something to one of the tasks, often in vain: to one that is gone, or what changes nothing."""
    action, task_id = chance.choice(ACTIONS), chance.choice(ids)
    try:
        if action == "create":
            ids.append(
                id_of(repository.create_task(title=chance.choice("abc"), description=chance.choice([None, "x"])))
            )
        elif action == "update":
            changes = {"title": chance.choice("abc"), "description": chance.choice([None, "", "x", "y"])}
            repository.update_task(task_id=task_id, changes={key: changes[key] for key in chance.sample([*changes], 1)})
        elif action == "delete":
            repository.delete_task(task_id=task_id)
        else:
            repository.set_task_completed(task_id=task_id, is_completed=action == "complete")
    except TaskNotFound:
        pass


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_one_does(seed: int, repository: Repository, sql: Sql) -> None:
    chance = random.Random(seed)
    ids = [id_of(repository.create_task(title="a", description=None))]
    for _ in range(300):
        act(repository, chance, ids)
    assert_replay_equals_tasks(sql)
    assert {row[0] for row in sql.rows("SELECT DISTINCT action_type FROM task_history")} == {
        "CREATED",
        "UPDATED",
        "COMPLETED",
        "INCOMPLETED",
        "DELETED",
    }


def test_whatever_many_do_at_once(database_url: str, new_repository: NewRepository, sql: Sql) -> None:
    repository = new_repository(database_url, db_connections=8)
    ids = [id_of(repository.create_task(title="a", description=None)) for _ in range(3)]

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(60):
            act(repository, chance, ids)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert_replay_equals_tasks(sql)


def test_no_update_of_many_writers_is_lost(database_url: str, new_repository: NewRepository, sql: Sql) -> None:
    repository = new_repository(database_url, db_connections=8)
    task_id = id_of(repository.create_task(title="0", description=None))

    def write(number: int) -> dict[str, Any]:
        return task_of(repository.update_task(task_id=task_id, changes={"title": f"title {number}"}))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(write, range(400)))
    assert_replay_equals_tasks(sql)
    assert sql.value("SELECT version FROM tasks") == 401
    # Each answer has the writer's own change and the time of its entry.
    answered = {(answer["title"], answer["updated_at"]) for answer in answers}
    assert answered == {
        (snapshot["title"], snapshot["updated_at"])
        for (snapshot,) in sql.rows("SELECT snapshot FROM task_history WHERE version > 1")
    }
    # Each entry tells of the change from the very one before it.
    descriptions = [
        row[0] for row in sql.rows("SELECT description FROM task_history WHERE version > 1 ORDER BY version")
    ]
    for before, after in pairwise(descriptions):
        assert after.startswith(f"title: {before.partition(' -> ')[2]} -> ")
    assert orjson.loads(repository.get_task(task_id=task_id).task)["title"] in descriptions[-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda repository, task_id: repository.update_task(task_id=task_id, changes={"title": "after"}),
        lambda repository, task_id: repository.set_task_completed(task_id=task_id, is_completed=True),
        lambda repository, task_id: repository.delete_task(task_id=task_id),
    ],
    ids=["update", "complete", "delete"],
)
def test_a_clock_that_goes_back(change: Callable[[Repository, UUID], object], repository: Repository, sql: Sql) -> None:
    task_id = id_of(repository.create_task(title="before", description=None))
    # A change of next year's, which the clock has taken back since.
    with sql.transaction():
        sql.execute(
            "UPDATE tasks SET title = 'next year', updated_at = updated_at + interval '1 year', version = version + 1;"
            " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT id, 'UPDATED', '', updated_at, version, to_jsonb(answer(tasks)) FROM tasks"
        )
    future: datetime = sql.value("SELECT updated_at FROM tasks")
    change(repository, task_id)
    assert sql.value("SELECT max(timestamp) FROM task_history") == future + timedelta(microseconds=1)
    assert_replay_equals_tasks(sql)


# The replay itself


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tasks SET title = 'silently'",
        "UPDATE tasks SET description = 'silently'",
        "UPDATE tasks SET version = version + 1",
        "UPDATE tasks SET updated_at = updated_at + interval '1 microsecond'",
        "UPDATE tasks SET is_completed = true, completed_at = now()",
        "DELETE FROM tasks",
        "INSERT INTO tasks (title, created_at, updated_at) VALUES ('silently', now(), now())",
        "DELETE FROM task_history WHERE version = 2",
        "DELETE FROM task_history WHERE version = 3",
        "DELETE FROM task_history",
        "UPDATE task_history SET version = 4 WHERE version = 3",
        "UPDATE task_history SET timestamp = timestamp + interval '1 hour' WHERE version = 2",
        "UPDATE task_history SET timestamp = timestamp + interval '1 microsecond' WHERE version = 3",
        "UPDATE task_history SET action_type = 'COMPLETED' WHERE version = 2",
        "UPDATE task_history SET snapshot = snapshot || '{\"is_completed\": true}' WHERE version = 2",
        'UPDATE task_history SET snapshot = snapshot || \'{"title": "another"}\' WHERE version = 3',
    ],
)
def test_the_replay_finds(damage: str, repository: Repository, sql: Sql) -> None:
    task_id = id_of(repository.create_task(title="Buy", description=None))
    repository.update_task(task_id=task_id, changes={"description": "semi-skimmed"})
    repository.update_task(task_id=task_id, changes={"title": "Buy milk"})
    assert_replay_equals_tasks(sql)
    with sql.without_triggers():
        assert sql.execute(damage)
    with pytest.raises(AssertionError):
        assert_replay_equals_tasks(sql)
