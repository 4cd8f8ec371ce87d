"""Many tasks in one request: create, update, complete, reopen, delete; all of them or none."""

from collections.abc import Callable
from typing import Any

from flask import Response

from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.bulk import ManyWritten
from taskapi.schemas.answers import FailureSchema
from taskapi.schemas.bulk import BulkWriteSchema, TasksCreatedAnswerSchema, TasksWrittenAnswerSchema
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.written import answer_to_many

bulk = Blueprint("Bulk", __name__, url_prefix="/api/v1/tasks", description="Write many tasks, all of them or none.")

Elements = list[dict[str, Any]]


@bulk.post("/bulk")
@bulk.arguments(BulkWriteSchema(), examples=examples.BULK_WRITES)
@bulk.writes
@bulk.answers(
    200,
    TasksWrittenAnswerSchema,
    example=examples.success([examples.COMPLETED], "TASK_COMPLETED"),
    headers=examples.REPLAYED,
    errors=(400, 413, 415),
)
@bulk.also_answers(
    201,
    TasksCreatedAnswerSchema,
    example=examples.success([examples.TASK], "TASK_CREATED"),
    headers=examples.REPLAYED,
)
@bulk.also_answers(404, FailureSchema, **examples.BULK_ERRORS[404])
@bulk.also_answers(412, FailureSchema, **examples.BULK_ERRORS[412])
def write_tasks(body: dict[str, Elements], key: str | None, origin: Origin) -> Response:
    """Create, update, complete, reopen or delete up to 1000 tasks

    Exactly one of the five. All of its tasks are written or none: a task that is not there (404), that is at another
    version than its element says (412), or that breaks a rule (422) stops them all, and the error names it. The answer
    has all tasks in the order of the request, changed or not; that of `delete` has none.
    """
    ((form, elements),) = body.items()
    write, popup = FORMS[form]
    written = write(bulk.repository, elements, origin=origin, idempotency_key=key)
    return answer_to_many(written, popup)


def _create(repository: Repository, elements: Elements, **request: Any) -> ManyWritten:
    return repository.create_tasks(tasks=elements, **request)


def _update(repository: Repository, elements: Elements, **request: Any) -> ManyWritten:
    return repository.update_tasks(changes=elements, **request)


def _complete(repository: Repository, elements: Elements, **request: Any) -> ManyWritten:
    return repository.set_tasks_completed(**_tasks(elements), is_completed=True, **request)


def _reopen(repository: Repository, elements: Elements, **request: Any) -> ManyWritten:
    return repository.set_tasks_completed(**_tasks(elements), is_completed=False, **request)


def _delete(repository: Repository, elements: Elements, **request: Any) -> ManyWritten:
    return repository.delete_tasks(**_tasks(elements), **request)


def _tasks(elements: Elements) -> dict[str, Any]:
    """The ids of the tasks, and the versions that some of them must have."""
    return {
        "task_ids": [element["id"] for element in elements],
        "versions": {element["id"]: element["version"] for element in elements if "version" in element},
    }


FORMS: dict[str, tuple[Callable[..., ManyWritten], str]] = {
    "create": (_create, "TASK_CREATED"),
    "update": (_update, "TASK_UPDATED"),
    "complete": (_complete, "TASK_COMPLETED"),
    "incomplete": (_reopen, "TASK_INCOMPLETE"),
    "delete": (_delete, "TASK_DELETED"),
}
"""What each form of the body does, and the popup of its answer."""
