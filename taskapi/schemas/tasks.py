"""A task: what requests say of it, and what answers show."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from taskapi.keyset import place_of
from taskapi.schemas.answers import Answer, Success, always, moment, popup_of
from taskapi.schemas.fields import (
    CURSOR_PATTERN,
    DESCRIPTION_LENGTH,
    LONGEST_SEARCH,
    MAX_LIST,
    MUST_SHOW,
    NOT_EMPTY,
    TITLE_LENGTH,
    Moment,
    Query,
    Strict,
    Text,
    Truth,
    WholeNumber,
)


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
        # An element of a write on many tasks also says which task it is about.
        if not changes.keys() - {"id", "version"}:
            raise ValidationError("must give a title, a description or both")


def _moment(description: str, *, floor: bool = False) -> Moment:
    return Moment(floor=floor, metadata={"description": description})


TRAVEL = {"as_of", "is_completed", "limit", "cursor"}
"""The parameters of a list as of a moment."""


class TaskListQuerySchema(Query):
    """Which tasks, and which page of them."""

    is_completed = Truth(metadata={"description": "Only tasks of this state."})
    text = Text(
        longest=LONGEST_SEARCH,
        validate=NOT_EMPTY,
        metadata={"description": "Only tasks with this somewhere in title or description, whatever its case."},
    )
    created_from = _moment("Only tasks created at this time or later.")
    created_before = _moment("Only tasks created before this time.")
    updated_from = _moment("Only tasks last changed at this time or later.")
    updated_before = _moment("Only tasks last changed before this time.")
    completed_from = _moment("Only tasks completed at this time or later.")
    completed_before = _moment("Only tasks completed before this time.")
    limit = WholeNumber(
        validate=validate.Range(min=1, max=MAX_LIST, error="must be from {min} to {max}"),
        metadata={"description": "The most tasks of the answer; by default, all.", "example": 100},
    )
    cursor = fields.String(
        metadata={
            "description": "Continues after another page: from its `Link` with `rel=next`.",
            "pattern": CURSOR_PATTERN,
        }
    )
    count = Truth(metadata={"description": "`true`: `X-Total-Count` tells how many tasks match on all pages."})
    as_of = _moment(
        "The tasks of this time, as they were then, changes at that time included. Needs `limit`; goes with"
        " `is_completed` and `cursor`.",
        floor=True,
    )

    @validates_schema(skip_on_field_errors=True)
    def _travels(self, query: dict[str, Any], **_: Any) -> None:
        if "as_of" not in query:
            return
        if stay := [name for name in query if name not in TRAVEL]:
            raise ValidationError({name: ["must not be given with as_of"] for name in stay})
        if "limit" not in query:
            raise ValidationError("is required with as_of", "limit")

    @post_load
    def _selection(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        """What was asked, the filters alone, and the place where the page begins (None: at the start)."""
        filters = {name: value for name, value in query.items() if name not in ("limit", "cursor", "count")}
        place = None
        if "cursor" in query:
            try:
                place = place_of(query["cursor"], filters, states=True)
            except ValueError as error:
                raise ValidationError(str(error), "cursor") from None
        return {"query": query, "filters": filters, "place": place}


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
    """Tasks."""

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
