"""Random changes of every kind, and a replay in Python of what they made: the tasks as of any moment."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from taskapi.errors import DeletionChosen, UndoConflict
from taskapi.repository import Repository
from tests.support.sql import Sql
from tests.support.tasks import add_task

MICROSECOND = timedelta(microseconds=1)

# What an undo writes, as people could write it: a task as it once was, in whole.
WRITE_BACK = """
WITH wanted AS (
    SELECT answer.*, clock_timestamp() AS now, last.version + 1 AS new_version, last.action_type = 'DELETED' AS returns
    FROM (SELECT (jsonb_populate_record(NULL::tasks, %(task)s::jsonb)).*) AS answer
    JOIN LATERAL (
        SELECT version, action_type FROM task_history WHERE task_id = answer.id ORDER BY version DESC LIMIT 1
    ) AS last ON true
),
changed AS (
    UPDATE tasks
    SET title = wanted.title, description = wanted.description, is_completed = wanted.is_completed,
        completed_at = wanted.completed_at, updated_at = now, version = new_version
    FROM wanted
    WHERE tasks.id = wanted.id
    RETURNING tasks AS task
),
returned AS (
    INSERT INTO tasks (id, title, description, is_completed, created_at, updated_at, completed_at, version)
    SELECT id, title, description, is_completed, created_at, now, completed_at, new_version
    FROM wanted
    WHERE returns
    RETURNING tasks AS task
)
INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
SELECT (task).id, %(action)s, 'undo: …', (task).updated_at, (task).version, to_jsonb(answer(task))
FROM (TABLE changed UNION ALL TABLE returned) AS written
"""


@dataclass(frozen=True)
class Entry:
    """An entry of the history."""

    task_id: str
    version: int
    action_type: str
    timestamp: datetime
    snapshot: dict[str, Any]


def storm(repository: Repository, sql: Sql, changes: int, chance: random.Random) -> None:
    """Make so many random changes, also such as an undo makes: of deleted tasks, and of times of completion."""
    for _ in range(12):
        # Of one moment, so that their ids decide.
        add_task(sql, "2026-01-01T00:00:00Z")
    for _ in range(8):
        repository.create_tasks(tasks=[{"title": f"x{n}", "description": None} for n in range(chance.randint(1, 5))])
    for number in range(changes):
        entries = history(sql)
        there = list(replay(entries, entries[-1].timestamp).values())
        gone = [entry.snapshot for entry in entries if entry.task_id not in {task["id"] for task in there}]
        kind = chance.random()
        if kind < 0.2 or not there:
            repository.create_task(title=f"new {number}", description=chance.choice([None, "text"]))
            continue
        task = chance.choice(there)
        task_id = UUID(task["id"])
        if kind < 0.35:
            changed = {"title": f"title {number}"} if number % 2 else {"description": f"text {number}"}
            repository.update_task(task_id=task_id, changes=changed)
        elif kind < 0.65:
            repository.set_task_completed(task_id=task_id, is_completed=not task["is_completed"])
        elif kind < 0.75:
            repository.delete_task(task_id=task_id)
        elif kind < 0.85:
            _undo(repository, chance.choice(entries))
        elif gone and kind < 0.9:
            write_back(sql, chance.choice(gone), "RESTORED")
        else:
            _undo_completion(sql, entries, task, chance)


def _undo(repository: Repository, entry: Entry) -> None:
    """Take back a change, or bring back what it made of the task."""
    with suppress(UndoConflict, DeletionChosen):
        if entry.version % 2:
            repository.undo_change(task_id=UUID(entry.task_id), version=entry.version)
        else:
            repository.restore_task(task_id=UUID(entry.task_id), version=entry.version)


def _undo_completion(sql: Sql, entries: list[Entry], task: dict[str, Any], chance: random.Random) -> None:
    """Complete the task as of an earlier time at which it was completed; if it is complete, only the time moves."""
    times = {e.snapshot["completed_at"] for e in entries if e.task_id == task["id"] and e.snapshot["completed_at"]}
    if earlier := sorted(times - {task["completed_at"]}):
        action = "UPDATED" if task["is_completed"] else "COMPLETED"
        write_back(sql, {**task, "is_completed": True, "completed_at": chance.choice(earlier)}, action)


def write_back(sql: Sql, task: dict[str, Any], action: str) -> None:
    """Make the task, there or not, what it is here, with an entry of this action."""
    written = sql.execute(WRITE_BACK, {"task": orjson.dumps(task).decode(), "action": action})
    assert written == 1


def history(sql: Sql) -> list[Entry]:
    """All entries, in their order."""
    rows = sql.rows("SELECT task_id, version, action_type, timestamp, snapshot FROM task_history ORDER BY timestamp")
    return [Entry(*row) for row in rows]


def replay(entries: list[Entry], moment: datetime) -> dict[str, dict[str, Any]]:
    """The tasks as of the moment, by their ids."""
    tasks = dict[str, dict[str, Any]]()
    for entry in entries:
        if entry.timestamp <= moment:
            if entry.action_type == "DELETED":
                del tasks[entry.task_id]
            else:
                tasks[entry.task_id] = entry.snapshot
    return tasks


def listed(tasks: dict[str, dict[str, Any]], is_completed: bool | None = None) -> list[dict[str, Any]]:
    """The tasks of one state, or of both, in the order of the list."""
    chosen = [task for task in tasks.values() if is_completed in (None, task["is_completed"])]
    by_id = sorted(chosen, key=lambda task: str(task["id"]))
    by_age = sorted(by_id, key=lambda task: str(task["created_at"]), reverse=True)
    return sorted(by_age, key=lambda task: bool(task["is_completed"]))


def figures(tasks: dict[str, dict[str, Any]], starts: datetime, ends: datetime) -> dict[str, int]:
    """What the report of the week between these moments says about the tasks."""

    def within(name: str) -> int:
        return sum(
            starts <= datetime.fromisoformat(task[name]) < ends for task in tasks.values() if task[name] is not None
        )

    complete = sum(task["is_completed"] for task in tasks.values())
    return {
        "tasks_created_this_week": within("created_at"),
        "tasks_completed_this_week": within("completed_at"),
        "total_completed": complete,
        "total_incomplete": len(tasks) - complete,
        "total_tasks": len(tasks),
    }


def moments(entries: list[Entry], count: int, chance: random.Random) -> Iterator[datetime]:
    """So many moments at entries, and a microsecond before and after them; the first are at the ends."""
    yield from (entries[0].timestamp - MICROSECOND, entries[0].timestamp, entries[-1].timestamp)
    for _ in range(count - 3):
        yield chance.choice(entries).timestamp + chance.choice([-1, 0, 0, 1]) * MICROSECOND


def whole_list(
    repository: Repository, moment: datetime, is_completed: bool | None, chance: random.Random
) -> list[dict[str, Any]]:
    """The list as of the moment, read in pages of random lengths."""
    found, after = list[dict[str, Any]](), None
    while True:
        limit = chance.randint(1, 30)
        page, last = repository.list_tasks_as_of(as_of=moment, is_completed=is_completed, after=after, limit=limit)
        tasks = orjson.loads(page)
        found += tasks
        if last is None:
            assert len(tasks) <= limit
            return found
        assert len(tasks) == limit
        key = orjson.loads(last)
        after = (key["is_completed"], datetime.fromisoformat(key["created_at"]), UUID(key["id"]))
