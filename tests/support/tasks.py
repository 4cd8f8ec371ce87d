"""Tasks in the tests: reads what the repository answers, adds tasks of other times, and has an id that no task has."""

from typing import Any
from uuid import UUID

import orjson

from taskapi.repository.base import Found, Written
from taskapi.repository.tasks import Listed
from taskapi.web import examples
from tests.support.sql import Sql

NOBODY = examples.TASK_ID
"""The id of no task: that of the documentation."""


def task_of(answer: Written | Found | bytes) -> dict[str, Any]:
    """The task of an answer."""
    task: dict[str, Any] = orjson.loads(answer if isinstance(answer, bytes) else answer.task)
    return task


def tasks_of(answer: Listed) -> list[dict[str, Any]]:
    """The tasks of a list."""
    assert answer.tasks is not None
    tasks: list[dict[str, Any]] = orjson.loads(answer.tasks)
    return tasks


def id_of(answer: Written | Found | bytes) -> UUID:
    """The id of the task of an answer."""
    return UUID(task_of(answer)["id"])


def add_task(sql: Sql, created: Any, completed: Any = None) -> None:
    """A task that was created, and maybe completed, at another time, with its history."""
    with sql.without_triggers():
        sql.execute(
            """
            WITH task AS (
                INSERT INTO tasks (title, is_completed, created_at, updated_at, completed_at, version)
                SELECT 'x', completed IS NOT NULL, created, coalesce(completed, created), completed,
                       CASE WHEN completed IS NULL THEN 1 ELSE 2 END
                FROM (SELECT %s::timestamptz AS created, %s::timestamptz AS completed) AS times
                RETURNING tasks
            )
            INSERT INTO task_history (task_id, action_type, description, timestamp, version, snapshot)
            SELECT (tasks).id, 'CREATED', '', (tasks).created_at, 1,
                   to_jsonb(answer(tasks)) || jsonb_build_object(
                       'is_completed', false, 'completed_at', NULL, 'updated_at', (answer(tasks)).created_at
                   )
            FROM task
            UNION ALL
            SELECT (tasks).id, 'COMPLETED', '', (tasks).completed_at, 2, to_jsonb(answer(tasks))
            FROM task
            WHERE (tasks).is_completed
            """,
            (created, completed),
        )
