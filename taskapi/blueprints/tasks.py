"""Tasks: create, list, get, update, delete, complete, reopen."""

from typing import Any
from uuid import UUID

import orjson
from flask import Response, request

from taskapi.repository.base import Written
from taskapi.schemas.tasks import (
    TaskAnswerSchema,
    TaskCompletedAnswerSchema,
    TaskCreatedAnswerSchema,
    TaskCreateSchema,
    TaskDeletedAnswerSchema,
    TaskIncompleteAnswerSchema,
    TaskListAnswerSchema,
    TaskUpdatedAnswerSchema,
    TaskUpdateSchema,
)
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success

tasks = Blueprint("Tasks", __name__, url_prefix="/api/v1/tasks", description="Create, change and complete tasks.")


@tasks.post("")
@tasks.arguments(TaskCreateSchema(), example={"title": "Buy milk", "description": "Two litres, and bread"})
@tasks.idempotent
@tasks.answers(
    201,
    TaskCreatedAnswerSchema,
    example=examples.success(examples.TASK, "TASK_CREATED"),
    headers={**examples.LOCATION, **examples.REPLAYED},
    errors=(400, 413, 415),
)
@tasks.conditional
def create_task(task: dict[str, Any], key: str | None) -> Response:
    """Create a task

    It starts incomplete. The history gets a `CREATED` entry in the same transaction.
    """
    written = tasks.repository.create_task(**task, idempotency_key=key)
    location = f"{request.script_root}/api/v1/tasks/{orjson.loads(written.task)['id']}"
    return _written(written, "TASK_CREATED", status=201, headers={"Location": location})


@tasks.get("")
@tasks.answers(200, TaskListAnswerSchema, example=examples.success([examples.TASK, examples.COMPLETED]))
@tasks.conditional
def list_tasks() -> Response:
    """List every task

    Incomplete tasks first, then the newest first, ties by id.
    """
    return success(tasks.repository.list_tasks())


@tasks.get("/<task_id:task_id>")
@tasks.answers(200, TaskAnswerSchema, example=examples.success(examples.TASK), errors=(404,))
@tasks.conditional
def get_task(task_id: UUID) -> Response:
    """Get a task

    The task as it is now. Its earlier changes are in the history.
    """
    return success(tasks.repository.get_task(task_id=task_id))


@tasks.put("/<task_id:task_id>")
@tasks.arguments(TaskUpdateSchema(), example={"title": "Buy oat milk"})
@tasks.idempotent
@tasks.answers(
    200,
    TaskUpdatedAnswerSchema,
    example=examples.success(examples.UPDATED, "TASK_UPDATED"),
    headers=examples.REPLAYED,
    errors=(400, 404, 413, 415),
)
@tasks.conditional
def update_task(changes: dict[str, Any], task_id: UUID, key: str | None) -> Response:
    """Change a task's title, its description, or both

    An absent field stays as it is; `"description": null` clears it. If nothing changes, nothing is written.
    """
    written = tasks.repository.update_task(task_id=task_id, changes=changes, idempotency_key=key)
    return _written(written, "TASK_UPDATED")


@tasks.delete("/<task_id:task_id>")
@tasks.idempotent
@tasks.answers(
    200,
    TaskDeletedAnswerSchema,
    example=examples.success(None, "TASK_DELETED"),
    headers=examples.REPLAYED,
    errors=(404,),
)
@tasks.conditional
def delete_task(task_id: UUID, key: str | None) -> Response:
    """Delete a task

    The task's history stays, and ends with a `DELETED` entry.
    """
    written = tasks.repository.delete_task(task_id=task_id, idempotency_key=key)
    return _written(Written(b"null", written.replayed), "TASK_DELETED")


@tasks.patch("/<task_id:task_id>/complete")
@tasks.idempotent
@tasks.answers(
    200,
    TaskCompletedAnswerSchema,
    example=examples.success(examples.COMPLETED, "TASK_COMPLETED"),
    headers=examples.REPLAYED,
    errors=(404,),
)
@tasks.conditional
def complete_task(task_id: UUID, key: str | None) -> Response:
    """Complete a task

    A body is ignored. If the task is already completed, nothing is written.
    """
    written = tasks.repository.set_task_completed(task_id=task_id, is_completed=True, idempotency_key=key)
    return _written(written, "TASK_COMPLETED")


@tasks.patch("/<task_id:task_id>/incomplete")
@tasks.idempotent
@tasks.answers(
    200,
    TaskIncompleteAnswerSchema,
    example=examples.success(examples.TASK, "TASK_INCOMPLETE"),
    headers=examples.REPLAYED,
    errors=(404,),
)
@tasks.conditional
def reopen_task(task_id: UUID, key: str | None) -> Response:
    """Reopen a task

    A body is ignored. If the task is already incomplete, nothing is written.
    """
    written = tasks.repository.set_task_completed(task_id=task_id, is_completed=False, idempotency_key=key)
    return _written(written, "TASK_INCOMPLETE")


def _written(written: Written, popup: str, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    replayed = {"Idempotency-Replayed": "true"} if written.replayed else {}
    return success(written.task, status=status, popup=popup, headers={**(headers or {}), **replayed})
