"""Idempotency keys: a request with a key happens once, however often and from wherever it comes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from taskapi.errors import IdempotencyKeyReused, TaskNotFound
from taskapi.repository import Repository
from taskapi.repository.base import Written
from tests.conftest import NewRepository
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of
from tests.support.waiting import wait_until

Write = Callable[..., Written]

WRITES: dict[str, Write] = {
    "create": lambda repository, task_id, key: repository.create_task(
        title="Buy milk", description=None, idempotency_key=key
    ),
    "update": lambda repository, task_id, key: repository.update_task(
        task_id=task_id, changes={"title": "Buy milk"}, idempotency_key=key
    ),
    "complete": lambda repository, task_id, key: repository.set_task_completed(
        task_id=task_id, is_completed=True, idempotency_key=key
    ),
    "delete": lambda repository, task_id, key: repository.delete_task(task_id=task_id, idempotency_key=key),
}
CHANGES = {name: write for name, write in WRITES.items() if name != "create"}

each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


@pytest.fixture
def task_id(repository: Repository) -> UUID:
    return id_of(repository.create_task(title="Buy", description=None))


def entries(sql: Sql) -> int:
    return int(sql.value("SELECT count(*) FROM task_history"))


@each_write
def test_the_same_request_again_is_answered_as_at_first(
    write: Write, task_id: UUID, repository: Repository, sql: Sql
) -> None:
    first = write(repository, task_id, "key")
    before = entries(sql)
    second = write(repository, task_id, "key")
    assert second == replace(first, replayed=True)
    assert not first.replayed
    assert entries(sql) == before
    assert sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = 'key'") == 1
    assert_replay_equals_tasks(sql)


@each_write
def test_the_answer_is_the_first_whatever_happened_since(
    write: Write, task_id: UUID, repository: Repository, sql: Sql
) -> None:
    first = write(repository, task_id, "key")
    for other in {task_id, id_of(first)}:
        try:
            repository.update_task(task_id=other, changes={"title": "since", "description": "then"})
            repository.delete_task(task_id=other)
        except TaskNotFound:
            assert write is WRITES["delete"]
    before = entries(sql)
    assert write(repository, task_id, "key") == replace(first, replayed=True)
    assert entries(sql) == before
    assert sql.value("SELECT count(*) FROM tasks") == 0


@each_write
def test_without_a_key_a_request_is_a_new_one(write: Write, task_id: UUID, repository: Repository, sql: Sql) -> None:
    write(repository, task_id, "key")
    if write is WRITES["delete"]:
        with pytest.raises(TaskNotFound):
            write(repository, task_id, None)
    else:
        assert not write(repository, task_id, None).replayed


@pytest.mark.parametrize(
    "other",
    [
        lambda repository, task_id: repository.create_task(title="Buy", description=None, idempotency_key="key"),
        lambda repository, task_id: repository.create_task(title="Buy milk", description="", idempotency_key="key"),
        lambda repository, task_id: repository.update_task(
            task_id=task_id, changes={"title": "Buy milk", "description": None}, idempotency_key="key"
        ),
        lambda repository, task_id: repository.set_task_completed(
            task_id=task_id, is_completed=True, idempotency_key="key"
        ),
        lambda repository, task_id: repository.delete_task(task_id=task_id, idempotency_key="key"),
        lambda repository, task_id: repository.delete_task(task_id=uuid4(), idempotency_key="key"),
    ],
    ids=["another title", "another description", "update", "complete", "delete", "delete what is not there"],
)
def test_a_key_belongs_to_one_request(
    other: Callable[[Repository, UUID], Written], task_id: UUID, repository: Repository, sql: Sql
) -> None:
    repository.create_task(title="Buy milk", description=None, idempotency_key="key")
    before = entries(sql), repository.list_tasks().tasks
    with pytest.raises(IdempotencyKeyReused):
        other(repository, task_id)
    assert (entries(sql), repository.list_tasks().tasks) == before


def test_an_absent_field_and_null_are_two_requests(task_id: UUID, repository: Repository) -> None:
    repository.update_task(task_id=task_id, changes={"title": "Buy milk"}, idempotency_key="key")
    with pytest.raises(IdempotencyKeyReused):
        repository.update_task(
            task_id=task_id, changes={"title": "Buy milk", "description": None}, idempotency_key="key"
        )


@pytest.mark.parametrize("write", CHANGES.values(), ids=CHANGES)
def test_a_change_of_one_task_is_not_that_of_another(write: Write, task_id: UUID, repository: Repository) -> None:
    other = id_of(repository.create_task(title="Buy", description=None))
    write(repository, task_id, "key")
    with pytest.raises(IdempotencyKeyReused):
        write(repository, other, "key")


def test_what_changed_nothing_leaves_its_key_free(task_id: UUID, repository: Repository, sql: Sql) -> None:
    for _ in range(2):
        unchanged = repository.set_task_completed(task_id=task_id, is_completed=False, idempotency_key="key")
        assert not unchanged.replayed
    with pytest.raises(TaskNotFound):
        repository.delete_task(task_id=uuid4(), idempotency_key="key")
    assert entries(sql) == 1
    assert not repository.delete_task(task_id=task_id, idempotency_key="key").replayed


@pytest.mark.parametrize("key", ["x", "x" * 255, "%(idempotency_key)s %s", "'\"\\;--", "~!@#$^&*()"])
def test_a_key_is_any_text(key: str, task_id: UUID, repository: Repository, sql: Sql) -> None:
    assert not repository.delete_task(task_id=task_id, idempotency_key=key).replayed
    assert repository.delete_task(task_id=task_id, idempotency_key=key).replayed
    assert sql.value("SELECT idempotency_key FROM task_history WHERE version = 2") == key


# At once


def at_once(work: Callable[[int], Written], threads: int) -> list[Written]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(threads)))


@each_write
def test_fifty_at_once_have_one_effect_and_one_answer(
    write: Write, task_id: UUID, database_url: str, new_repository: NewRepository, sql: Sql
) -> None:
    repository = new_repository(database_url, db_connections=10)
    answers = at_once(lambda _: write(repository, task_id, "key"), 50)
    assert len({answer.task for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert sql.value("SELECT count(*) FROM task_history WHERE idempotency_key = 'key'") == 1
    assert_replay_equals_tasks(sql)


def test_of_fifty_requests_with_one_key_one_is_the_keys(
    database_url: str, new_repository: NewRepository, sql: Sql
) -> None:
    repository = new_repository(database_url, db_connections=10)

    def create(number: int) -> Written | None:
        try:
            return repository.create_task(title=f"Task {number}", description=None, idempotency_key="key")
        except IdempotencyKeyReused:
            return None

    with ThreadPoolExecutor(50) as pool:
        (written,) = (answer for answer in pool.map(create, range(50)) if answer)
    assert not written.replayed
    assert sql.rows("SELECT title FROM tasks") == [(task_of(written)["title"],)]
    assert_replay_equals_tasks(sql)


def waiting(sql: Sql) -> int:
    """How many statements wait for a lock in this database."""
    return int(
        sql.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


LOCK = "SELECT FROM tasks WHERE id = %s FOR UPDATE"


@pytest.mark.parametrize("write", CHANGES.values(), ids=CHANGES)
def test_two_that_waited_for_the_same_row_are_one(
    write: Write, task_id: UUID, repository: Repository, database_url: str, sql: Sql
) -> None:
    # Both have looked for the key before either could write: the second one has to look again.
    with ThreadPoolExecutor(2) as pool:
        with Sql(database_url) as holder, holder.transaction():
            holder.execute(LOCK, (str(task_id),))
            writing = [pool.submit(write, repository, task_id, "key") for _ in range(2)]
            wait_until(lambda: waiting(sql) == 2, "both wait for the row")
        answers = [future.result() for future in writing]
    assert answers[0].task == answers[1].task
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert entries(sql) == 2
    assert_replay_equals_tasks(sql)


@pytest.mark.parametrize("write", CHANGES.values(), ids=CHANGES)
def test_who_waited_for_a_row_that_was_deleted_finds_no_task(
    write: Write, task_id: UUID, repository: Repository, database_url: str, sql: Sql
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Sql(database_url) as holder, holder.transaction():
            holder.execute(LOCK, (str(task_id),))
            writing = pool.submit(write, repository, task_id, "key")
            wait_until(lambda: waiting(sql) == 1, "it waits for the row")
            holder.execute(
                "DELETE FROM tasks; INSERT INTO task_history (task_id, action_type, description, timestamp, version,"
                " snapshot) SELECT task_id, 'DELETED', '', clock_timestamp(), 2, snapshot FROM task_history"
            )
        with pytest.raises(TaskNotFound):
            writing.result()
    assert_replay_equals_tasks(sql)


def test_who_waited_and_has_nothing_left_to_change_answers_with_the_row_as_it_is(
    task_id: UUID, repository: Repository, database_url: str, sql: Sql
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with Sql(database_url) as holder, holder.transaction():
            holder.execute(
                "UPDATE tasks SET title = 'Buy milk', updated_at = clock_timestamp(), version = version + 1;"
                " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
                " SELECT id, 'UPDATED', '', updated_at, version, to_jsonb(answer(tasks)) FROM tasks"
            )
            writing = pool.submit(WRITES["update"], repository, task_id, "key")
            wait_until(lambda: waiting(sql) == 1, "it waits for the row")
        answer = writing.result()
    assert not answer.replayed
    assert task_of(answer) == task_of(repository.get_task(task_id=task_id))
    assert entries(sql) == 2
    assert_replay_equals_tasks(sql)
