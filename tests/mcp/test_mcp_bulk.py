"""The statements for many tasks: all or none, once for each key, and in one round trip, whoever else is writing."""

import random
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson
import pytest

from taskapi.errors import IdempotencyKeyReused, StatementFailed, TaskNotFound
from taskapi.repository import Repository
from taskapi.repository.base import Written
from tests.conftest import NewRepository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.waiting import wait_until

WRITERS = 6


@pytest.fixture
def crowd(database_url: str, new_repository: NewRepository) -> Repository:
    """A repository with a connection for each of the writers."""
    return new_repository(database_url, db_connections=WRITERS)


def create(repository: Repository, count: int) -> list[uuid.UUID]:
    written = repository.create_tasks(tasks=[{"title": f"task {n}", "description": None} for n in range(count)])
    return [uuid.UUID(task["id"]) for task in orjson.loads(written.task)]


def at_once(*calls: Callable[[], Written]) -> list[Any]:
    """What each of the calls returned or raised, all begun at the same time."""

    def outcome(call: Callable[[], Written]) -> Any:
        try:
            return call()
        except (TaskNotFound, IdempotencyKeyReused) as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def test_one_statement_each(repository: Repository) -> None:
    ran: list[str] = []
    database = repository._database

    class Counting:
        def run(self, name: str, parameters: dict[str, Any], *, repeatable: bool, once: bool = False) -> Any:
            ran.append(name)
            return database.run(name, parameters, repeatable=repeatable, once=once)

    counted = Repository(Counting())
    ids = create(counted, 50)
    counted.set_tasks_completed(task_ids=ids, is_completed=True)
    counted.delete_tasks(task_ids=ids)
    assert ran == ["create_tasks", "change_tasks", "delete_tasks"]


def test_the_order_is_that_of_the_request(repository: Repository, sql: Sql) -> None:
    ids = create(repository, 20)
    shuffled = random.Random(1).sample(ids, 20)
    repository.set_tasks_completed(task_ids=shuffled, is_completed=True)
    repository.delete_tasks(task_ids=shuffled[::-1])
    logged = sql.rows("SELECT task_id::text FROM task_history ORDER BY timestamp")
    assert [uuid.UUID(task_id) for (task_id,) in logged] == ids + shuffled + shuffled[::-1]
    assert_replay_equals_tasks(sql)


def test_a_rule_that_one_task_breaks_stops_all(repository: Repository, sql: Sql) -> None:
    create(repository, 1)
    tasks = [{"title": "good", "description": None}, {"title": "x" * 256, "description": None}]
    with pytest.raises(StatementFailed, match=r"23514.*tasks_title_length"):
        repository.create_tasks(tasks=tasks, idempotency_key="k")
    assert sql.value("SELECT count(*) FROM task_history") == 1
    assert not repository.create_tasks(tasks=tasks[:1], idempotency_key="k").replayed


def test_text_comes_back_as_it_went_in(repository: Repository) -> None:
    text = "'\"\\ \n\t\x01 %s %(x)s {} $1 ; -- /* ü 牛 🎉 \U0010ffff"
    written = repository.create_tasks(tasks=[{"title": text, "description": text}])
    (task,) = orjson.loads(written.task)
    assert (task["title"], task["description"]) == (text, text)


@pytest.mark.parametrize("is_completed", [True, False])
def test_a_clock_that_went_back(repository: Repository, sql: Sql, is_completed: bool) -> None:
    ids = create(repository, 3)
    repository.set_tasks_completed(task_ids=ids, is_completed=not is_completed)
    repository.set_tasks_completed(task_ids=ids, is_completed=is_completed)
    with sql.without_triggers():
        sql.execute("UPDATE task_history SET timestamp = timestamp + interval '1 day'")
        for column in ("created_at", "updated_at", "completed_at"):
            sql.execute(f"UPDATE tasks SET {column} = {column} + interval '1 day'")
            time = f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            sql.execute(
                f"UPDATE task_history SET snapshot = jsonb_set(snapshot, '{{{column}}}', to_jsonb({time}))"
                f" FROM (SELECT history_id, (snapshot ->> '{column}')::timestamptz + interval '1 day' AS {column}"
                f" FROM task_history WHERE snapshot ->> '{column}' IS NOT NULL) AS later"
                " WHERE later.history_id = task_history.history_id"
            )
    repository.set_tasks_completed(task_ids=ids, is_completed=not is_completed)
    repository.delete_tasks(task_ids=ids)
    assert_replay_equals_tasks(sql)


