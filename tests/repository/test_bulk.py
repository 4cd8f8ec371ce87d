"""The statements for many tasks: all or none, once for each key, at their versions, whoever else is writing."""

import random
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson
import pytest

from taskapi.errors import IdempotencyKeyReused, StatementFailed, TaskNotFound, VersionMismatch
from taskapi.repository import Repository
from taskapi.repository.base import Origin, Written
from taskapi.repository.bulk import MOST_TOLD, ManyWritten
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
    return [uuid.UUID(task["id"]) for task in orjson.loads(written.tasks)]


Call = Callable[[], Written | ManyWritten]


def at_once(*calls: Call) -> list[Any]:
    """What each of the calls returned or raised, all begun at the same time."""

    def outcome(call: Call) -> Any:
        try:
            return call()
        except (TaskNotFound, IdempotencyKeyReused, VersionMismatch) as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def test_one_statement_each(repository: Repository) -> None:
    ran: list[str] = []
    database = repository._database

    class Counting:
        def run(self, name: str, parameters: dict[str, Any], *, repeatable: bool, **options: bool) -> Any:
            ran.append(name)
            return database.run(name, parameters, repeatable=repeatable, **options)

    counted = Repository(Counting())
    ids = create(counted, 50)
    counted.set_tasks_completed(task_ids=ids, is_completed=True)
    counted.update_tasks(changes=[{"id": task_id, "title": "x"} for task_id in ids])
    counted.delete_tasks(task_ids=ids)
    assert ran == ["create_tasks", "change_tasks", "change_tasks", "delete_tasks"]


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
    (task,) = orjson.loads(written.tasks)
    assert (task["title"], task["description"]) == (text, text)
    change = {"id": uuid.UUID(task["id"]), "title": f"{text}!", "description": f"{text}!"}
    (task,) = orjson.loads(repository.update_tasks(changes=[change]).tasks)
    assert (task["title"], task["description"]) == (f"{text}!", f"{text}!")


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

    def write(number: int) -> ManyWritten:
        chance = random.Random(number)
        for turn in range(15):
            is_completed = chance.random() < 0.5
            crowd.set_task_completed(task_id=chance.choice(ids), is_completed=not is_completed)
            crowd.set_tasks_completed(task_ids=chance.sample(ids, 20), is_completed=is_completed)
            changes = [{"id": task_id, "title": f"{number}, {turn}"} for task_id in chance.sample(ids, 20)]
            written = crowd.update_tasks(changes=changes)
            tasks = orjson.loads(written.tasks)
            assert [(task["id"], task["title"]) for task in tasks] == [(str(c["id"]), c["title"]) for c in changes]
        return written

    with ThreadPoolExecutor(WRITERS) as pool:
        assert len(list(pool.map(write, range(WRITERS)))) == WRITERS
    assert_replay_equals_tasks(sql)
    assert sql.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


