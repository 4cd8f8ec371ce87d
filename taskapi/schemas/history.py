"""The history: which entries a request selects, and what an entry looks like."""

from typing import Any

from marshmallow import fields, post_load, validate

from taskapi.schemas.answers import Answer, Success, moment
from taskapi.schemas.fields import ACTION_TYPES, MAX_PAGE_SIZE, PAGE_SIZE, Code, Identifier, Query, WholeNumber


class HistoryQuerySchema(Query):
    """Which page of which entries."""

    EMPTY_IS_ABSENT = frozenset({"offset", "task_id", "action_type"})

    page = WholeNumber(
        validate=validate.Range(min=1, error="must be 1 or more"),
        metadata={"description": "The page, from 1 on. Wins over `offset`.", "default": 1, "example": 1},
    )
    limit = WholeNumber(
        load_default=PAGE_SIZE,
        validate=validate.Range(min=1, max=MAX_PAGE_SIZE, error="must be from {min} to {max}"),
        metadata={"description": "Entries on a page.", "example": PAGE_SIZE},
    )
    offset = WholeNumber(
        validate=validate.Range(min=0, error="must be 0 or more"),
        metadata={"description": "Entries to leave out, instead of `page`."},
    )
    task_id = Identifier(metadata={"description": "Only this task's entries, also a deleted one's."})
    action_type: fields.String = Code(
        "ActionType",
        validate=validate.OneOf(ACTION_TYPES, error="must be one of {choices}"),
        metadata={"description": "Only entries of this action."},
    )

    @post_load
    def _selection(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The repository's arguments. If both `page` and `offset` are given, `page` wins."""
        limit = query["limit"]
        page = query.get("page")
        return {
            "task_id": query.get("task_id"),
            "action_type": query.get("action_type"),
            "limit": limit,
            "offset": query.get("offset", 0) if page is None else (page - 1) * limit,
        }


class HistoryEntrySchema(Answer):
    """One change of one task."""

    history_id = fields.UUID(required=True)
    task_id = fields.UUID(required=True)
    action_type = Code("ActionType", required=True)
    description = fields.String(required=True, metadata={"description": "What changed, for people."})
    timestamp = moment("The task's `updated_at` after the change.")


class PaginationSchema(Answer):
    """The position of the page in the selection."""

    total_count = fields.Integer(required=True)
    total_pages = fields.Integer(required=True)
    current_page = fields.Integer(required=True)
    page_size = fields.Integer(required=True)
    has_next = fields.Boolean(required=True)
    has_prev = fields.Boolean(required=True)


class HistoryPageSchema(Answer):
    """A page of the history, newest entry first."""

    items = fields.List(fields.Nested(HistoryEntrySchema), required=True)
    pagination = fields.Nested(PaginationSchema, required=True)


class HistoryAnswerSchema(Success):
    """A page of the history."""

    data = fields.Nested(HistoryPageSchema, required=True)
