"""The history: which entries a request selects, and what an entry looks like."""

from typing import Any

from marshmallow import ValidationError, fields, post_load, validate

from taskapi.keyset import place_of
from taskapi.schemas.answers import Answer, Success, moment
from taskapi.schemas.fields import (
    ACTION_TYPES,
    CURSOR_PATTERN,
    LONGEST_ACTOR,
    LONGEST_CHANGE_SET,
    LONGEST_REQUEST_ID,
    MAX_PAGE_SIZE,
    NOT_EMPTY,
    PAGE_SIZE,
    Code,
    Identifier,
    Moment,
    Query,
    Text,
    WholeNumber,
)


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


def _text(longest: int, description: str) -> Text:
    return Text(longest=longest, validate=NOT_EMPTY, metadata={"description": description})


class HistorySelectionSchema(HistoryQuerySchema):
    """Which page of which entries, also by who made the change and when, and after another page."""

    actor = _text(LONGEST_ACTOR, "Only changes made by this one: the name of a token, or the `sub` of a JWT.")
    request_id = _text(LONGEST_REQUEST_ID, "Only changes made by the request with this `X-Request-Id`.")
    change_set = _text(LONGEST_CHANGE_SET, "Only changes made as part of this `Change-Set`.")
    timestamp_from = Moment(data_key="from", metadata={"description": "Only changes at this time or later."})
    timestamp_before = Moment(data_key="before", metadata={"description": "Only changes before this time."})
    cursor = fields.String(
        metadata={
            "description": "Continues after another page: from its `Link` with `rel=next`. Not with `page`.",
            "pattern": CURSOR_PATTERN,
        }
    )

    @post_load
    def _selection(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The filters, the limit, the offset, and the place where the page begins (None: at the offset)."""
        filters = {name: value for name, value in query.items() if name not in ("page", "limit", "offset", "cursor")}
        limit, offset, place = query["limit"], query.get("offset", 0), None
        if "cursor" in query:
            if given := [name for name in ("page", "offset") if name in query]:
                raise ValidationError({name: ["must not be given with a cursor"] for name in given})
            try:
                place = place_of(query["cursor"], filters, states=False)
            except ValueError as error:
                raise ValidationError(str(error), "cursor") from None
        elif "page" in query:
            offset = (query["page"] - 1) * limit
        return {"filters": filters, "limit": limit, "offset": offset, "place": place}


class HistoryEntrySchema(Answer):
    """One change of one task."""

    history_id = fields.UUID(required=True)
    task_id = fields.UUID(required=True)
    action_type = Code("ActionType", required=True)
    description = fields.String(required=True, metadata={"description": "What changed, for people."})
    timestamp = moment("The task's `updated_at` after the change.")
    task_title = fields.String(
        required=True, metadata={"description": "The title after the change; of a deleted task, its last."}
    )
    version = fields.Integer(required=True, metadata={"description": "The task's version after the change."})
    actor = fields.String(
        required=True, allow_none=True, metadata={"description": "Who changed it: the name of a token; null: unknown."}
    )
    request_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The `X-Request-Id` of the request."}
    )
    change_set = fields.String(
        required=True, allow_none=True, metadata={"description": "The `Change-Set` of the request."}
    )


class PaginationSchema(Answer):
    """The position of the page in the selection."""

    total_count = fields.Integer(required=True)
    total_pages = fields.Integer(required=True)
    current_page = fields.Integer(required=True, allow_none=True, metadata={"description": "Null after a cursor."})
    page_size = fields.Integer(required=True)
    has_next = fields.Boolean(required=True)
    has_prev = fields.Boolean(required=True, allow_none=True, metadata={"description": "Null after a cursor."})


class HistoryPageSchema(Answer):
    """A page of the history, newest entry first."""

    items = fields.List(fields.Nested(HistoryEntrySchema), required=True)
    pagination = fields.Nested(PaginationSchema, required=True)


class HistoryAnswerSchema(Success):
    """A page of the history."""

    data = fields.Nested(HistoryPageSchema, required=True)
