"""The statements on tasks: what each changes, what it answers, and the entry it leaves; nothing for no change."""

from collections.abc import Callable
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import orjson
import pytest

from taskapi.errors import TaskNotFound
from taskapi.repository import Repository
from taskapi.repository.base import Written
from tests.conftest import NewRepository
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of, tasks_of

Entries = Callable[[UUID], list[tuple[str, str, str]]]


@pytest.fixture
def task_id(shared_repository: Repository) -> UUID:
    return id_of(shared_repository.create_task(title="Buy", description="semi-skimmed"))


@pytest.fixture
def entries(shared_sql: Sql) -> Entries:
    """Call it for the action, description and time of a task's entries, the oldest first."""
    return lambda task_id: [
        (action, description, timestamp)
        for action, description, timestamp in shared_sql.rows(
            "SELECT action_type, description,"
            " to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM task_history"
            " WHERE task_id = %s ORDER BY version",
            (str(task_id),),
        )
    ]


def stored(repository: Repository, task_id: UUID) -> dict[str, Any]:
    return task_of(repository.get_task(task_id=task_id))


# Creating and reading


@pytest.mark.parametrize("description", [None, "", "semi-skimmed"])
def test_create(description: str | None, shared_repository: Repository, entries: Entries) -> None:
    written = shared_repository.create_task(title="Buy", description=description)
    task = task_of(written)
    assert not written.replayed
    assert stored(shared_repository, id_of(written)) == task
    assert UUID(task["id"]).version == 4
    assert (task["title"], task["description"], task["is_completed"], task["completed_at"]) == (
        "Buy",
        description,
        False,
        None,
    )
    assert task["created_at"] == task["updated_at"]
    assert entries(id_of(written)) == [("CREATED", "title: 'Buy'", task["created_at"])]


def test_the_fields_are_the_contracts_in_its_order(task_id: UUID, shared_repository: Repository) -> None:
    fields = ["id", "title", "description", "is_completed", "created_at", "updated_at", "completed_at"]
    assert list(stored(shared_repository, task_id)) == fields
    assert list(tasks_of(shared_repository.list_tasks())[0]) == fields


TEXTS = {
    "quotes": "'\"`\\'\\\\''",
    "placeholders": "%s %(title)s %% $1 :title {title} \\1",
    "SQL": "'); DROP TABLE tasks; --",
    "JSON": '{"a": "\\u0041\\n"}',
    "white space": " \t\r\n x \u00a0\u2028",
    "controls": "\x01\x02\x1b[31m\x7f\x85",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈🎉",
    "combining": "e\u0301 ≠ é, ﷽, \u202eabc",
    "the last code points": "\ufffe\uffff\U0010ffff",
}


@pytest.mark.parametrize("db_prepare", [True, False])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_is_stored_as_sent(
    text: str, db_prepare: bool, module_database_url: str, new_repository: NewRepository
) -> None:
    repository = new_repository(module_database_url, db_prepare=db_prepare)
    task_id = id_of(repository.create_task(title=text, description=text))
    assert [stored(repository, task_id)[name] for name in ("title", "description")] == [text, text]
    task = task_of(repository.update_task(task_id=task_id, changes={"title": f"{text}!", "description": f"{text}!"}))
    assert (task["title"], task["description"]) == (f"{text}!", f"{text}!")
    assert stored(repository, task_id) == task
    _, items = repository.list_history(task_id=task_id, action_type="UPDATED", limit=1, offset=0)
    assert f"title: '{text}' -> '{text}!'" in orjson.loads(items)[0]["description"]


def test_times_are_utc_with_all_digits_whatever_the_database_prefers(
    database_url: str, sql: Sql, new_repository: NewRepository
) -> None:
    for setting in ("timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'", "intervalstyle = 'iso_8601'"):
        sql.execute(f"ALTER DATABASE {sql.database} SET {setting}")
    with sql.without_triggers():
        task_id = sql.value(
            "INSERT INTO tasks (title, is_completed, created_at, updated_at, completed_at) VALUES"
            " ('x', true, '2026-01-01T00:00:00Z', '2025-12-31T23:59:59.999999Z', '2026-03-29T01:30:00.1Z') RETURNING id"
        )
    repository = new_repository(database_url)
    for task in (stored(repository, UUID(task_id)), tasks_of(repository.list_tasks())[0]):
        assert [task[name] for name in ("created_at", "updated_at", "completed_at")] == [
            "2026-01-01T00:00:00.000000Z",
            "2025-12-31T23:59:59.999999Z",
            "2026-03-29T01:30:00.100000Z",
        ]
    answer = task_of(repository.update_task(task_id=UUID(task_id), changes={"title": "y"}))
    assert answer == stored(repository, UUID(task_id))


