"""Undo and restore: each rule, field by field; what is undone twice; and many who undo the same at once."""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from taskapi.database import queries
from taskapi.errors import (
    ChangeNotFound,
    DeletionChosen,
    IdempotencyKeyReused,
    TaskNotFound,
    TooManyTasks,
    UndoConflict,
    VersionMismatch,
)
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.undo import MOST_TASKS, Chosen, Undone
from tests.conftest import NewRepository
from tests.repository.test_totals import looked
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql
from tests.support.tasks import id_of, task_of

ANN, UNDOER = Origin("ann", "request of ann"), Origin("undoer", "request of undoer", "undone")

EXPECTED_KEYS = ["task_id", "field", "version", "actor", "timestamp"]


def play(repository: Repository, steps: str, run: str) -> UUID:
    """Do the steps to a new task, such as `+title B`: those with a plus in the change set `run`, the others as ann."""
    task_id = UUID(int=0)
    for step in steps.split(", "):
        action, _, value = step[1:].partition(" ")
        origin = Origin("agent", f"{run} {step}", run) if step[0] == "+" else ANN
        if action == "create":
            task_id = id_of(repository.create_task(title=value, description=None, origin=origin))
        elif action == "delete":
            repository.delete_task(task_id=task_id, origin=origin)
        elif action == "restore":
            repository.restore_task(task_id=task_id, version=int(value) if value else None, origin=origin)
        elif action in ("complete", "reopen"):
            repository.set_task_completed(task_id=task_id, is_completed=action == "complete", origin=origin)
        else:
            repository.update_task(task_id=task_id, changes={action: value or None}, origin=origin)
    return task_id


def snapshots(sql: Sql, task_id: UUID) -> list[dict[str, Any]]:
    """The task after each version, the first one first; of a deletion, before it."""
    statement = "SELECT snapshot FROM task_history WHERE task_id = %s ORDER BY version"
    return [row[0] for row in sql.rows(statement, (str(task_id),))]


def entries(sql: Sql, task_id: UUID) -> list[tuple[str, str]]:
    statement = "SELECT action_type, description FROM task_history WHERE task_id = %s ORDER BY version"
    return [(action, description) for action, description in sql.rows(statement, (str(task_id),))]


def state(repository: Repository, task_id: UUID) -> dict[str, Any] | None:
    """The task but for its `updated_at`; None where it is not there."""
    try:
        task = task_of(repository.get_task(task_id=task_id))
    except TaskNotFound:
        return None
    del task["updated_at"]
    return task


def without_times(undone: Undone) -> list[dict[str, Any]]:
    """The changes, but for the time at which they are made."""
    changes: list[dict[str, Any]] = orjson.loads(undone.changes)
    for change in changes:
        if change["task"]:
            del change["task"]["updated_at"]
    return changes


GONE = "gone"

