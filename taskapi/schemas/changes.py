"""The changes: from where on a request wants them, and what one looks like."""

from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate

from taskapi.cursors import LONGEST, Cursor
from taskapi.schemas.answers import Answer, Success, moment
from taskapi.schemas.fields import CURSOR_PATTERN, Code, Query, Strict, WholeNumber
from taskapi.schemas.tasks import TaskSchema

CHANGES, MAX_CHANGES = 100, 1000
"""How many changes an answer has, unless the request wants another number, and at most."""

LONGEST_WAIT = 25
"""How many seconds a request may wait for the first change."""


CURSOR_RULE = "must be a cursor, as an answer gave it"


class CursorField(fields.String):
    """A cursor of the changes."""

    default_error_messages = {"invalid": CURSOR_RULE}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        try:
            return Cursor.parse(value)
        except ValueError:
            raise self.make_error("invalid") from None


class ChangesQuerySchema(Query):
    """Which changes, and how long to wait for them."""

    after = CursorField(
        metadata={
            "description": "Only what came after this cursor. Without it: from the first change on.",
            "maxLength": LONGEST,
            "pattern": CURSOR_PATTERN,
        }
    )
    limit = WholeNumber(
        load_default=CHANGES,
        validate=validate.Range(min=1, max=MAX_CHANGES, error="must be from {min} to {max}"),
        metadata={"description": "How many changes, at most. Of a stream: how many it reads at once."},
    )
    wait = WholeNumber(
        validate=validate.Range(min=0, max=LONGEST_WAIT, error="must be from {min} to {max}"),
        metadata={"description": "Seconds to wait for the first change. Not for a stream, which always waits."},
    )


class EventHeadersSchema(Strict):
    """The headers of a stream."""

    last_event_id = fields.String(
        data_key="Last-Event-ID",
        metadata={"description": "Of a stream: the `id` of the last event that came. It wins over `after`."},
    )


class ChangeSchema(Answer):
    """One change of one task."""

    history_id = fields.UUID(required=True)
    task_id = fields.UUID(required=True)
    version = fields.Integer(required=True, metadata={"description": "The task's version after the change."})
    action_type = Code("ActionType", required=True)
    description = fields.String(required=True, metadata={"description": "What changed, for people."})
    timestamp = moment("The task's `updated_at` after the change.")
    actor = fields.String(
        required=True, allow_none=True, metadata={"description": "Who changed it: the name of a token; null: unknown."}
    )
    request_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The `X-Request-Id` of the request."}
    )
    change_set = fields.String(
        required=True, allow_none=True, metadata={"description": "The `Change-Set` of the request."}
    )
    task = fields.Nested(
        TaskSchema, required=True, allow_none=True, metadata={"description": "The task after it; null: deleted."}
    )


class ChangesSchema(Answer):
    """Changes, those of one task in their order."""

    items = fields.List(fields.Nested(ChangeSchema), required=True)
    cursor = fields.String(required=True, metadata={"description": "For `after`: where these changes end."})
    has_more = fields.Boolean(required=True, metadata={"description": "Whether more are there already."})


class ChangesAnswerSchema(Success):
    """Changes of tasks."""

    data = fields.Nested(ChangesSchema, required=True)