def test_the_same_call_at_once_writes_once(crowd: Repository, sql: Sql) -> None:
    for round_ in range(10):
        ids = create(crowd, 5)
        crowd.set_tasks_completed(task_ids=ids[:2], is_completed=True)
        tasks = [{"title": f"round {round_}", "description": None}] * 3
        calls: list[Callable[..., ManyWritten]] = [
            partial(crowd.create_tasks, tasks=tasks),
            partial(crowd.update_tasks, changes=[{"id": task_id, "title": "y", "version": 1} for task_id in ids[2:]]),
            partial(crowd.set_tasks_completed, task_ids=ids, is_completed=True),
            partial(crowd.delete_tasks, task_ids=ids),
        ]
        for call in calls:
            key = str(uuid.uuid4())
            before = sql.value("SELECT count(*) FROM task_history")
            outcomes = at_once(*[partial(call, idempotency_key=key)] * WRITERS)
            assert len({(outcome.tasks, *outcome.changed) for outcome in outcomes}) == 1
            assert [outcome.replayed for outcome in outcomes].count(False) == 1
            assert sql.value("SELECT count(*) FROM task_history") == before + len(outcomes[0].changed)
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
        assert outcomes[0].tasks == outcomes[1].tasks
        assert sorted(outcome.replayed for outcome in outcomes) == [False, True]
        assert [list(outcome.changed) for outcome in outcomes] == [[0, 1, 2]] * 2


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
    others: list[Call] = [
        lambda: repository.set_tasks_completed(
            task_ids=ids, is_completed=True, versions={ids[0]: 1}, idempotency_key="k"
        ),
        lambda: repository.update_tasks(changes=[{"id": ids[0], "title": "x"}], idempotency_key="k"),
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


# What the answer says


def tasks_of(written: ManyWritten) -> list[Any]:
    tasks: list[Any] = orjson.loads(written.tasks)
    return tasks


def stored(repository: Repository, task_id: uuid.UUID) -> Any:
    return orjson.loads(repository.get_task(task_id=task_id).task)


def test_the_answer_has_all_tasks_and_says_which_changed(repository: Repository, sql: Sql) -> None:
    ids = create(repository, 5)
    repository.set_tasks_completed(task_ids=[ids[1], ids[3]], is_completed=True)
    shuffled = [ids[number] for number in (4, 3, 0, 1)]
    written = repository.set_tasks_completed(task_ids=shuffled, is_completed=True)
    assert tasks_of(written) == [stored(repository, task_id) for task_id in shuffled]
    assert (list(written.changed), written.replayed) == ([0, 2], False)
    again = repository.set_tasks_completed(task_ids=shuffled, is_completed=True)
    assert (again.tasks, list(again.changed), again.replayed) == (written.tasks, [], False)
    before = [stored(repository, task_id) for task_id in shuffled]
    deleted = repository.delete_tasks(task_ids=shuffled)
    assert (tasks_of(deleted), list(deleted.changed)) == (before, [0, 1, 2, 3])
    assert_replay_equals_tasks(sql)


def test_update_changes_what_is_given_and_nothing_else(repository: Repository, sql: Sql) -> None:
    ids = create(repository, 4)
    changes: list[dict[str, Any]] = [
        {"id": ids[2], "title": "two", "description": "d"},
        {"id": ids[0], "description": None},
        {"id": ids[3], "title": "task 3"},
        {"id": ids[1], "title": "task 1", "description": "e"},
    ]
    before = [stored(repository, change["id"]) for change in changes]
    written = repository.update_tasks(changes=changes)
    assert list(written.changed) == [0, 3]
    for was, change, now in zip(before, changes, tasks_of(written), strict=True):
        assert now == {**was, **change, "id": was["id"], "updated_at": now["updated_at"]}
        assert now == stored(repository, change["id"])
    assert_replay_equals_tasks(sql)


def test_a_replay_has_what_changed_as_it_was_left_and_the_rest_as_it_is_now(repository: Repository, sql: Sql) -> None:
    ids = create(repository, 5)
    repository.set_tasks_completed(task_ids=ids[:3], is_completed=True)
    write = partial(repository.set_tasks_completed, task_ids=ids[::-1], is_completed=True, idempotency_key="k")
    first = write()
    assert list(first.changed) == [0, 1]
    repository.update_tasks(changes=[{"id": ids[4], "title": "since"}, {"id": ids[0], "title": "since"}])
    repository.delete_tasks(task_ids=[ids[3], ids[1]])
    again = write()
    four, three, two, _, _ = tasks_of(first)
    assert tasks_of(again) == [four, three, two, None, stored(repository, ids[0])]
    assert tasks_of(again)[4]["title"] == "since"
    assert (list(again.changed), again.replayed) == ([0, 1], True)
    repository.delete_tasks(task_ids=[ids[4], ids[2], ids[0]])
    assert tasks_of(write()) == [four, three, None, None, None]
    assert_replay_equals_tasks(sql)


def test_each_entry_keeps_who_wrote_it(repository: Repository, sql: Sql) -> None:
    origin = Origin("ann", "request", "set")
    created = repository.create_tasks(tasks=[{"title": "x", "description": None}] * 2, origin=origin)
    ids = [uuid.UUID(task["id"]) for task in tasks_of(created)]
    repository.update_tasks(changes=[{"id": task_id, "title": "y"} for task_id in ids], origin=origin)
    repository.set_tasks_completed(task_ids=ids, is_completed=True, origin=origin)
    repository.delete_tasks(task_ids=ids, origin=origin)
    assert sql.rows(
        "SELECT actor, request_id, change_set, count(*), count(DISTINCT action_type) FROM task_history GROUP BY 1, 2, 3"
    ) == [("ann", "request", "set", 8, 4)]


# Versions


def writes_at(
    repository: Repository, ids: list[uuid.UUID], versions: dict[uuid.UUID, int], **options: Any
) -> list[Callable[[], ManyWritten]]:
    """Each write on these tasks that can be made to depend on versions."""
    changes = [
        {"id": each, "title": "new", **({"version": versions[each]} if each in versions else {})} for each in ids
    ]
    return [
        partial(repository.update_tasks, changes=changes, **options),
        partial(repository.set_tasks_completed, task_ids=ids, is_completed=True, versions=versions, **options),
        partial(repository.delete_tasks, task_ids=ids, versions=versions, **options),
    ]


@pytest.mark.parametrize("key", [None, "key"])
def test_another_version_of_one_stops_all(repository: Repository, sql: Sql, key: str | None) -> None:
    ids = create(repository, 3)
    repository.update_task(task_id=ids[1], changes={"title": "since"}, origin=Origin(actor="ann"))
    before = sql.rows("SELECT * FROM tasks ORDER BY id")
    for write in writes_at(repository, ids, {ids[0]: 1, ids[1]: 1}, idempotency_key=key):
        with pytest.raises(VersionMismatch) as refused:
            write()
        assert str(refused.value).startswith(
            f"{ids[1]}: The task is at version 2, not 1: title: 'task 1' -> 'since' (ann"
        )
        assert refused.value.version is None
        for other in (ids[0], ids[2]):
            assert str(other) not in str(refused.value)
    assert sql.rows("SELECT * FROM tasks ORDER BY id") == before
    for write in writes_at(repository, ids, {ids[0]: 1, ids[1]: 2})[:1]:
        assert list(write().changed) == [0, 1, 2]


def test_for_one_task_the_text_is_that_of_a_single_write(repository: Repository) -> None:
    (task_id,) = create(repository, 1)
    for number in range(5):
        repository.update_task(task_id=task_id, changes={"title": f"title {number}"})
    with pytest.raises(VersionMismatch) as single:
        repository.update_task(task_id=task_id, changes={"title": "new"}, expected=("2",))
    for write in writes_at(repository, [task_id], {task_id: 2}):
        with pytest.raises(VersionMismatch) as refused:
            write()
        assert str(refused.value) == str(single.value)
    with pytest.raises(VersionMismatch, match=r"^The task is at version 6, not 2147483647\.$"):
        repository.delete_tasks(task_ids=[task_id], versions={task_id: 2**31 - 1})


def test_the_text_tells_of_the_first_ones_in_the_order_of_the_request(repository: Repository) -> None:
    ids = create(repository, MOST_TOLD + 4)
    repository.update_tasks(changes=[{"id": task_id, "title": "since"} for task_id in ids])
    shuffled = random.Random(2).sample(ids, len(ids))
    for write in writes_at(repository, shuffled, dict.fromkeys(ids[1:], 1)):
        with pytest.raises(VersionMismatch) as refused:
            write()
        text = str(refused.value)
        told = [str(task_id) for task_id in shuffled if task_id != ids[0]]
        assert re.findall(r"([0-9a-f-]{36}): The task is at version 2, not 1: title: ", text) == told[:MOST_TOLD]
        assert text.endswith(" 3 more tasks are at another version than the request says.")


def test_what_is_missing_comes_before_what_is_at_another_version(repository: Repository) -> None:
    ids = create(repository, 2)
    gone = [uuid.uuid4(), uuid.uuid4()]
    for write in writes_at(repository, [gone[0], *ids, gone[1]], {ids[0]: 7, gone[0]: 1}):
        with pytest.raises(TaskNotFound) as refused:
            write()
        assert str(refused.value) == f"There is no such task: {gone[0]}, {gone[1]}."


def test_another_version_comes_before_nothing_to_change(repository: Repository) -> None:
    ids = create(repository, 2)
    with pytest.raises(VersionMismatch):
        repository.set_tasks_completed(task_ids=ids, is_completed=False, versions={ids[1]: 2})
    unchanged = repository.set_tasks_completed(task_ids=ids, is_completed=False, versions=dict.fromkeys(ids, 1))
    assert (len(tasks_of(unchanged)), unchanged.changed) == (2, [])


def test_an_earlier_answer_comes_before_everything(repository: Repository) -> None:
    """Also when the tasks have other versions since, or are gone."""
    ids = create(repository, 2)
    changes = [{"id": task_id, "title": "new", "version": 1} for task_id in ids]
    write = partial(repository.update_tasks, changes=changes, idempotency_key="k")
    first, again = write(), write()
    repository.delete_tasks(task_ids=ids)
    last = write()
    assert first.tasks == again.tasks == last.tasks
    assert [written.replayed for written in (first, again, last)] == [False, True, True]


def test_what_changed_during_the_wait_for_a_lock_is_told_too(crowd: Repository, database_url: str, sql: Sql) -> None:
    """The entry of meanwhile cannot be seen by the statement that has waited: it runs again."""
    for turn in range(3):
        ids = create(crowd, 3)
        with ThreadPoolExecutor(1) as pool, Sql(database_url) as other:
            with other.transaction():
                other.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (str(ids[1]),))
                future = pool.submit(writes_at(crowd, ids, {ids[1]: 1})[turn])
                wait_until(
                    lambda: bool(sql.value("SELECT count(*) FROM pg_locks WHERE NOT granted")), "it waits for the row"
                )
                change_by_hand(other, ids[1])
            with pytest.raises(VersionMismatch, match=r": The task is at version 2, not 1: by hand \(somebody, "):
                future.result()
    assert_replay_equals_tasks(sql)