# Updating


@pytest.mark.parametrize(
    ("changes", "entry"),
    [
        ({"title": "Buy milk"}, "title: 'Buy' -> 'Buy milk'"),
        ({"description": "whole"}, "description: 'semi-skimmed' -> 'whole'"),
        ({"description": None}, "description: 'semi-skimmed' -> none"),
        ({"description": ""}, "description: 'semi-skimmed' -> ''"),
        (
            {"title": "Buy milk", "description": "whole"},
            "title: 'Buy' -> 'Buy milk'; description: 'semi-skimmed' -> 'whole'",
        ),
        ({"title": "Buy", "description": "whole"}, "description: 'semi-skimmed' -> 'whole'"),
        ({"title": "Buy milk", "description": "semi-skimmed"}, "title: 'Buy' -> 'Buy milk'"),
        ({"title": "Buy "}, "title: 'Buy' -> 'Buy '"),
        ({"description": "x" * 100}, f"description: 'semi-skimmed' -> '{'x' * 100}'"),
        ({"description": "x" * 101}, f"description: 'semi-skimmed' -> '{'x' * 100}…'"),
    ],
)
def test_update(
    changes: dict[str, str | None],
    entry: str,
    task_id: UUID,
    shared_repository: Repository,
    entries: Entries,
) -> None:
    before = stored(shared_repository, task_id)
    task = task_of(shared_repository.update_task(task_id=task_id, changes=changes))
    assert task == {**before, **changes, "updated_at": task["updated_at"]}
    assert task["updated_at"] > before["updated_at"]
    assert stored(shared_repository, task_id) == task
    assert entries(task_id)[1:] == [("UPDATED", entry, task["updated_at"])]


def test_update_from_no_description(shared_repository: Repository, entries: Entries) -> None:
    task_id = id_of(shared_repository.create_task(title="Buy", description=None))
    task = task_of(shared_repository.update_task(task_id=task_id, changes={"description": "whole"}))
    assert entries(task_id)[1:] == [("UPDATED", "description: none -> 'whole'", task["updated_at"])]


# Completing, reopening, deleting


def test_complete_and_reopen(task_id: UUID, shared_repository: Repository, entries: Entries) -> None:
    before = stored(shared_repository, task_id)
    done = task_of(shared_repository.set_task_completed(task_id=task_id, is_completed=True))
    moment = done["updated_at"]
    assert done == {**before, "is_completed": True, "completed_at": moment, "updated_at": moment}
    assert stored(shared_repository, task_id) == done
    again = task_of(shared_repository.set_task_completed(task_id=task_id, is_completed=False))
    assert again == {**before, "updated_at": again["updated_at"]}
    assert stored(shared_repository, task_id) == again
    assert before["updated_at"] < moment < again["updated_at"]
    assert entries(task_id)[1:] == [
        ("COMPLETED", "'Buy': is_completed: false -> true", moment),
        ("INCOMPLETED", "'Buy': is_completed: true -> false", again["updated_at"]),
    ]


def test_an_update_leaves_the_completion_as_it_is(task_id: UUID, shared_repository: Repository) -> None:
    done = task_of(shared_repository.set_task_completed(task_id=task_id, is_completed=True))
    task = task_of(shared_repository.update_task(task_id=task_id, changes={"title": "Buy milk"}))
    assert task == {**done, "title": "Buy milk", "updated_at": task["updated_at"]}


def test_delete(task_id: UUID, shared_repository: Repository, entries: Entries) -> None:
    before = stored(shared_repository, task_id)
    assert task_of(shared_repository.delete_task(task_id=task_id)) == before
    with pytest.raises(TaskNotFound):
        shared_repository.get_task(task_id=task_id)
    assert str(task_id) not in [task["id"] for task in tasks_of(shared_repository.list_tasks())]
    ((action, description, timestamp),) = entries(task_id)[1:]
    assert (action, description) == ("DELETED", "title: 'Buy'")
    assert timestamp > before["updated_at"]


# What changes nothing