RULES: dict[str, tuple[str, list[tuple[str, int]]]] = {
    # 1. A field goes back to the value before the last run of chosen changes.
    "-create A, +title B": ("title A", []),
    "-create A, +title B, +title C": ("title A", []),
    "-create A, +title B, -title C, +title D": ("title C", []),
    "-create A, +title B, -title C, +title D, +title E": ("title C", []),
    "-create A, +title B, -description x, +title C": ("title A", []),
    "-create A, +title B, -delete, -restore, +title C": ("title A", []),
    "-create A, +title B, +title A": ("", []),
    "-create A, +complete": ("reopened", []),
    "-create A, +complete, +reopen": ("", []),
    "-create A, -complete, +reopen": ("completed at 2", []),
    "-create A, -complete, +reopen, +complete": ("completed at 2", []),
    "-create A, -complete, +reopen, -title B, +complete, +title C": ("title B, completed at 2", []),
    "-create A, +title B, +description x, +complete": ("title A, description , reopened", []),
    # 2. What others changed before or in between stays, and so do other fields.
    "-create A, -title B, -description x, +title C": ("title B", []),
    "-create A, +description x, -title B": ("description ", []),
    "-create A, -description x, +description ": ("description x", []),
    "-create A, +description x, +description ": ("", []),
    # 3. Where others changed it after, it is back already, or a conflict.
    "-create A, +title B, -title A": ("", []),
    "-create A, +title B, -title C": ("", [("title", 3)]),
    "-create A, +title B, -title C, -title D": ("", [("title", 4)]),
    "-create A, +title B, -title C, -title A": ("", []),
    "-create A, +title B, +description x, -title C": ("description ", [("title", 4)]),
    "-create A, +title B, +description x, -description y, -title C": ("", [("description", 4), ("title", 5)]),
    "-create A, +complete, -reopen": ("", []),
    "-create A, +complete, -reopen, -complete": ("", [("is_completed", 4)]),
    "-create A, -complete, +reopen, -complete": ("", []),
    "-create A, +title B, -restore 1": ("", []),
    # 4. A creation that others built on, and a change of what others deleted.
    "+create A": (GONE, []),
    "+create A, +title B, +complete": (GONE, []),
    "+create A, -title B": ("", [("task", 2)]),
    "+create A, -title B, -title A": ("", [("task", 3)]),
    "+create A, -title B, +title C": ("", [("task", 2)]),
    "+create A, -delete": ("", []),
    "+create A, +title B, -delete": ("", []),
    "+create A, -delete, -restore": ("", [("task", 3)]),
    "+create A, +delete": ("", []),
    "+create A, +delete, +restore": (GONE, []),
    "+create A, +title B, +delete, -restore": ("", [("task", 4)]),
    "-create A, +title B, -delete": ("", [("task", 3)]),
    "-create A, +title B, -title A, -delete": ("", []),
    "-create A, +title B, -title C, -delete": ("", [("task", 4)]),
    "-create A, +delete": ("back", []),
    "-create A, +title B, +delete": ("back, title A", []),
    "-create A, +title B, -title C, +delete": ("back", [("title", 3)]),
    "-create A, -complete, +reopen, +delete": ("back, completed at 2", []),
    "-create A, +delete, -restore": ("", []),
    "-create A, +delete, -restore, -title B": ("", []),
    "-create A, +delete, -restore, -delete": ("", [("task", 4)]),
    "-create A, -delete, +restore": (GONE, []),
    "-create A, -delete, +restore, -title B": ("", [("task", 4)]),
    "-create A, -title B, -delete, +restore 1": (GONE, []),
    "-create A, +title B, +delete, -restore 2": ("title A", []),
    "-create A, +title B, +delete, -restore 1": ("", []),
}
"""What is done to a task; what an undo of the steps with a plus changes; what conflicts, in which version."""


