"""Writes on many tasks: what a request says of each, and what answers show."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from taskapi.schemas.answers import Success, popup_of
from taskapi.schemas.fields import MAX_ELEMENTS, Code, Identifier, Many, Strict, VersionNumber, repeated
from taskapi.schemas.tasks import TaskCreateSchema, TaskSchema, TaskUpdateSchema

NULL: dict[str, Any] = {"null": "must not be null"}

ONCE = {"uniqueItems": True}

VERSION = "The version that the task must be at, else 412, as with `If-Match`."


class TaskChangeSchema(TaskUpdateSchema):
    """A task, and what to change of it: the title, the description or both."""

    id = Identifier(required=True)
    version = VersionNumber(metadata={"description": VERSION})


class TaskVersionSchema(Strict):
    """A task, and the version that it must be at."""

    id = Identifier(required=True)
    version = VersionNumber(metadata={"description": VERSION})


class Element(fields.Nested):
    """A task: its id, or a TaskVersionSchema."""

    def __init__(self) -> None:
        super().__init__(TaskVersionSchema, error_messages=NULL)
        self._id = Identifier()

    def _deserialize(self, value: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(value, dict):
            return super()._deserialize(value, *arguments, **options)
        return {"id": self._id.deserialize(value)}


class BulkWriteSchema(Strict):
    """Exactly one of these: what to do, and the tasks to do it with, each at most once."""

    create = Many(fields.Nested(TaskCreateSchema, error_messages=NULL), most=MAX_ELEMENTS)
    update = Many(fields.Nested(TaskChangeSchema, error_messages=NULL), most=MAX_ELEMENTS, metadata=ONCE)
    complete = Many(Element(), most=MAX_ELEMENTS, metadata=ONCE)
    incomplete = Many(Element(), most=MAX_ELEMENTS, metadata=ONCE)
    delete = Many(Element(), most=MAX_ELEMENTS, metadata=ONCE)

    @validates_schema(skip_on_field_errors=True)
    def _exactly_one(self, writes: dict[str, Any], **_: Any) -> None:
        if len(writes) != 1:
            raise ValidationError(f"must have exactly one of {', '.join(self.fields)}")

    @validates_schema(skip_on_field_errors=True)
    def _each_once(self, writes: dict[str, Any], **_: Any) -> None:
        for name in writes.keys() - {"create"}:
            places = repeated(element["id"] for element in writes[name])
            if places:
                faults = {place: [f"is the same task as {name}.{before}"] for place, before in places.items()}
                raise ValidationError({name: faults})


class TasksCreatedAnswerSchema(Success):
    """The new tasks, in the order of the request."""

    data = fields.List(fields.Nested(TaskSchema), required=True)
    popup = popup_of("TASK_CREATED")


class TasksWrittenAnswerSchema(Success):
    """The tasks after the change, in the order of the request; null for a deletion."""

    data = fields.List(
        fields.Nested(TaskSchema, allow_none=True),
        required=True,
        allow_none=True,
        metadata={
            "description": "In a replayed answer, a task that the request had not changed is as it is now, and null if"
            " it is gone."
        },
    )
    popup = Code("Popup", required=True)