WRITES: dict[str, Callable[[Repository, UUID], Written]] = {
    "update": lambda repository, task_id: repository.update_task(task_id=task_id, changes={"title": "x"}),
    "complete": lambda repository, task_id: repository.set_task_completed(task_id=task_id, is_completed=True),
    "reopen": lambda repository, task_id: repository.set_task_completed(task_id=task_id, is_completed=False),
    "delete": lambda repository, task_id: repository.delete_task(task_id=task_id),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("deleted", [False, True], ids=["never there", "deleted"])
def test_no_task(
    deleted: bool,
    write: Callable[[Repository, UUID], Written],
    task_id: UUID,
    shared_repository: Repository,
    entries: Entries,
) -> None:
    if deleted:
        shared_repository.delete_task(task_id=task_id)
    else:
        task_id = uuid4()
    before = entries(task_id)
    with pytest.raises(TaskNotFound):
        write(shared_repository, task_id)
    assert entries(task_id) == before


@pytest.mark.parametrize("key", [None, "same"])
@pytest.mark.parametrize(
    "write",
    [
        lambda repository, **task: repository.update_task(**task, changes={"title": "Buy"}),
        lambda repository, **task: repository.update_task(**task, changes={"description": "semi-skimmed"}),
        lambda repository, **task: repository.update_task(
            **task, changes={"title": "Buy", "description": "semi-skimmed"}
        ),
        lambda repository, **task: repository.set_task_completed(**task, is_completed=False),
    ],
    ids=["the same title", "the same description", "both the same", "reopened, and not completed"],
)
def test_no_change(
    write: Callable[..., Written],
    key: str | None,
    task_id: UUID,
    shared_repository: Repository,
    entries: Entries,
) -> None:
    before = stored(shared_repository, task_id)
    for _ in range(2):
        written = write(shared_repository, task_id=task_id, idempotency_key=key)
        assert task_of(written) == before
        assert not written.replayed
    assert stored(shared_repository, task_id) == before
    assert len(entries(task_id)) == 1


def test_completing_twice_is_completing_once(task_id: UUID, shared_repository: Repository, entries: Entries) -> None:
    first = shared_repository.set_task_completed(task_id=task_id, is_completed=True)
    second = shared_repository.set_task_completed(task_id=task_id, is_completed=True)
    assert task_of(second) == task_of(first)
    assert len(entries(task_id)) == 2


# The list


def test_list_is_empty_at_first(repository: Repository) -> None:
    assert repository.list_tasks().tasks == b"[]"


def test_list_order(repository: Repository, sql: Sql) -> None:
    # (completed, created at, the id's first digit), as they must come.
    order = [
        (False, "2026-01-02T00:00:00.000001Z", "c"),
        (False, "2026-01-02T00:00:00Z", "3"),
        (False, "2026-01-02T00:00:00Z", "9"),
        (False, "2026-01-02T00:00:00Z", "f"),
        (False, "2025-12-31T23:59:59.999999Z", "0"),
        (True, "2026-01-03T00:00:00Z", "e"),
        (True, "2026-01-02T00:00:00Z", "1"),
        (True, "2026-01-02T00:00:00Z", "2"),
    ]
    ids = [f"{digit}0000000-0000-4000-8000-000000000000" for _, _, digit in order]
    with sql.without_triggers():
        for task_id, (done, created, _) in sorted(zip(ids, order, strict=True), reverse=True):
            sql.execute(
                "INSERT INTO tasks (id, title, is_completed, created_at, updated_at, completed_at)"
                " VALUES (%s, 'x', %s, %s, now(), CASE WHEN %s THEN now() END)",
                (task_id, done, created, done),
            )
    tasks = tasks_of(repository.list_tasks())
    assert [task["id"] for task in tasks] == ids
    assert tasks == [task_of(repository.get_task(task_id=UUID(task_id))) for task_id in ids]


def test_the_ids_of_one_request_are_neighbours(shared_repository: Repository) -> None:
    """Random UUIDs, but with the same start: in a large index, one page has them all."""
    new = [{"title": "x", "description": None}] * 100
    requests: list[list[UUID]] = []
    for _ in range(2):
        created = orjson.loads(shared_repository.create_tasks(tasks=new).tasks)
        requests.append([UUID(task["id"]) for task in created])
    for ids in requests:
        assert {(task_id.version, task_id.variant) for task_id in ids} == {(4, RFC_4122)}
        assert len({task_id.fields[0] for task_id in ids}) == 1
        assert len({task_id.fields[1:] for task_id in ids}) == len(new)
    assert requests[0][0].fields[0] != requests[1][0].fields[0]
