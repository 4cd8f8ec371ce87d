"""What the tools take: the rules of the REST API's schemas, in the shape of tool calls."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from taskapi.schemas import (
    LONGEST_KEY,
    MAX_PAGE_SIZE,
    HistoryQuerySchema,
    Identifier,
    Strict,
    TaskCreateSchema,
    TaskUpdateSchema,
    Text,
    WholeNumber,
    is_idempotency_key,
)

MOST = MAX_PAGE_SIZE
"""Tasks that one call may write or list."""

PAGE = 20
"""Tasks or entries on a page, unless the call says how many."""


PRESENT: dict[str, Any] = {"required": "is required", "null": "must not be null"}
"""What is wrong with an argument that is not there, for every kind."""


class Count(WholeNumber):
    """A whole number as JSON has it: no string, no fraction, no boolean."""

    default_error_messages = PRESENT

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class TaskId(Identifier):
    """A task's id: in JSON, it may come as anything."""

    default_error_messages = PRESENT

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not isinstance(value, str):
            raise self.make_error("invalid_uuid")
        return super()._deserialize(value, attr, data, **options)


class OperationId(fields.String):
    """The contract's Idempotency-Key, as an argument."""

    TOLD = {"description": "New for each operation; its retry writes once.", "maxLength": LONGEST_KEY}

    default_error_messages = {
        **PRESENT,
        "invalid": f"must be a string of 1 to {LONGEST_KEY} printable ASCII characters",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> str:
        if not (isinstance(value, str) and is_idempotency_key(value)):
            raise self.make_error("invalid")
        return value


class Cursor(fields.String):
    """Where a page begins: the sort key of the task before it, as an opaque string."""

    default_error_messages = {
        **PRESENT,
        "invalid": "must be a next_cursor of list_tasks as it stands; leave it out to start anew",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        try:
            is_completed, created_at, task_id = json.loads(base64.b64decode(value, altchars=b"-_", validate=True))
            if type(is_completed) is bool:
                moment = datetime.strptime(created_at, "%Y-%m-%dT%H:%M:%S.%fZ")
                return is_completed, moment.replace(tzinfo=UTC), UUID(task_id)
        except (TypeError, ValueError, AttributeError, RecursionError):
            pass  # anything may be in there
        raise self.make_error("invalid")

    @staticmethod
    def after(task: Mapping[str, Any]) -> str:
        """The cursor of the page that begins after this task."""
        key = json.dumps([task["is_completed"], task["created_at"], task["id"]], separators=(",", ":"))
        return base64.urlsafe_b64encode(key.encode()).decode()


def _list(field: fields.Field[Any]) -> fields.List[Any]:
    return fields.List(
        field,
        required=True,
        validate=validate.Length(min=1, max=MOST, error="must have from {min} to {max} items"),
        error_messages={**PRESENT, "invalid": "must be an array"},
    )


def _limit() -> Count:
    return Count(
        load_default=PAGE,
        validate=validate.Range(min=1, max=MOST, error="must be from {min} to {max}"),
    )


class CreateTasks(Strict):
    """New tasks."""

    tasks = _list(fields.Nested(TaskCreateSchema, error_messages=PRESENT))
    operation_id = OperationId(metadata=OperationId.TOLD)


class ListTasks(Strict):
    """Which page of which tasks."""

    state = fields.String(
        load_default="all",
        validate=validate.OneOf(("open", "completed", "all"), error="must be one of {choices}"),
        error_messages={**PRESENT, "invalid": "must be a string"},
    )
    text = Text(longest=200, blank=False, metadata={"description": "Found in title or description, any case."})
    limit = _limit()
    cursor = Cursor(metadata={"description": "next_cursor of the page before."})


class OneTask(Strict):
    """One task."""

    task_id = TaskId(required=True)


class UpdateTask(TaskUpdateSchema):
    """One task, and what to change."""

    task_id = TaskId(required=True)
    operation_id = OperationId(metadata=OperationId.TOLD)

    class Meta(Strict.Meta):
        metadata: Mapping[str, Any] = {}

    @validates_schema(skip_on_field_errors=True)
    def _at_least_one(self, changes: dict[str, Any], **_: Any) -> None:
        if not changes.keys() & {"title", "description"}:
            raise ValidationError("must give a title, a description or both")


class ManyTasks(Strict):
    """Tasks by their ids; one that stands twice counts once."""

    task_ids = _list(TaskId())
    operation_id = OperationId(metadata=OperationId.TOLD)

    @post_load
    def _once(self, call: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**call, "task_ids": list(dict.fromkeys(call["task_ids"]))}


class TaskHistory(HistoryQuerySchema):
    """Which page of which entries."""

    page = Count(load_default=1, validate=validate.Range(min=1, error="must be 1 or more"))
    limit = _limit()
    task_id = TaskId(metadata={"description": "A deleted task's, too."})

    class Meta(Strict.Meta):
        exclude = ("offset",)


class Nothing(Strict):
    """No arguments."""
