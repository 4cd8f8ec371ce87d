"""The operator's proof: each kind of damage is found and named, nothing else is, and it stands in nobody's way."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import orjson
import psycopg2
import pytest

from taskapi import reconcile
from taskapi.database import queries
from taskapi.errors import ChangeNotFound, DeletionChosen, TaskNotFound, UndoConflict
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.undo import Chosen
from tests.conftest import NewRepository
from tests.support.migrating import run
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of

SECRET = "a secret title"


@pytest.fixture
def database_url(emptied_database_url: str) -> str:
    return emptied_database_url


def faults(url: str) -> list[str]:
    connection = psycopg2.connect(url)
    try:
        return reconcile.reconcile(connection).faults
    finally:
        connection.close()


@pytest.fixture
def others(repository: Repository) -> None:
    """Tasks of which nobody must complain: with each action, and deleted ones."""
    for is_kept in (True, False):
        task_id = id_of(repository.create_task(title=SECRET, description=None))
        repository.update_task(task_id=task_id, changes={"description": SECRET})
        repository.set_task_completed(task_id=task_id, is_completed=True)
        repository.set_task_completed(task_id=task_id, is_completed=False)
        if not is_kept:
            repository.delete_task(task_id=task_id)


@pytest.fixture
def task_id(repository: Repository, others: None) -> UUID:
    """A task that was created, updated twice, completed and reopened: versions 1 to 5."""
    task_id = id_of(repository.create_task(title=SECRET, description=None))
    repository.update_task(task_id=task_id, changes={"description": "semi-skimmed"})
    repository.update_task(task_id=task_id, changes={"title": "Buy milk"})
    repository.set_task_completed(task_id=task_id, is_completed=True)
    repository.set_task_completed(task_id=task_id, is_completed=False)
    return task_id


RESTORED_SQL = """
INSERT INTO tasks (id, title, description, is_completed, created_at, updated_at, completed_at, version)
SELECT
    task_id, task.title, task.description, is_completed, created_at, clock_timestamp(), completed_at, last.version + 1
FROM (SELECT * FROM task_history WHERE task_id = %(id)s ORDER BY version DESC LIMIT 1) AS last,
    jsonb_to_record(snapshot || %(changes)s) AS task (
        title text, description text, is_completed boolean, created_at timestamptz, completed_at timestamptz
    )
"""

CHANGED_SQL = """
UPDATE tasks
SET title = task.title,
    description = task.description,
    is_completed = task.is_completed,
    completed_at = task.completed_at,
    updated_at = clock_timestamp(),
    version = tasks.version + 1
