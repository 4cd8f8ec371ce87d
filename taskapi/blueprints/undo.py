"""Undo and restore: take changes back, as new changes."""

from typing import Any
from uuid import UUID

from flask import Response

from taskapi.repository.base import Origin
from taskapi.repository.tasks import Tags
from taskapi.repository.undo import Chosen
from taskapi.schemas.undo import (
    OPTIONS,
    RestoreSchema,
    TaskRestoredAnswerSchema,
    UndoChangeSchema,
    UndoneAnswerSchema,
    UndoneTaskAnswerSchema,
    UndoSchema,
)
from taskapi.web import examples
from taskapi.web.blueprint import Blueprint
from taskapi.web.envelope import success
from taskapi.web.written import answer_to, place_of, replayed

undo = Blueprint("Undo", __name__, url_prefix="/api/v1", description="Take changes back. The history keeps them all.")

ERRORS = (400, 404, 409, 413, 415)


@undo.post("/tasks/<task_id:task_id>/undo")
@undo.arguments(UndoChangeSchema(), example={"version": 2})
@undo.writes
@undo.conditional
@undo.answers(
    200,
    UndoneTaskAnswerSchema,
    example=examples.success(examples.UNDONE, "TASK_RESTORED"),
    headers={**examples.VERSION, **examples.CONTENT_LOCATION, **examples.REPLAYED},
    errors=ERRORS,
)
def undo_change(body: dict[str, Any], task_id: UUID, expected: Tags, key: str | None, origin: Origin) -> Response:
    """Take back one change of a task

    Each field that the change moved goes back to what it was before, unless others have changed it since: then 409. To
    undo a creation deletes the task (`data` is null); to undo a deletion restores it. What is undone already stays as
    it is. An undo is a change like any other: it can be undone, too.
    """
    written = undo.repository.undo_change(
        task_id=task_id, version=body["version"], expected=expected, origin=origin, idempotency_key=key
    )
    is_there = written.task != b"null"
    return answer_to(written, "TASK_RESTORED", place=place_of(task_id) if is_there else None)


@undo.post("/tasks/<task_id:task_id>/restore")
@undo.arguments(RestoreSchema(), required=False, example={"version": 2})
@undo.writes
@undo.conditional
@undo.answers(
    200,
    TaskRestoredAnswerSchema,
    example=examples.success(examples.RESTORED, "TASK_RESTORED"),
    headers={**examples.VERSION, **examples.CONTENT_LOCATION, **examples.REPLAYED},
    errors=ERRORS,
)
def restore_task(body: dict[str, Any], task_id: UUID, expected: Tags, key: str | None, origin: Origin) -> Response:
    """Bring back a task as it was

    The whole task as it was at `version`. Without a version, or a body, a deleted task as it was at the end; one that
    is there stays as it is.
    """
    written = undo.repository.restore_task(
        task_id=task_id, version=body.get("version"), expected=expected, origin=origin, idempotency_key=key
    )
    return answer_to(written, "TASK_RESTORED", place=place_of(task_id))


@undo.post("/undo")
@undo.arguments(UndoSchema(), example={"change_set": "run-2025-12-11", "skip_conflicts": True})
@undo.writes
@undo.answers(
    200,
    UndoneAnswerSchema,
    example=examples.success(examples.UNDO, "TASK_RESTORED"),
    headers=examples.REPLAYED,
    errors=ERRORS,
)
def undo_changes(body: dict[str, Any], key: str | None, origin: Origin) -> Response:
    """Take back many changes at once

    Choose one version of a task, or all that a request, a change set or an actor has written, of at most 1000 tasks.
    Each field goes back to what it was before the last run of chosen changes. All or nothing: what others have changed
    since is a conflict (409), unless `skip_conflicts` leaves it. A `dry_run` answers the same, and writes nothing.
    """
    options = {name: body.get(name, False) for name in OPTIONS}
    chosen = Chosen(**{name: value for name, value in body.items() if name not in OPTIONS})
    undone = undo.repository.undo(chosen=chosen, **options, origin=origin, idempotency_key=key)
    return success(
        b'{"changes":%s,"conflicts":%s}' % (undone.changes, undone.conflicts),
        popup=None if options["dry_run"] else "TASK_RESTORED",
        headers=replayed(undone.replayed),
    )
