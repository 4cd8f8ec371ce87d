"""A task: what requests say of it, and what answers show."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from taskapi.schemas.answers import Answer, Success, always, moment, popup_of
from taskapi.schemas.fields import DESCRIPTION_LENGTH, MUST_SHOW, TITLE_LENGTH, Strict, Text


class TaskCreateSchema(Strict):
    """A new task."""

    title = Text(
        longest=TITLE_LENGTH, blank=False, required=True, metadata={"description": f"{MUST_SHOW} Stored as sent."}
    )
    # A function: with a `default` in the document, client generators would require the field.
    description = Text(longest=DESCRIPTION_LENGTH, allow_none=True, load_default=lambda: None)


class TaskUpdateSchema(Strict):
    """What to change: the title, the description or both."""

    title = Text(longest=TITLE_LENGTH, blank=False, metadata={"description": f"{MUST_SHOW} Absent: stays as it is."})
    description = Text(
        longest=DESCRIPTION_LENGTH, allow_none=True, metadata={"description": "Absent: stays as it is; null: cleared."}
    )

    @validates_schema(skip_on_field_errors=True)
    def _at_least_one(self, changes: dict[str, Any], **_: Any) -> None:
        if not changes:
            raise ValidationError("must give a title, a description or both")


class TaskSchema(Answer):
    """A task. Times are RFC 3339 in UTC, with microseconds."""

    id = fields.UUID(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    is_completed = fields.Boolean(required=True)
    created_at = moment("When it was created.")
    updated_at = moment("When it last changed.")
    completed_at = moment("When it was completed; null while it is not.", allow_none=True)


class TaskAnswerSchema(Success):
    """One task."""

    data = fields.Nested(TaskSchema, required=True)


class TaskListAnswerSchema(Success):
    """Every task."""

    data = fields.List(fields.Nested(TaskSchema), required=True)


class TaskCreatedAnswerSchema(TaskAnswerSchema):
    """The new task."""

    popup = popup_of("TASK_CREATED")


class TaskUpdatedAnswerSchema(TaskAnswerSchema):
    """The task after the change."""

    popup = popup_of("TASK_UPDATED")


class TaskCompletedAnswerSchema(TaskAnswerSchema):
    """The completed task."""

    popup = popup_of("TASK_COMPLETED")


class TaskIncompleteAnswerSchema(TaskAnswerSchema):
    """The reopened task."""

    popup = popup_of("TASK_INCOMPLETE")


class TaskDeletedAnswerSchema(Success):
    """No data: the task is gone."""

    data = always(None)
    popup = popup_of("TASK_DELETED")
