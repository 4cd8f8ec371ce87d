"""What comes in and goes out, and how errors are told, for the peer on Flask: marshmallow schemas and an Api."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Response, jsonify
from flask_smorest import Api
from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema
from werkzeug.exceptions import HTTPException, UnprocessableEntity
from werkzeug.routing import BaseConverter

# What comes in


def storable(value: str) -> None:
    """Refuse what Postgres' text cannot hold."""
    if re.search("[\0\ud800-\udfff]", value):
        raise ValidationError("must not contain U+0000 or lone surrogates")


def not_blank(value: str) -> None:
    """Refuse a title that nobody could see."""
    if not value.strip():
        raise ValidationError("must not be empty or only white space")


TITLE: list[Callable[[Any], Any]] = [validate.Length(max=255), storable, not_blank]
DESCRIPTION: list[Callable[[Any], Any]] = [validate.Length(max=5000), storable]


class Strict(Schema):
    """Refuses what it does not know."""

    class Meta:
        unknown = RAISE


class TaskCreateSchema(Strict):
    """A new task."""

    title = fields.String(required=True, validate=TITLE)
    description = fields.String(allow_none=True, load_default=None, validate=DESCRIPTION)


class TaskUpdateSchema(Strict):
    """What to change: the title, the description or both."""

    title = fields.String(validate=TITLE)
    description = fields.String(allow_none=True, validate=DESCRIPTION)

    @validates_schema(skip_on_field_errors=True)
    def at_least_one(self, changes: dict[str, Any], **_: Any) -> None:
        """Refuse a change of nothing."""
        if not changes:
            raise ValidationError("must give a title, a description or both")


class HistoryQuerySchema(Strict):
    """Which page of which entries."""

    page = fields.Integer(load_default=None, validate=validate.Range(min=1))
    limit = fields.Integer(load_default=10, validate=validate.Range(min=1, max=100))
    offset = fields.Integer(load_default=0, validate=validate.Range(min=0))
    task_id = fields.UUID()
    action_type = fields.String(validate=validate.OneOf(["CREATED", "UPDATED", "DELETED", "COMPLETED", "INCOMPLETED"]))


# What goes out


class Time(fields.DateTime):
    """RFC 3339 in UTC, with microseconds."""

    DEFAULT_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class TaskSchema(Schema):
    """A task."""

    id = fields.UUID()
    title = fields.String()
    description = fields.String()
    is_completed = fields.Boolean()
    created_at = Time()
    updated_at = Time()
    completed_at = Time()


class HistoryEntrySchema(Schema):
    """One change of one task."""

    history_id = fields.UUID()
    task_id = fields.UUID()
    action_type = fields.String()
    description = fields.String()
    timestamp = Time()


class PaginationSchema(Schema):
    """Where the page stands in its selection."""

    total_count = fields.Integer()
    total_pages = fields.Integer()
    current_page = fields.Integer()
    page_size = fields.Integer()
    has_next = fields.Boolean()
    has_prev = fields.Boolean()


class HistoryPageSchema(Schema):
    """A page of the history, newest entry first."""

    items = fields.List(fields.Nested(HistoryEntrySchema))
    pagination = fields.Nested(PaginationSchema)


class WeeklyStatsSchema(Schema):
    """The figures of the week."""

    tasks_created_this_week = fields.Integer()
    tasks_completed_this_week = fields.Integer()
    total_completed = fields.Integer()
    total_incomplete = fields.Integer()
    total_tasks = fields.Integer()
    week_start = fields.DateTime(format="%Y-%m-%dT%H:%M:%SZ")
    week_end = fields.DateTime(format="%Y-%m-%dT%H:%M:%SZ")


class HealthSchema(Schema):
    """The service itself."""

    status = fields.String()
    service = fields.String()
    version = fields.String()


def answer(data: fields.Field[Any]) -> type[Schema]:
    """The envelope of a success, around such data."""
    return Schema.from_dict(
        {
            "success": fields.Boolean(dump_default=True),
            "data": data,
            "popup": fields.String(dump_default=None),
            "error": fields.String(dump_default=None),
        }
    )


# Errors


class EnvelopeApi(Api):
    """Puts every error into the envelope."""

    def handle_http_exception(self, error: HTTPException) -> tuple[Response, int]:
        """Name the fields that were refused, or say what is wrong as the exception does."""
        data = getattr(error, "data", {})
        messages: dict[str, dict[str, list[str]]] = data.get("messages", {}) if error.code == 422 else {}
        refused = [f"{name}: {' '.join(texts)}" for where in messages.values() for name, texts in where.items()]
        text = "; ".join(refused) or error.description or error.name
        return jsonify(success=False, data=None, popup=None, error=text), error.code or 500


class TaskId(BaseConverter):
    """A task's id: where it is no UUID, that is told as of any other value."""

    def to_python(self, value: str) -> UUID:
        """Read it."""
        try:
            return UUID(value)
        except ValueError:
            raise UnprocessableEntity("task_id: Not a valid UUID.") from None
