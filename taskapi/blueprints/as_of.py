"""Time travel: the list as it was at a moment, and the versions of a task."""

from typing import Any
from uuid import UUID

import orjson
from flask import Response

from taskapi.keyset import cursor_after
from taskapi.schemas.as_of import VersionsAnswerSchema, VersionsQuerySchema
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success
from taskapi.web.links import next_page

as_of = Blueprint("Time travel", __name__, url_prefix="/api/v1/tasks", description="What was there before.")


@as_of.get("/<task_id:task_id>/versions")
@as_of.arguments(VersionsQuerySchema(), location="query")
@as_of.answers(200, VersionsAnswerSchema, example=examples.success(examples.VERSIONS), errors=(404,))
def list_versions(query: dict[str, Any], task_id: UUID) -> Response:
    """List the versions of a task

    Oldest first, also of a deleted task. Each has what it changed, who changed it, and the task as it was then.
    """
    items, has_more = as_of.repository.list_versions(task_id=task_id, **query)
    return success(b'{"items":%s,"has_more":%s}' % (items, b"true" if has_more else b"false"))


def list_as_of(selection: dict[str, Any]) -> Response:
    """The answer to GET /tasks with `as_of`: a page, without a tag, and with a link to the next one if there is one."""
    query, place = selection["query"], selection["place"]
    listed, last = as_of.repository.list_tasks_as_of(
        as_of=query["as_of"],
        is_completed=query.get("is_completed"),
        after=place and (place.is_completed, place.moment, place.entry),
        limit=query["limit"],
    )
    if last is None:
        return success(listed)
    key = orjson.loads(last)
    cursor = cursor_after(
        selection["filters"], moment=key["created_at"], entry=key["id"], is_completed=key["is_completed"]
    )
    return success(listed, headers={"Link": next_page("/api/v1/tasks", cursor)})
