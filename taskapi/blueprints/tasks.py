"""Tasks: create, list, get, update, delete, complete, reopen."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from flask import Response

from taskapi.blueprints.as_of import list_as_of
from taskapi.repository.base import Origin
from taskapi.repository.tasks import Tags
from taskapi.schemas.as_of import TaskQuerySchema
from taskapi.schemas.tasks import (
    TaskAnswerSchema,
    TaskCompletedAnswerSchema,
    TaskCreatedAnswerSchema,
    TaskCreateSchema,
    TaskDeletedAnswerSchema,
    TaskIncompleteAnswerSchema,
    TaskListAnswerSchema,
    TaskListQuerySchema,
    TaskUpdatedAnswerSchema,
    TaskUpdateSchema,
)
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.conditions import REVALIDATED, Known, tagged
from taskapi.web.envelope import not_modified, success
from taskapi.web.listed import ListTags, answer_to_list
from taskapi.web.written import answer_to, place_of

tasks = Blueprint("Tasks", __name__, url_prefix="/api/v1/tasks", description="Create, change and complete tasks.")


@tasks.post("")
@tasks.arguments(TaskCreateSchema(), example={"title": "Buy milk", "description": "Two litres, and bread"})
@tasks.writes
@tasks.answers(
    201,
    TaskCreatedAnswerSchema,
    example=examples.success(examples.TASK, "TASK_CREATED"),
    headers={**examples.LOCATION, **examples.CONTENT_LOCATION, **examples.VERSION, **examples.REPLAYED},
    errors=(400, 413, 415),
)
def create_task(task: dict[str, Any], key: str | None, origin: Origin) -> Response:
    """Create a task

    It starts incomplete. The history gets a `CREATED` entry in the same transaction.
    """
    written = tasks.repository.create_task(**task, origin=origin, idempotency_key=key)
    return answer_to(written, "TASK_CREATED", status=201, place=place_of(orjson.loads(written.task)["id"]))


@tasks.get("")
@tasks.arguments(TaskListQuerySchema(), location="query")
@tasks.cached
@tasks.answers(
    200,
    TaskListAnswerSchema,
    example=examples.success([examples.TASK, examples.COMPLETED]),
    headers={**examples.LIST_VERSION, **examples.LIST_LINKS, **examples.TOTAL},
)
def list_tasks(selection: dict[str, Any], known: Known) -> Response:
    """List tasks

    Every task, or those that the parameters select, joined by and. Incomplete tasks first, then the newest first, ties
    by id. With `limit`, `Link` leads to the next page if there is one. It continues at its place in the order: tasks
    that stay in their place are neither repeated nor left out, whatever others write meanwhile.

    With `as_of`, the tasks are those of that time, as they were then and in the order of then. This needs `limit`.
    """
    query, filters, place = selection["query"], selection["filters"], selection["place"]
    if "as_of" in query:
        return list_as_of(selection)
    tags = ListTags(query)
    positions = tags.positions(known)
    if not query:
        return answer_to_list(tasks.repository.list_tasks(known=positions), tags, known)
    listed = tasks.repository.list_tasks_page(
        is_completed=filters.get("is_completed"),
        text=filters.get("text"),
        created=(filters.get("created_from"), filters.get("created_before")),
        updated=(filters.get("updated_from"), filters.get("updated_before")),
        completed=(filters.get("completed_from"), filters.get("completed_before")),
        after=place and (place.is_completed, place.moment, place.entry),
        limit=query.get("limit"),
        counts=query.get("count", False),
        known=positions,
    )
    return answer_to_list(listed, tags, known, filters=filters, place=place)


@tasks.get("/<task_id:task_id>")
@tasks.arguments(TaskQuerySchema(), location="query")
@tasks.cached
@tasks.answers(200, TaskAnswerSchema, example=examples.success(examples.TASK), headers=examples.VERSION, errors=(404,))
def get_task(query: dict[str, Any], task_id: UUID, known: Known) -> Response:
    """Get a task

    The task as it is now, or was at the time `as_of`. Its versions and the history tell of all changes.
    """
    if query:
        found = tasks.repository.get_task_as_of(task_id=task_id, **query)
        headers = tagged(found.version)
    else:
        found = tasks.repository.get_task(task_id=task_id)
        headers = {**tagged(found.version), **REVALIDATED}
    return not_modified(headers) if found.version in known else success(found.task, headers=headers)


@tasks.put("/<task_id:task_id>")
@tasks.arguments(TaskUpdateSchema(), example={"title": "Buy oat milk"})
@tasks.writes
@tasks.conditional
@tasks.answers(
    200,
    TaskUpdatedAnswerSchema,
    example=examples.success(examples.UPDATED, "TASK_UPDATED"),
    headers={**examples.VERSION, **examples.CONTENT_LOCATION, **examples.REPLAYED},
    errors=(400, 404, 413, 415),
)
def update_task(changes: dict[str, Any], task_id: UUID, expected: Tags, key: str | None, origin: Origin) -> Response:
    """Change a task's title, its description, or both

    An absent field stays as it is; `"description": null` clears it. If nothing changes, nothing is written.
    """
    written = tasks.repository.update_task(
        task_id=task_id, changes=changes, expected=expected, origin=origin, idempotency_key=key
    )
    return answer_to(written, "TASK_UPDATED", place=place_of(task_id))


@tasks.delete("/<task_id:task_id>")
@tasks.writes
@tasks.conditional
@tasks.answers(
    200,
    TaskDeletedAnswerSchema,
    example=examples.success(None, "TASK_DELETED"),
    headers={**examples.VERSION, **examples.REPLAYED},
    errors=(404,),
)
def delete_task(task_id: UUID, expected: Tags, key: str | None, origin: Origin) -> Response:
    """Delete a task

    The task's history stays, and ends with a `DELETED` entry.
    """
    written = tasks.repository.delete_task(task_id=task_id, expected=expected, origin=origin, idempotency_key=key)
    return answer_to(replace(written, task=b"null"), "TASK_DELETED")


@tasks.patch("/<task_id:task_id>/complete")
@tasks.writes
@tasks.conditional
@tasks.answers(
    200,
    TaskCompletedAnswerSchema,
    example=examples.success(examples.COMPLETED, "TASK_COMPLETED"),
    headers={**examples.VERSION, **examples.CONTENT_LOCATION, **examples.REPLAYED},
    errors=(404,),
)
def complete_task(task_id: UUID, expected: Tags, key: str | None, origin: Origin) -> Response:
    """Complete a task

    A body is ignored. If the task is already completed, nothing is written.
    """
    written = tasks.repository.set_task_completed(
        task_id=task_id, is_completed=True, expected=expected, origin=origin, idempotency_key=key
    )
    return answer_to(written, "TASK_COMPLETED", place=place_of(task_id))


@tasks.patch("/<task_id:task_id>/incomplete")
@tasks.writes
@tasks.conditional
@tasks.answers(
    200,
    TaskIncompleteAnswerSchema,
    example=examples.success(examples.TASK, "TASK_INCOMPLETE"),
    headers={**examples.VERSION, **examples.CONTENT_LOCATION, **examples.REPLAYED},
    errors=(404,),
)
def reopen_task(task_id: UUID, expected: Tags, key: str | None, origin: Origin) -> Response:
    """Reopen a task

    A body is ignored. If the task is already incomplete, nothing is written.
    """
    written = tasks.repository.set_task_completed(
        task_id=task_id, is_completed=False, expected=expected, origin=origin, idempotency_key=key
    )
    return answer_to(written, "TASK_INCOMPLETE", place=place_of(task_id))