FROM (SELECT (jsonb_populate_record(tasks, %(changes)s)).* FROM tasks WHERE id = %(id)s) AS task
WHERE tasks.id = task.id
"""

ENTRY_SQL = """
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT id, %(action)s, 'undo: by hand', updated_at, version, to_jsonb(answer(tasks))
FROM tasks
WHERE id = %(id)s
"""


def take_back(sql: Sql, task_id: UUID, action: str, **changes: Any) -> None:
    """An entry as an undo or a restoration writes it, past no trigger."""
    parameters = {"id": str(task_id), "action": action, "changes": orjson.dumps(changes).decode()}
    with sql.transaction():
        assert sql.execute(RESTORED_SQL if action == "RESTORED" else CHANGED_SQL, parameters) == 1
        sql.execute(ENTRY_SQL, parameters)


def set_field(version: int, field: str, value: str) -> str:
    return (
        f"UPDATE task_history SET snapshot = jsonb_set(snapshot, '{{{field}}}', '{value}')"
        f" WHERE task_id = %(id)s AND version = {version}"
    )


HISTORY = "UPDATE task_history SET {} WHERE task_id = %(id)s AND version = {}"
TASK = "UPDATE tasks SET {} WHERE id = %(id)s"
LOST = "DELETE FROM task_history WHERE task_id = %(id)s AND version = {}"
NOT_LATER = "its time is not later than that of the entry before it"

DAMAGES: list[tuple[str, dict[int, str]]] = [
    # The rows
    (TASK.format("title = 'silently'"), {5: "the task has another title"}),
    (TASK.format("description = NULL"), {5: "the task has another description"}),
    (TASK.format("created_at = created_at - interval '1 day'"), {5: "the task has another created_at"}),
    (TASK.format("updated_at = updated_at + interval '1 microsecond'"), {5: "the task has another updated_at"}),
    (
        TASK.format("is_completed = true, completed_at = now()"),
        {5: "the task has another completed_at, is_completed"},
    ),
    (TASK.format("version = 6"), {5: "the task has another version"}),
    ("DELETE FROM tasks WHERE id = %(id)s", {5: "the task is not there"}),
    (LOST.format("version"), {5: "the task has no history"}),
    # Entries that are missing, or in the wrong order
    (LOST.format(1), {2: "the entry before it is missing"}),
    (LOST.format(3), {4: "the entry before it is missing"}),
    (LOST.format(5), {4: "the task has another completed_at, is_completed, updated_at, version"}),
    (HISTORY.format("version = 6", 5), {6: "the entry before it is missing; the task has another version"}),
    (HISTORY.format("action_type = 'RESTORED'", 3), {3: "RESTORED follows UPDATED"}),
    (
        HISTORY.format("action_type = 'DELETED'", 3),
        {
            3: "DELETED changes title, updated_at",
            4: "COMPLETED follows DELETED",
        },
    ),
    (
        HISTORY.format("action_type = 'DELETED'", 5),
        {
            5: "DELETED changes completed_at, is_completed, updated_at; the task is there",
        },
    ),
    (
        HISTORY.format("timestamp = timestamp + interval '1 hour'", 3),
        {
            3: "its snapshot has a wrong updated_at",
            4: NOT_LATER,
        },
    ),
    (
        HISTORY.format("timestamp = (SELECT timestamp FROM task_history WHERE task_id = %(id)s AND version = 2)", 3),
        {
            3: f"{NOT_LATER}; its snapshot has a wrong updated_at",
        },
    ),
    (
        HISTORY.format("timestamp = timestamp - interval '1 hour'", 1),
        {
            1: "its snapshot has a wrong created_at, updated_at",
        },
    ),
    # What an entry may change
    (HISTORY.format("action_type = 'COMPLETED'", 3), {3: "COMPLETED does not complete it"}),
    (HISTORY.format("action_type = 'UPDATED'", 4), {4: "UPDATED changes is_completed"}),
    (HISTORY.format("action_type = 'INCOMPLETED'", 4), {4: "INCOMPLETED does not reopen it"}),
    (HISTORY.format("action_type = 'COMPLETED'", 5), {5: "COMPLETED does not complete it"}),
    (
        set_field(3, "title", f'"{SECRET}"'),
        {
            3: "UPDATED changes nothing",
            4: "COMPLETED gives a new value to title",
            # Not the fifth: it takes back what the fourth has.
        },
    ),
    (
        set_field(4, "title", '"never before"'),
        {
            4: "COMPLETED gives a new value to title",
        },
    ),
    (set_field(4, "description", '"never before"'), {4: "COMPLETED gives a new value to description"}),
    (
        set_field(5, "title", '"never before"'),
        {
            5: "INCOMPLETED gives a new value to title; the task has another title",
        },
    ),
    (set_field(4, "completed_at", '"2026-01-01T00:00:00.000000Z"'), {4: "COMPLETED gives a new value to completed_at"}),
    # What a snapshot is
    (set_field(3, "id", '"00000000-0000-4000-8000-000000000000"'), {3: "its snapshot has a wrong id"}),
    (set_field(3, "updated_at", '"2026-01-01T00:00:00.000000Z"'), {3: "its snapshot has a wrong updated_at"}),
    (
        set_field(3, "created_at", '"nonsense"'),
        {
            3: "its snapshot has a wrong created_at",
            4: "its snapshot has a wrong created_at",
        },
    ),
    (
        set_field(4, "completed_at", "null"),
        {
            4: "its snapshot has a wrong is_completed",
        },
    ),
    (
        set_field(4, "completed_at", "5"),
        {
            4: "its snapshot has a wrong completed_at; COMPLETED gives a new value to completed_at",
        },
    ),
    (set_field(2, "title", "5"), {2: "its snapshot has a wrong title"}),
    (set_field(2, "description", "{}"), {2: "its snapshot has a wrong description"}),
    (
        set_field(1, "is_completed", "true"),
        {
            1: "its snapshot has a wrong is_completed; CREATED completes it",
            2: "UPDATED changes is_completed",
        },
    ),
    (
        HISTORY.format("snapshot = '5'", 5),
        {
            5: "its snapshot has a wrong id, title, description, created_at, updated_at, completed_at;"
            " INCOMPLETED does not reopen it;"
            " the task has another completed_at, created_at, description, id, is_completed, title, updated_at",
        },
    ),
    # Erasures that nobody finished
    (
        HISTORY.format("description = 'erased 2026'", 1),
        {
            1: "it is erased, and has texts",
            2: "only a part of the task is erased",
        },
    ),
]


@pytest.mark.parametrize(("damage", "expected"), DAMAGES)
def test_damage_is_found_and_nothing_else(
    damage: str, expected: dict[int, str], task_id: UUID, database_url: str, sql: Sql
) -> None:
    assert faults(database_url) == []
    with sql.without_triggers():
        assert sql.execute(damage, {"id": str(task_id)})
    found = [fault for fault in faults(database_url) if not fault.startswith("The totals ")]
    assert found == [f"Task {task_id} of default, version {version}: {fault}." for version, fault in expected.items()]
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("version", "action", "expected"),
    [(1, "UPDATED", "UPDATED comes first"), (3, "CREATED", "CREATED follows UPDATED")],
)
def test_created_is_the_first(version: int, action: str, expected: str, task_id: UUID, database_url: str) -> None:
    """A rule that the table has, too."""
    rule = "CONSTRAINT task_history_created_first"
    with Sql(database_url) as sql, sql.without_triggers():
        sql.execute(f"ALTER TABLE task_history DROP {rule}")
        try:
            sql.execute(HISTORY.format(f"action_type = '{action}'", version), {"id": str(task_id)})
            assert f"Task {task_id} of default, version {version}: {expected}." in faults(database_url)
        finally:
            sql.execute(
                f"ALTER TABLE task_history ADD {rule} CHECK ((action_type = 'CREATED') = (version = 1)) NOT VALID"
            )


@pytest.fixture
def deleted_id(task_id: UUID, repository: Repository) -> UUID:
    """The same task, deleted: version 6."""
    repository.delete_task(task_id=task_id)
    return task_id


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (set_field(6, "title", '"another"'), "DELETED changes title"),
        (
            HISTORY.format("snapshot = snapshot - 'description'", 6),
            "its snapshot has a wrong description; DELETED changes description",
        ),
        (
            HISTORY.format("action_type = 'UPDATED'", 6),
            "its snapshot has a wrong updated_at; UPDATED changes nothing; the task is not there",
        ),
        (HISTORY.format("timestamp = timestamp - interval '1 hour'", 6), NOT_LATER),
        (
            "INSERT INTO tasks SELECT task.* FROM task_history, jsonb_populate_record(NULL::tasks, snapshot"
            """ || '{"owner": "default", "version": 5}') AS task WHERE task_id = %(id)s AND task_history.version = 6""",
            "the task is there",
        ),
    ],
)
def test_damage_of_a_deleted_task(damage: str, expected: str, deleted_id: UUID, database_url: str, sql: Sql) -> None:
    assert faults(database_url) == []
    with sql.without_triggers():
        assert sql.execute(damage, {"id": str(deleted_id)})
    assert faults(database_url)[:1] == [f"Task {deleted_id} of default, version 6: {expected}."]


def test_what_an_undo_may_do(deleted_id: UUID, database_url: str, repository: Repository, sql: Sql) -> None:
    """It changes more than its action says, but only back to what was there before."""
    completed_at = sql.value(
        "SELECT snapshot ->> 'completed_at' FROM task_history WHERE task_id = %s AND version = 4", (str(deleted_id),)
    )
    take_back(sql, deleted_id, "RESTORED", title=SECRET, description=None)
    take_back(sql, deleted_id, "COMPLETED", title="Buy milk", is_completed=True, completed_at=completed_at)
    repository.set_task_completed(task_id=deleted_id, is_completed=False)
    repository.set_task_completed(task_id=deleted_id, is_completed=True)
    take_back(sql, deleted_id, "UPDATED", completed_at=completed_at)
    take_back(sql, deleted_id, "INCOMPLETED", description="semi-skimmed", is_completed=False, completed_at=None)
    repository.delete_task(task_id=deleted_id)
    take_back(sql, deleted_id, "RESTORED", is_completed=True, completed_at=completed_at)
    assert faults(database_url) == []


def act(repository: Repository, chance: random.Random, task_id: UUID, version: int) -> object:
    """Do something to the task, often in vain; or take something back of all tasks."""
    origin = Origin(change_set=chance.choice("xyz"))
    match chance.choice(["update", "complete", "delete", "undo", "restore", "restore the last", "undo a change set"]):
        case "update":
            changes = {chance.choice(["title", "description"]): chance.choice("abc")}
            return repository.update_task(task_id=task_id, changes=changes, origin=origin)
        case "complete":
            is_completed = chance.random() < 0.5
            return repository.set_task_completed(task_id=task_id, is_completed=is_completed, origin=origin)
        case "delete":
            return repository.delete_task(task_id=task_id, origin=origin)
        case "undo":
            return repository.undo_change(task_id=task_id, version=version, origin=origin)
        case "restore":
            return repository.restore_task(task_id=task_id, version=version, origin=origin)
        case "restore the last":
            return repository.restore_task(task_id=task_id, origin=origin)
        case _:
            return repository.undo(chosen=Chosen(change_set=chance.choice("xyz")), skip_conflicts=True)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_undone(seed: int, database_url: str, repository: Repository, sql: Sql) -> None:
    """Changes of three tasks, undone and restored again and again, one by one and as change sets."""
    chance = random.Random(seed)
    ids = [id_of(repository.create_task(title="a", description=None)) for _ in range(3)]
    for _ in range(150):
        task_id = chance.choice(ids)
        newest = sql.value("SELECT max(version) FROM task_history WHERE task_id = %s", (str(task_id),))
        with suppress(TaskNotFound, ChangeNotFound, DeletionChosen, UndoConflict):
            act(repository, chance, task_id, chance.randint(1, newest))
    assert sql.value("SELECT count(*) FROM task_history WHERE description LIKE 'undo: %'") > 20
    assert faults(database_url) == []
    assert_replay_equals_tasks(sql)


@pytest.mark.parametrize(
    ("action", "changes", "expected"),
    [
        ("RESTORED", {"title": "never before"}, "RESTORED gives a new value to title"),
        (
            "RESTORED",
            {"is_completed": True, "completed_at": "2026-01-01T00:00:00Z", "description": "new"},
            "RESTORED gives a new value to description, completed_at",
        ),
        (
            "COMPLETED",
            {"is_completed": True, "completed_at": "2026-01-01T00:00:00Z"},
            "COMPLETED gives a new value to completed_at",
        ),
        ("UPDATED", {}, "UPDATED changes nothing"),
    ],
)
def test_what_it_may_not(
    action: str, changes: dict[str, Any], expected: str, deleted_id: UUID, database_url: str
) -> None:
    with Sql(database_url) as sql:
        if action != "RESTORED":
            take_back(sql, deleted_id, "RESTORED")
        take_back(sql, deleted_id, action, **changes)
    version = 7 if action == "RESTORED" else 8
    assert faults(database_url) == [f"Task {deleted_id} of default, version {version}: {expected}."]


def test_totals_are_compared_too(others: None, database_url: str, sql: Sql) -> None:
    sql.value(queries.load()["fold_totals"].text, {"owner": "default"})
    assert faults(database_url) == []
    sql.execute("UPDATE history_totals SET created = created + 1")
    assert faults(database_url) == ["The totals are not what the history amounts to: default."]


def test_each_owner_has_a_history(others: None, database_url: str, sql: Sql) -> None:
    """The same id may be a task of each."""
    with sql.without_triggers():
        sql.execute(
            "INSERT INTO task_history (owner, task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT 'ann', task_id, action_type, description, timestamp, version, snapshot FROM task_history;"
            " INSERT INTO tasks (owner, id, title, description, created_at, updated_at, version)"
            " SELECT 'ann', id, title, description, created_at, updated_at, version FROM tasks"
        )
        assert faults(database_url) == []
        sql.execute("UPDATE tasks SET title = 'silently' WHERE owner = 'ann'")
    assert [fault.partition(" of ")[2] for fault in faults(database_url)] == [
        "ann, version 4: the task has another title."
    ]
    with sql.without_triggers():
        sql.execute("DELETE FROM task_history WHERE owner = 'ann'")
    assert faults(database_url)[0].endswith(" of ann, version 4: the task has no history.")


def test_of_many_faults_some_are_named(repository: Repository, database_url: str, sql: Sql) -> None:
    repository.create_tasks(tasks=[{"title": "x", "description": None}] * (reconcile.MOST_NAMED + 1234))
    with sql.without_triggers():
        sql.execute("UPDATE tasks SET title = 'silently'")
    found = faults(database_url)
    assert len(found) == reconcile.MOST_NAMED + 1
    assert found[-1] == "The same of 1,234 more entries."


def test_while_many_write(database_url: str, new_repository: NewRepository, sql: Sql) -> None:
    """Every look is of one moment. It takes no lock that a write waits for."""
    sql.execute(f"ALTER DATABASE {sql.database} SET lock_timeout = '1s'")
    end = time.monotonic() + 3

    def write(seed: int) -> None:
        chance, repository = random.Random(seed), new_repository(database_url, db_connections=1)
        shared: list[UUID] = []
        while time.monotonic() < end:
            choice = chance.random()
            if choice < 0.3 or not shared:
                shared.append(id_of(repository.create_task(title="x", description=None)))
            elif choice < 0.6:
                repository.set_task_completed(task_id=chance.choice(shared), is_completed=chance.random() < 0.5)
            elif choice < 0.9:
                repository.update_task(task_id=chance.choice(shared), changes={"title": str(choice)})
            else:
                repository.delete_task(task_id=shared.pop())

    def fold() -> None:
        with Sql(database_url) as folder:
            while time.monotonic() < end:
                folder.execute(queries.load()["fold_totals"].text, {"owner": "default"})
                time.sleep(0.05)

    looks = 0
    try:
        with ThreadPoolExecutor(5) as pool:
            jobs = [*(pool.submit(write, seed) for seed in range(4)), pool.submit(fold)]
            while time.monotonic() < end:
                assert faults(database_url) == []
                looks += 1
            for job in jobs:
                job.result()
    finally:
        sql.execute(f"ALTER DATABASE {sql.database} RESET lock_timeout")
    assert looks > 3
    assert faults(database_url) == []
    assert_replay_equals_tasks(sql)


def test_all_of_it_is_from_one_snapshot(
    others: None, database_url: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def last(connection: Any, *, only_check: bool) -> list[str]:
        repository.create_task(title="later", description=None)
        with connection.cursor() as cursor:
            cursor.execute(reconcile.COUNT_SQL)
            seen.append(cursor.fetchone())
        return []

    monkeypatch.setattr(reconcile, "repair", last)
    assert faults(database_url) == []
    assert seen == [(1, 9)]


def test_nobody_waits_for_it(others: None, database_url: str, repository: Repository) -> None:
    """Nor could it write."""
    connection = psycopg2.connect(database_url)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute(reconcile.FAULTS_SQL, {"most": 1})
            cursor.execute("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL")
            assert {mode for (mode,) in cursor.fetchall()} == {"AccessShareLock"}
    finally:
        connection.close()


def test_the_command(task_id: UUID, database_url: str, sql: Sql) -> None:
    done = run("taskapi.reconcile", url=database_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 tasks and 14 entries were compared: tasks and totals are what the history amounts to.\n"
    with sql.without_triggers():
        sql.execute("UPDATE tasks SET title = 'silently' WHERE id = %s", (str(task_id),))
    done = run("taskapi.reconcile", url=database_url)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        f"Task {task_id} of default, version 5: the task has another title.\n"
        "2 tasks and 14 entries were compared; the above is wrong.\n"
    )


def test_a_command_that_cannot_look_says_so(database_url: str) -> None:
    """Not with the exit code for a wrong history, and without the password."""
    done = run("taskapi.reconcile", url=database_url.replace("taskapi@", "nobody:geheim@"))
    assert done.returncode == 2
    assert done.stderr.startswith("taskapi: The history could not be compared: ")
    assert "geheim" not in done.stderr + done.stdout
