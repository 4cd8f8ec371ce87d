"""The arguments of the tools: the rules of the REST API's schemas, in the shape of tool calls."""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from taskapi import cursors
from taskapi.mcp.leniency import Lenient
from taskapi.schemas.fields import (
    ACTION_TYPES,
    DESCRIPTION_LENGTH,
    KEY_RULE,
    LONGEST_ACTOR,
    LONGEST_CHANGE_SET,
    LONGEST_KEY,
    MAX_PAGE_SIZE,
    TITLE_LENGTH,
    Identifier,
    Many,
    Moment,
    Text,
    VersionNumber,
    WholeNumber,
    is_idempotency_key,
    repeated,
)
from taskapi.schemas.history import HistoryQuerySchema

MAX_ITEMS = MAX_PAGE_SIZE
"""The most tasks that one call may write or list."""

PAGE = 20
"""The default number of tasks or entries on a page."""

LONGEST_NUMBER = 20
"""The most digits of a number that may stand for a string."""

PRESENT: dict[str, Any] = {"required": "is required", "null": "must not be null"}
"""The message for a missing argument, whatever its type."""


class Count(WholeNumber):
    """A JSON integer: no string, no fraction, no boolean."""

    default_error_messages = PRESENT

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid")
        return value


class Flag(fields.Boolean):
    """A JSON boolean: no number."""

    default_error_messages = {"invalid": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid")
        return value


class OperationId(fields.String):
    """The contract's Idempotency-Key, as an argument. Some clients send an all-digit key as a number."""

    METADATA = {"description": "New for each operation; its retry writes once.", "maxLength": LONGEST_KEY}

    default_error_messages = {
        **PRESENT,
        "invalid": f"must be a string of {KEY_RULE}",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> str:
        text = str(value) if type(value) is int and abs(value) < 10**LONGEST_NUMBER else value
        if not (isinstance(text, str) and is_idempotency_key(text)):
            raise self.make_error("invalid")
        return text


class Choice(fields.String):
    """One of a few words, in any case."""

    default_error_messages = {**PRESENT, "invalid": "must be one of {choices}"}

    def __init__(self, choices: Sequence[str], **options: Any) -> None:
        # The validator is for the tool's schema.
        super().__init__(validate=validate.OneOf(choices), **options)
        self._choices = {choice.lower(): choice for choice in choices}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> str:
        choice = self._choices.get(value.lower()) if isinstance(value, str) else None
        if choice is None:
            raise self.make_error("invalid", choices=", ".join(self._choices.values()))
        return choice


class Cursor(fields.String):
    """A cursor: the sort key of the task before the page, as an opaque string."""

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


class Since(fields.String):
    """A cursor of the changes."""

    default_error_messages = {
        **PRESENT,
        "invalid": "must be the `since` of an answer as it stands; list_tasks gives a new one",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        try:
            return cursors.Cursor.parse(value)
        except (TypeError, ValueError):
            raise self.make_error("invalid") from None


def _list(field: fields.Field[Any]) -> Many:
    return Many(field, most=MAX_ITEMS, required=True)


def _limit() -> Count:
    return Count(
        load_default=PAGE,
        validate=validate.Range(min=1, max=MAX_ITEMS, error="must be from {min} to {max}"),
    )


class NewTask(Lenient):
    """A task to create."""

    title = Text(longest=TITLE_LENGTH, blank=False, required=True)
    description = Text(longest=DESCRIPTION_LENGTH)

    @post_load
    def _whole(self, task: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"title": task["title"], "description": task.get("description")}


class CreateTasks(Lenient):
    """New tasks."""

    tasks = _list(fields.Nested(NewTask, error_messages=PRESENT))
    operation_id = OperationId(metadata=OperationId.METADATA)


class ListTasks(Lenient):
    """Which page of which tasks."""

    state = Choice(("open", "completed", "all"), load_default="all")
    text = Text(longest=200, blank=False, metadata={"description": "Found in title or description, any case."})
    created_from = Moment()
    created_before = Moment()
    updated_from = Moment()
    updated_before = Moment()
    completed_from = Moment()
    completed_before = Moment()
    limit = _limit()
    cursor = Cursor(metadata={"description": "next_cursor of the page before."})


class OneTask(Lenient):
    """One task."""

    task_id = Identifier(required=True)


class TaskChange(Lenient):
    """A task, and what to change of it.

    Null cannot stand for "no description" here, since many clients send it for what they leave out.
    """

    task_id = Identifier(required=True)
    title = Text(longest=TITLE_LENGTH, blank=False)
    description = Text(longest=DESCRIPTION_LENGTH)
    clear_description = Flag(load_default=False, metadata={"description": "Remove it."})

    @validates_schema(skip_on_field_errors=True)
    def _at_least_one(self, call: dict[str, Any], **_: Any) -> None:
        if call["clear_description"] and "description" in call:
            raise ValidationError("must not be true beside a description", "clear_description")
        if not (call["clear_description"] or call.keys() & {"title", "description"}):
            raise ValidationError("must give a title, a description or both; clear_description removes the description")

    @post_load
    def _changes(self, call: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**call, "description": None} if call.pop("clear_description") else call


class UpdateTasks(Lenient):
    """Tasks, each once, and what to change of each."""

    tasks = _list(fields.Nested(TaskChange, error_messages=PRESENT))
    operation_id = OperationId(metadata=OperationId.METADATA)

    @validates_schema(skip_on_field_errors=True)
    def _each_once(self, call: dict[str, Any], **_: Any) -> None:
        places = repeated(task["task_id"] for task in call["tasks"])
        if places:
            raise ValidationError({"tasks": {place: [f"is tasks[{before}] again"] for place, before in places.items()}})


class UpdateTask(TaskChange):
    """The call of before, for one task."""

    operation_id = OperationId()


class ManyTasks(Lenient):
    """Tasks by their ids. A repeated id counts once."""

    task_ids = _list(Identifier())
    operation_id = OperationId(metadata=OperationId.METADATA)

    @post_load
    def _once(self, call: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**call, "task_ids": list(dict.fromkeys(call["task_ids"]))}


class TaskHistory(Lenient, HistoryQuerySchema):
    """Which page of which entries."""

    page = Count(load_default=1, validate=validate.Range(min=1, error="must be 1 or more"))
    limit = _limit()
    task_id = Identifier(metadata={"description": "A deleted task's, too."})
    action_type = Choice(ACTION_TYPES)
    actor = Text(longest=LONGEST_ACTOR)
    change_set = Text(longest=LONGEST_CHANGE_SET)
    since = Since(metadata={"description": "Of an earlier answer: what changed since, oldest first."})

    class Meta(Lenient.Meta):
        exclude = ("offset",)

    @validates_schema(skip_on_field_errors=True)
    def _alone(self, call: dict[str, Any], **_: Any) -> None:
        if "since" in call and (call["page"] != 1 or call.keys() - {"since", "limit", "page"}):
            raise ValidationError("must stand alone, or with limit", "since")

    @post_load
    def _selection(self, call: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "since" in call:
            return {"since": call["since"], "limit": call["limit"]}
        page = call.pop("page")
        return {**call, "offset": (page - 1) * call["limit"]}


class UndoChanges(Lenient):
    """One change, or all of a change set."""

    task_id = Identifier()
    version = VersionNumber()
    change_set = Text(longest=LONGEST_CHANGE_SET)
    preview = Flag(load_default=False)
    skip_conflicts = Flag(load_default=False)
    operation_id = OperationId(metadata=OperationId.METADATA)

    @validates_schema(skip_on_field_errors=True)
    def _one_way(self, call: dict[str, Any], **_: Any) -> None:
        ways = call.keys() & {"task_id", "version", "change_set"}
        if ways not in ({"task_id", "version"}, {"change_set"}, set()):
            raise ValidationError("must give task_id with version, or a change_set, or none of them")


class Nothing(Lenient):
    """No arguments."""