def test_many_writers_on_the_same_tasks(crowd: Repository, sql: Sql) -> None:
    """In any order of ids, and next to writers of single tasks: nobody waits for each other for ever."""
    ids = create(crowd, 30)

    def write(number: int) -> Written:
        chance = random.Random(number)
        for _ in range(15):
            is_completed = chance.random() < 0.5
            crowd.set_task_completed(task_id=chance.choice(ids), is_completed=not is_completed)
            written = crowd.set_tasks_completed(task_ids=chance.sample(ids, 20), is_completed=is_completed)
        return written

    with ThreadPoolExecutor(WRITERS) as pool:
        assert len(list(pool.map(write, range(WRITERS)))) == WRITERS
    assert_replay_equals_tasks(sql)


def test_the_same_call_at_once_writes_once(crowd: Repository, sql: Sql) -> None:
    for round_ in range(10):
        ids = create(crowd, 5)
        crowd.set_tasks_completed(task_ids=ids[:2], is_completed=True)
        tasks = [{"title": f"round {round_}", "description": None}] * 3
        calls: list[Callable[..., Written]] = [
            partial(crowd.create_tasks, tasks=tasks),
            partial(crowd.set_tasks_completed, task_ids=ids, is_completed=True),
            partial(crowd.delete_tasks, task_ids=ids),
        ]
        for call in calls:
            key = str(uuid.uuid4())
            before = sql.value("SELECT count(*) FROM task_history")
            outcomes = at_once(*[partial(call, idempotency_key=key)] * WRITERS)
            assert len({outcome.task for outcome in outcomes}) == 1
            assert [outcome.replayed for outcome in outcomes].count(False) == 1
            assert sql.value("SELECT count(*) FROM task_history") == before + len(orjson.loads(outcomes[0].task))
    assert_replay_equals_tasks(sql)


def two_wait(sql: Sql) -> bool:
    """Whether two transactions wait for a lock."""
    return bool(sql.value("SELECT count(*) FROM pg_locks WHERE NOT granted") >= 2)


def test_the_same_call_while_a_row_is_locked(crowd: Repository, database_url: str, sql: Sql) -> None:
    """Both have begun before either could write: the second one's snapshot does not show the first one's entries."""
    ids = create(crowd, 3)
    for is_completed in (True, False):
        key = str(uuid.uuid4())
        with ThreadPoolExecutor(2) as pool, Sql(database_url) as other:
            with other.transaction():
                other.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (str(ids[1]),))
                futures = [
                    pool.submit(crowd.set_tasks_completed, task_ids=ids, is_completed=is_completed, idempotency_key=key)
                    for _ in range(2)
                ]
                wait_until(partial(two_wait, sql), "both wait for the row")
            outcomes = [future.result() for future in futures]
        assert outcomes[0].task == outcomes[1].task
        assert sorted(outcome.replayed for outcome in outcomes) == [False, True]
        assert len(orjson.loads(outcomes[0].task)) == 3


def test_one_of_the_tasks_goes_meanwhile(crowd: Repository, sql: Sql) -> None:
    """Completing all and deleting one, at once: either came first, and nothing in between."""
    for round_ in range(20):
        ids = create(crowd, 4)
        key = f"key {round_}"
        completed, deleted = at_once(
            partial(crowd.set_tasks_completed, task_ids=ids, is_completed=True, idempotency_key=key),
            partial(crowd.delete_task, task_id=ids[2]),
        )
        assert isinstance(deleted, Written)
        entries = sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = %s", (key,))
        assert entries == (0 if completed is TaskNotFound else 4)
    assert_replay_equals_tasks(sql)


def test_a_key_of_another_call_is_refused(repository: Repository) -> None:
    ids = create(repository, 3)
    repository.set_tasks_completed(task_ids=ids, is_completed=True, idempotency_key="k")
    others: list[Callable[[], Written]] = [
        lambda: repository.set_tasks_completed(task_ids=ids[:2], is_completed=True, idempotency_key="k"),
        lambda: repository.set_tasks_completed(task_ids=ids, is_completed=False, idempotency_key="k"),
        lambda: repository.delete_tasks(task_ids=ids, idempotency_key="k"),
        lambda: repository.create_tasks(tasks=[], idempotency_key="k"),
        lambda: repository.delete_task(task_id=ids[0], idempotency_key="k"),
        lambda: repository.create_task(title="x", description=None, idempotency_key="k"),
    ]
    assert at_once(*others) == [IdempotencyKeyReused] * len(others)
    repository.create_task(title="x", description=None, idempotency_key="one")
    with pytest.raises(IdempotencyKeyReused):
        repository.delete_tasks(task_ids=ids, idempotency_key="one")