def change_by_hand(sql: Sql, task_id: uuid.UUID) -> None:
    sql.execute(
        "WITH changed AS ("
        "UPDATE tasks SET title = 'other', version = version + 1, updated_at = clock_timestamp() WHERE id = %s"
        " RETURNING tasks) INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot,"
        " actor) SELECT (tasks).id, 'UPDATED', 'by hand', (tasks).updated_at, (tasks).version, to_jsonb(answer(tasks)),"
        " 'somebody' FROM changed",
        (str(task_id),),
    )


def test_no_update_is_lost(crowd: Repository, sql: Sql) -> None:
    """Writers of many and of one read, add one, and write at the versions that they have read: nothing is lost."""
    ids = create(crowd, 6)
    crowd.update_tasks(changes=[{"id": task_id, "title": "0"} for task_id in ids])

    refusals: list[str] = []

    def add(number: int) -> int:
        chance, added = random.Random(number), 0
        while added < 30:
            some = chance.sample(ids, 3 if number % 2 else 1)
            found = [crowd.get_task(task_id=task_id) for task_id in some]
            titles = [str(int(orjson.loads(each.task)["title"]) + 1) for each in found]
            try:
                if number % 2:
                    changes = [
                        {"id": task_id, "version": each.version, "title": title}
                        for task_id, each, title in zip(some, found, titles, strict=True)
                    ]
                    crowd.update_tasks(changes=changes)
                else:
                    tags = (str(found[0].version),)
                    crowd.update_task(task_id=some[0], changes={"title": titles[0]}, expected=tags)
                added += len(some)
            except VersionMismatch as error:
                refusals.append(str(error))
        return added

    with ThreadPoolExecutor(WRITERS) as pool:
        added = sum(pool.map(add, range(WRITERS)))
    assert sum(int(title) for (title,) in sql.rows("SELECT title FROM tasks")) == added
    assert refusals
    for text in refusals:
        assert re.search(r"The task is at version \d+, not \d+: title: ", text), text
    assert_replay_equals_tasks(sql)