def wanted(before: dict[str, Any] | None, changes: str, history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The task that these changes make of it."""
    if changes == GONE:
        return None
    task = before
    for change in filter(None, changes.split(", ")):
        name, _, value = change.partition(" ")
        if name == "back":
            task = {key: value for key, value in history[-1].items() if key != "updated_at"}
        assert task is not None
        if name == "reopened":
            task = {**task, "is_completed": False, "completed_at": None}
        elif name == "completed":
            version = int(value.removeprefix("at "))
            task = {**task, "is_completed": True, "completed_at": history[version - 1]["completed_at"]}
        elif name != "back":
            task = {**task, name: value or None}
    return task


@pytest.mark.parametrize("steps", RULES)
def test_rule(steps: str, shared_repository: Repository, shared_sql: Sql) -> None:
    """Also: a preview tells what happens, a conflict and a second undo change nothing, and the undo can be undone."""
    repository, (changes, conflicts), run = shared_repository, RULES[steps], str(uuid4())
    task_id, chosen = play(repository, steps, run), Chosen(change_set=run)
    before, history = state(repository, task_id), snapshots(shared_sql, task_id)
    if conflicts:
        for dry_run in (True, False):
            with pytest.raises(UndoConflict) as refused:
                repository.undo(chosen=chosen, dry_run=dry_run)
            for field, version in conflicts:
                assert re.search(
                    rf"{field}( of task)? {task_id} was changed in version {version} \(ann, 2", str(refused.value)
                )
    preview = repository.undo(chosen=chosen, dry_run=True, skip_conflicts=True, origin=UNDOER)
    assert snapshots(shared_sql, task_id) == history
    again = f"{run} undone"
    undone = repository.undo(chosen=chosen, skip_conflicts=True, origin=Origin("undoer", None, again))
    assert without_times(undone) == without_times(preview)
    assert undone.conflicts == preview.conflicts
    assert [(found["field"], found["version"]) for found in orjson.loads(undone.conflicts)] == conflicts
    assert state(repository, task_id) == wanted(before, changes, history)
    assert len(snapshots(shared_sql, task_id)) == len(history) + (changes != "")
    for found in orjson.loads(undone.conflicts):
        assert list(found) == EXPECTED_KEYS
        assert (found["task_id"], found["actor"]) == (str(task_id), "ann")
    if changes:
        (change,) = orjson.loads(undone.changes)
        assert list(change) == ["task_id", "version", "description", "task"]
        assert change["version"] == len(history) + 1
        assert change["description"] == entries(shared_sql, task_id)[-1][1]
        if change["task"]:
            assert change["task"] == task_of(repository.get_task(task_id=task_id))
    # The same again changes nothing; what was undone, undone, is as it was before.
    assert repository.undo(chosen=chosen, skip_conflicts=True).changes == b"[]"
    assert len(snapshots(shared_sql, task_id)) == len(history) + (changes != "")
    if changes:
        repository.undo(chosen=Chosen(change_set=again))
        assert state(repository, task_id) == before
    assert_replay_equals_tasks(shared_sql)
    given, counted = looked(shared_sql)
    assert given == counted


ENTRIES = {
    "-create A, +title B": ("UPDATED", "undo: title: 'B' -> 'A'"),
    "-create A, +description x": ("UPDATED", "undo: description: 'x' -> none"),
    "-create A, +complete": ("INCOMPLETED", "undo: 'A': is_completed: true -> false"),
    "-create A, -complete, +reopen, +title B": (
        "COMPLETED",
        "undo: title: 'B' -> 'A'; 'A': is_completed: false -> true",
    ),
    "+create A": ("DELETED", "undo: title: 'A'"),
    "-create A, +delete": ("RESTORED", "undo: title: 'A'"),
    "-create A, +title B, +delete": ("RESTORED", "undo: title: 'B' -> 'A'"),
    "-create A, +description x, +delete": ("RESTORED", "undo: title: 'A'; description: 'x' -> none"),
}


@pytest.mark.parametrize("steps", ENTRIES)
def test_the_entry_tells_the_effect(steps: str, shared_repository: Repository, shared_sql: Sql) -> None:
    run = str(uuid4())
    task_id = play(shared_repository, steps, run)
    shared_repository.undo(chosen=Chosen(change_set=run), origin=UNDOER)
    assert entries(shared_sql, task_id)[-1] == ENTRIES[steps]
    statement = (
        "SELECT actor, request_id, change_set FROM task_history WHERE task_id = %s ORDER BY version DESC LIMIT 1"
    )
    assert shared_sql.rows(statement, (str(task_id),)) == [("undoer", "request of undoer", "undone")]


def test_where_only_the_time_of_completion_moves_back(shared_repository: Repository, shared_sql: Sql) -> None:
    run = str(uuid4())
    task_id = play(shared_repository, "-create A, -complete, +reopen, +complete", run)
    times = [snapshot["completed_at"] for snapshot in snapshots(shared_sql, task_id)]
    shared_repository.undo(chosen=Chosen(change_set=run))
    assert entries(shared_sql, task_id)[-1] == ("UPDATED", f"undo: completed_at: {times[3]} -> {times[1]}")


# What is chosen


def changed(undone: Undone) -> set[UUID]:
    return {UUID(change["task_id"]) for change in orjson.loads(undone.changes)}


def test_each_way_to_choose(shared_repository: Repository, shared_sql: Sql) -> None:
    run = str(uuid4())
    agent, started = Origin(f"agent {run}", f"request {run}", run), datetime.now(UTC)
    new = [{"title": title, "description": None} for title in "ABC"]
    ids = [UUID(task["id"]) for task in orjson.loads(shared_repository.create_tasks(tasks=new).tasks)]
    shared_repository.set_tasks_completed(task_ids=ids[:2], is_completed=True, origin=agent)
    middle = datetime.now(UTC)
    shared_repository.update_task(
        task_id=ids[2], changes={"title": "D"}, origin=Origin(f"agent {run}", "another request", "another run")
    )

    def would(**chosen: Any) -> set[UUID]:
        return changed(shared_repository.undo(chosen=Chosen(**chosen), dry_run=True))

    assert would(task_id=ids[0], version=2) == {ids[0]}
    assert would(request_id=f"request {run}") == would(change_set=run) == set(ids[:2])
    assert would(actor=f"agent {run}", since=started) == set(ids)
    assert would(actor=f"agent {run}", since=started, until=middle) == set(ids[:2])
    assert would(actor=f"agent {run}", since=middle) == {ids[2]}
    # `since` is inclusive, `until` is not.
    last: datetime = shared_sql.value(
        "SELECT timestamp FROM task_history WHERE task_id = %s AND version = 2", (str(ids[2]),)
    )
    assert would(actor=f"agent {run}", since=last) == {ids[2]}
    assert would(actor=f"agent {run}", since=started, until=last) == set(ids[:2])
    for nothing in ({"since": started, "until": started}, {"since": last + timedelta(microseconds=1)}):
        with pytest.raises(ChangeNotFound):
            would(actor=f"agent {run}", **nothing)
    for way in ({"request_id": "x"}, {"change_set": "x"}, {"actor": "x", "since": started}):
        with pytest.raises(ChangeNotFound):
            would(**way)


def test_those_of_nobody(repository: Repository) -> None:
    since = datetime.now(UTC)
    mine = id_of(repository.create_task(title="A", description=None))
    repository.create_task(title="B", description=None, origin=ANN)
    assert changed(repository.undo(chosen=Chosen(actor=None, since=since))) == {mine}


def test_what_is_not_there(shared_repository: Repository) -> None:
    task_id = id_of(shared_repository.create_task(title="A", description=None))
    for act in (shared_repository.undo_change, shared_repository.restore_task):
        with pytest.raises(ChangeNotFound, match=r"^The task has no version 2\.$"):
            act(task_id=task_id, version=2)
        with pytest.raises(TaskNotFound):
            act(task_id=uuid4(), version=1)
    with pytest.raises(ChangeNotFound, match="no version 2147483647"):
        shared_repository.undo(chosen=Chosen(task_id=task_id, version=2**31 - 1))
    with pytest.raises(TaskNotFound):
        shared_repository.undo(chosen=Chosen(task_id=uuid4(), version=1))
    with pytest.raises(TaskNotFound):
        shared_repository.restore_task(task_id=uuid4())


def test_at_most_a_thousand_tasks(repository: Repository, sql: Sql) -> None:
    new = [{"title": "x", "description": None}] * (MOST_TASKS // 2)
    for origin in (Origin(None, "first", "all"), Origin(None, "second", "all")):
        repository.create_tasks(tasks=new, origin=origin)
    last = id_of(repository.create_task(title="x", description=None, origin=Origin(None, "third", "all")))
    for dry_run in (True, False):
        with pytest.raises(TooManyTasks, match=r" of 1001 tasks; at most 1000 "):
            repository.undo(chosen=Chosen(change_set="all"), dry_run=dry_run)
    assert sql.value("SELECT count(*) FROM tasks") == MOST_TASKS + 1
    # Of one that is undone already, nothing is to be done, but it counts.
    repository.undo_change(task_id=last, version=1)
    with pytest.raises(TooManyTasks):
        repository.undo(chosen=Chosen(change_set="all"))
    repository.undo(chosen=Chosen(request_id="first"))
    undone = repository.undo(chosen=Chosen(request_id="second"))
    assert sql.value("SELECT count(*) FROM tasks") == 0
    # The entries of one request are a microsecond apart, in the order of the answer.
    order = [change["task_id"] for change in orjson.loads(undone.changes)]
    times = dict(sql.rows("SELECT task_id, timestamp FROM task_history WHERE action_type = 'DELETED'"))
    found = [times[task_id] for task_id in order]
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(microseconds=1)}
    assert_replay_equals_tasks(sql)


# Conditions and rules


def test_an_undo_of_another_version(shared_repository: Repository, shared_sql: Sql) -> None:
    task_id = play(shared_repository, "-create A, +title B, -description x", "")
    for act in (shared_repository.undo_change, shared_repository.restore_task):
        with pytest.raises(
            VersionMismatch, match=r"^The task is at version 3, not 2: description: none -> 'x' \(ann, "
        ):
            act(task_id=task_id, version=1, expected=["2"])
    assert shared_repository.undo_change(task_id=task_id, version=2, expected=["2", "3"]).version == 4
    # It has been undone; but the condition comes first.
    with pytest.raises(VersionMismatch):
        shared_repository.undo_change(task_id=task_id, version=2, expected=["3"])
    with pytest.raises(VersionMismatch):
        shared_repository.restore_task(task_id=task_id, expected=["3"])
    assert shared_repository.delete_task(task_id=task_id).version == 5
    # A deleted task is at the version of its deletion.
    with pytest.raises(VersionMismatch, match=r"^The task is at version 5, not 4"):
        shared_repository.undo_change(task_id=task_id, version=5, expected=["4"])
    assert shared_repository.undo_change(task_id=task_id, version=5, expected=["5"]).version == 6
    assert_replay_equals_tasks(shared_sql)


OLD_TITLE = (
    "UPDATE tasks SET title = {value}, version = 2, updated_at = now() WHERE id = %(id)s;"
    " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
    " SELECT id, 'UPDATED', '', updated_at, version, to_jsonb(answer(tasks)) FROM tasks WHERE id = %(id)s"
)


@pytest.fixture
def blank(repository: Repository, sql: Sql) -> UUID:
    """A task whose title was blank at version 2, which was allowed once, and is something else since."""
    task_id = id_of(repository.create_task(title="A", description=None))
    with sql.without_triggers():
        sql.execute(OLD_TITLE.format(value="' '"), {"id": str(task_id)})
    repository.update_task(task_id=task_id, changes={"title": "B", "description": "x"}, origin=ANN)
    return task_id


def test_a_value_that_the_rules_of_today_refuse(blank: UUID, repository: Repository, sql: Sql) -> None:
    with pytest.raises(UndoConflict, match=rf"title of task {blank} must not be what it was before version 3 \(ann, "):
        repository.undo_change(task_id=blank, version=3)
    with pytest.raises(UndoConflict, match="title must not be what it was at version 2"):
        repository.restore_task(task_id=blank, version=2)
    assert sql.value("SELECT version FROM tasks") == 3
    undone = repository.undo(chosen=Chosen(task_id=blank, version=3), skip_conflicts=True)
    assert [(found["field"], found["version"]) for found in orjson.loads(undone.conflicts)] == [("title", 3)]
    task = task_of(repository.get_task(task_id=blank))
    assert (task["title"], task["description"]) == ("B", None)
    assert_replay_equals_tasks(sql)


def test_a_deleted_task_returns_with_the_title_that_it_had(repository: Repository, sql: Sql) -> None:
    for restore in (repository.restore_task, partial(repository.undo_change, version=3)):
        task_id = id_of(repository.create_task(title="A", description=None))
        with sql.without_triggers():
            sql.execute(OLD_TITLE.format(value="' '"), {"id": str(task_id)})
        repository.delete_task(task_id=task_id)
        assert task_of(restore(task_id=task_id))["title"] == " "
    assert_replay_equals_tasks(sql)


# Restoring


@pytest.mark.parametrize(
    ("steps", "version", "entry"),
    [
        ("-create A, -title B, -complete", 2, ("INCOMPLETED", "undo: 'B': is_completed: true -> false")),
        ("-create A, -complete, -reopen", 2, ("COMPLETED", "undo: 'A': is_completed: false -> true")),
        ("-create A, -description x", 1, ("UPDATED", "undo: description: 'x' -> none")),
        ("-create A, -delete", None, ("RESTORED", "undo: title: 'A'")),
        ("-create A, -title B, -delete", None, ("RESTORED", "undo: title: 'B'")),
        ("-create A, -title B, -delete", 1, ("RESTORED", "undo: title: 'B' -> 'A'")),
        ("-create A, -complete, -delete", 2, ("RESTORED", "undo: title: 'A'")),
        ("-create A, -complete, -delete", 1, ("RESTORED", "undo: title: 'A'; 'A': is_completed: true -> false")),
        ("-create A", None, None),
        ("-create A", 1, None),
        ("-create A, -title B, -title A", 1, None),
        ("-create A, -delete, -restore", None, None),
    ],
)  # fmt: skip
def test_restore(
    steps: str, version: int | None, entry: tuple[str, str] | None, shared_repository: Repository, shared_sql: Sql
) -> None:
    task_id = play(shared_repository, steps, "")
    history = snapshots(shared_sql, task_id)
    written = shared_repository.restore_task(task_id=task_id, version=version, origin=UNDOER)
    assert written.version == len(history) + (entry is not None)
    assert len(snapshots(shared_sql, task_id)) == written.version
    then = history[(version or len(history)) - 1]
    assert task_of(written) == task_of(shared_repository.get_task(task_id=task_id))
    assert {**task_of(written), "updated_at": None} == {**then, "updated_at": None}
    if entry:
        assert entries(shared_sql, task_id)[-1] == entry
    again = shared_repository.restore_task(task_id=task_id, version=version)
    assert (again.task, again.version) == (written.task, written.version)
    assert_replay_equals_tasks(shared_sql)


def test_a_deletion_is_no_version_to_restore(shared_repository: Repository) -> None:
    task_id = play(shared_repository, "-create A, -delete", "")
    with pytest.raises(DeletionChosen, match=r"^version: 2 is the task's deletion; choose one before it$"):
        # Also where the condition does not hold.
        shared_repository.restore_task(task_id=task_id, version=2, expected=["1"])
    shared_repository.restore_task(task_id=task_id)
    with pytest.raises(DeletionChosen):
        shared_repository.restore_task(task_id=task_id, version=2)


# Keys


UNDOS: dict[str, Callable[[Repository, UUID, str | None], Any]] = {
    "undo_change": lambda repository, task_id, key: repository.undo_change(
        task_id=task_id, version=2, idempotency_key=key
    ),
    "undo": lambda repository, task_id, key: repository.undo(
        chosen=Chosen(task_id=task_id, version=2), idempotency_key=key
    ),
    "restore_task": lambda repository, task_id, key: repository.restore_task(
        task_id=task_id, version=1, idempotency_key=key
    ),
}


@pytest.mark.parametrize("name", UNDOS)
def test_the_same_again_with_a_key(name: str, shared_repository: Repository, shared_sql: Sql) -> None:
    task_id, key = play(shared_repository, "-create A, +title B", ""), str(uuid4())
    first = UNDOS[name](shared_repository, task_id, key)
    assert not first.replayed
    shared_repository.update_task(task_id=task_id, changes={"title": "C"})
    shared_repository.delete_task(task_id=task_id)
    count = len(snapshots(shared_sql, task_id))
    again = UNDOS[name](shared_repository, task_id, key)
    assert again.replayed
    assert {**again.__dict__, "replayed": False} == first.__dict__
    for other in UNDOS.keys() - {name}:
        with pytest.raises(IdempotencyKeyReused):
            UNDOS[other](shared_repository, task_id, key)
    assert len(snapshots(shared_sql, task_id)) == count


def test_a_replay_of_a_deletion(shared_repository: Repository) -> None:
    task_id, key = play(shared_repository, "-create A", ""), str(uuid4())
    for _ in range(2):
        written = shared_repository.undo_change(task_id=task_id, version=1, idempotency_key=key)
        assert (written.task, written.version) == (b"null", 2)
    assert written.replayed
    shared_repository.restore_task(task_id=task_id)
    assert shared_repository.undo_change(task_id=task_id, version=1, idempotency_key=key).task == b"null"
    shared_repository.get_task(task_id=task_id)


def test_a_replay_of_many_gives_the_changes_and_no_conflicts(shared_repository: Repository) -> None:
    run, key = str(uuid4()), str(uuid4())
    for steps in ("-create A, +title B", "-create A, +title B, -title C", "+create A", "-create A, +delete"):
        play(shared_repository, steps, run)
    first, again = (
        shared_repository.undo(chosen=Chosen(change_set=run), skip_conflicts=True, idempotency_key=key)
        for _ in range(2)
    )
    assert len(orjson.loads(first.changes)) == 3
    assert len(orjson.loads(first.conflicts)) == 1
    assert (again.changes, again.conflicts, again.replayed) == (first.changes, b"[]", True)


def test_what_writes_nothing_leaves_the_key_free(shared_repository: Repository) -> None:
    run, key = str(uuid4()), str(uuid4())
    task_id = play(shared_repository, "-create A, +title B", run)
    shared_repository.undo(chosen=Chosen(change_set=run), dry_run=True, idempotency_key=key)
    with pytest.raises(VersionMismatch):
        shared_repository.undo_change(task_id=task_id, version=2, expected=["1"], idempotency_key=key)
    assert not shared_repository.restore_task(task_id=task_id, version=2, idempotency_key=key).replayed
    assert not shared_repository.undo(chosen=Chosen(change_set=run), idempotency_key=key).replayed
    assert shared_repository.undo(chosen=Chosen(change_set=run), idempotency_key=key).replayed


# At once


def at_once(count: int, act: Callable[[], Any]) -> list[Any]:
    """What the calls return, all made at the same moment."""
    barrier = Barrier(count)

    def once(_: int) -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(once, range(count)))


def assert_one_effect(sql: Sql, ids: Iterable[UUID]) -> None:
    """Each of the tasks has one entry of an undo."""
    counts = dict(sql.rows("SELECT task_id, count(*) FROM task_history WHERE description LIKE 'undo: %%' GROUP BY 1"))
    assert counts == {str(task_id): 1 for task_id in ids}
    assert_replay_equals_tasks(sql)


@pytest.fixture
def crowded(database_url: str, new_repository: NewRepository) -> Repository:
    return new_repository(database_url, db_connections=8)


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize("steps", ["-create A, +title B", "+create A", "-create A, +delete"])
def test_equal_undos_are_one(steps: str, key: str | None, crowded: Repository, sql: Sql) -> None:
    ids = [play(crowded, steps, str(number)) for number in range(4)]
    version = 1 if steps == "+create A" else 2
    for number, task_id in enumerate(ids):
        undo = partial(crowded.undo_change, task_id=task_id, version=version, idempotency_key=key and f"{key} {number}")
        answers = at_once(8, undo)
        assert len({(answer.task, answer.version) for answer in answers}) == 1
        if key:
            assert sum(not answer.replayed for answer in answers) == 1
    assert_one_effect(sql, ids)


def test_equal_restorations_are_one(crowded: Repository, sql: Sql) -> None:
    ids = [play(crowded, "-create A, +title B, -delete", "") for _ in range(4)]
    for task_id in ids:
        answers = at_once(8, partial(crowded.restore_task, task_id=task_id))
        assert len({(answer.task, answer.version) for answer in answers}) == 1
    assert_one_effect(sql, ids)


def test_undos_of_the_same_many_are_one(crowded: Repository, sql: Sql) -> None:
    """Of tasks that are there, that are to go, and that are to return: whoever is second runs again."""
    steps = ("-create A, +title B", "+create A", "-create A, +delete")
    ids = [play(crowded, steps[number % 3], "run") for number in range(30)]
    answers = at_once(8, partial(crowded.undo, chosen=Chosen(change_set="run")))
    assert sorted(len(orjson.loads(answer.changes)) for answer in answers) == [0] * 7 + [30]
    assert_one_effect(sql, ids)


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def title_changes(url: str, task_id: UUID) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Ann has changed the title to C, and has not committed. Call it with an act that waits for her: she commits, and
    what it returns comes back."""
    asked = {
        "owner": "default", "task_id": str(task_id), "changes": '{"title": "C"}', "expected": None, "actor": "ann",
        "request_id": None, "change_set": None, "idempotency_key": None, "request_digest": None,
    }  # fmt: skip
    with Sql(url) as ann, Sql(url) as sql, ThreadPoolExecutor(1) as thread:
        ann.execute("BEGIN")
        ann.execute(queries.load()["change_task"].text, asked)

        def meanwhile(act: Callable[[], Any]) -> Any:
            done = thread.submit(act)
            while not sql.value(WAITING):
                assert not done.done()
            ann.execute("COMMIT")
            return done.result()

        yield meanwhile


def test_an_undo_that_waited_sees_what_it_waited_for(repository: Repository, database_url: str, sql: Sql) -> None:
    task_id = play(repository, "-create A, +title B", "run")
    with title_changes(database_url, task_id) as meanwhile:
        # A preview locks nothing, and does not wait.
        preview = repository.undo(chosen=Chosen(change_set="run"), dry_run=True)
        assert [change["task"]["title"] for change in orjson.loads(preview.changes)] == ["A"]
        with pytest.raises(UndoConflict, match=rf"title of task {task_id} was changed in version 3 \(ann, "):
            meanwhile(partial(repository.undo_change, task_id=task_id, version=2))
    assert task_of(repository.get_task(task_id=task_id))["title"] == "C"
    assert_replay_equals_tasks(sql)


def test_so_does_a_restoration(repository: Repository, database_url: str, sql: Sql) -> None:
    """When it began, the task was as it was to be."""
    task_id = play(repository, "-create A", "")
    with title_changes(database_url, task_id) as meanwhile:
        written = meanwhile(partial(repository.restore_task, task_id=task_id, version=1))
    assert (written.version, task_of(written)["title"]) == (3, "A")
    assert_replay_equals_tasks(sql)


@pytest.mark.parametrize("act", ["undo", "restore"])
def test_a_clock_that_goes_back(act: str, repository: Repository, sql: Sql) -> None:
    task_id = id_of(repository.create_task(title="before", description=None))
    with sql.transaction():
        sql.execute(
            "UPDATE tasks SET title = 'next year', updated_at = updated_at + interval '1 year', version = version + 1;"
            " INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)"
            " SELECT id, 'UPDATED', '', updated_at, version, to_jsonb(answer(tasks)) FROM tasks"
        )
    future: datetime = sql.value("SELECT updated_at FROM tasks")
    if act == "undo":
        repository.undo_change(task_id=task_id, version=2)
    else:
        repository.restore_task(task_id=task_id, version=1)
    assert sql.value("SELECT max(timestamp) FROM task_history") == future + timedelta(microseconds=1)
    assert_replay_equals_tasks(sql)
