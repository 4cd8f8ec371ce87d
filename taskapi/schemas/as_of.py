"""Time travel: which moment a request asks for, and how the versions of a task look."""

from typing import Any

from marshmallow import fields, validate

from taskapi.schemas.answers import Answer, Success, moment
from taskapi.schemas.fields import MAX_PAGE_SIZE, Code, Moment, Query, WholeNumber
from taskapi.schemas.tasks import TaskSchema

VERSIONS = 20
"""How many versions an answer has by default."""


class TaskQuerySchema(Query):
    """As of when."""

    as_of = Moment(
        floor=True,
        metadata={"description": "The task as it was at this time, changes at that time included."},
    )


class VersionsQuerySchema(Query):
    """Which versions."""

    after = WholeNumber(
        load_default=0,
        validate=validate.Range(min=0, error="must be 0 or more"),
        metadata={"description": "Only versions after this one."},
    )
    limit = WholeNumber(
        load_default=VERSIONS,
        validate=validate.Range(min=1, max=MAX_PAGE_SIZE, error="must be from {min} to {max}"),
        metadata={"description": "The most versions of the answer.", "example": VERSIONS},
    )


def _text(description: str) -> fields.String:
    return fields.String(required=True, allow_none=True, metadata={"description": description})


def _change(field: str) -> fields.List[Any]:
    return fields.List(fields.Raw(allow_none=True), metadata={"description": f"`{field}` before and after."})


class VersionChangesSchema(Answer):
    """The fields that a change moved, each with its old and its new value. At a creation, the old values are null."""

    title = _change("title")
    description = _change("description")
    is_completed = _change("is_completed")
    completed_at = _change("completed_at")


class VersionSchema(Answer):
    """A version of a task, and the change that made it."""

    version = fields.Integer(required=True)
    history_id = fields.UUID(required=True, metadata={"description": "The entry of the change in the history."})
    action_type = Code("ActionType", required=True)
    timestamp = moment("When it was changed.")
    actor = _text("Who changed it: the name of a token; null: unknown.")
    request_id = _text("The `X-Request-Id` of the request.")
    change_set = _text("The `Change-Set` of the request.")
    changes = fields.Nested(VersionChangesSchema, required=True)
    task = fields.Nested(
        TaskSchema, required=True, allow_none=True, metadata={"description": "The task then; null: it is deleted."}
    )


class VersionsSchema(Answer):
    """Versions of a task, oldest first."""

    items = fields.List(fields.Nested(VersionSchema), required=True)
    has_more = fields.Boolean(required=True)


class VersionsAnswerSchema(Success):
    """Versions of a task."""

    data = fields.Nested(VersionsSchema, required=True)
