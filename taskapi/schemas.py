"""The schemas of requests and answers, for parsing, the documentation and the tests."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

ACTION_TYPES = ("CREATED", "UPDATED", "DELETED", "COMPLETED", "INCOMPLETED")
POPUPS = ("TASK_CREATED", "TASK_UPDATED", "TASK_COMPLETED", "TASK_INCOMPLETE", "TASK_DELETED")

CODES: dict[str, tuple[tuple[str, ...], str]] = {
    "ActionType": (ACTION_TYPES, "What a change did to its task."),
    "Popup": (POPUPS, "Which SweetAlert2 dialog to show after a write."),
}
"""Lists of words that are components of the OpenAPI document: name, words, description."""

TITLE_LENGTH = 255
DESCRIPTION_LENGTH = 5000
PAGE_SIZE = 10
MAX_PAGE_SIZE = 100

STORABLE = r"^[^\u0000]*$"
BLANK = (
    r"\s\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u202a-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
"""The invisible characters, for the brackets of a regular expression. They are all characters of Unicode's first plane
that are White_Space, control characters or Default_Ignorable_Code_Point. The marks of interlinear annotations (U+FFF9
to U+FFFB) and the blank of Braille (U+2800) also count.

The database's rule for titles has the same list. It has no characters beyond the first plane, since JavaScript reads
such patterns in two different ways. \\s covers U+2028 and U+2029, because a client generator writes these into a
pattern as line ends if they are named. All other characters for which the engines' \\s differ are named."""

VISIBLE = re.compile(f"[^{BLANK}]")
STORABLE_AND_VISIBLE = rf"^[^\u0000]*[^{BLANK}][^\u0000]*$"
MUST_SHOW = "Must have a visible character."

UUID_PATTERN = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

LONGEST_KEY = 255
KEY_RULE = f"1 to {LONGEST_KEY} printable ASCII characters"

TOO_LONG = "must have at most {longest} characters"
UNKNOWN = "is not known here"
"""The message for an unknown field, parameter or argument."""

LONGEST_NAME = 60
"""How many characters of a name an error repeats."""

MAX_ERRORS = 10
"""How many faults an error names."""


def is_idempotency_key(value: str) -> bool:
    """Whether the value is a valid Idempotency-Key (KEY_RULE)."""
    return 1 <= len(value) <= LONGEST_KEY and value.isascii() and value.isprintable()


class Text(fields.String):
    """A string that Postgres can hold, of at most `longest` code points."""

    default_error_messages = {
        "required": "is required",
        "null": "must not be null",
        "invalid": "must be a string",
        "too_long": TOO_LONG,
        "blank": "must have a visible character",
        "unstorable": "must not contain U+0000 or lone surrogates",
    }

    def __init__(self, *, longest: int, blank: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.longest = longest
        self.blank = blank
        # For the documentation only: the rules themselves are checked below.
        rules = {"pattern": STORABLE} if blank else {"pattern": STORABLE_AND_VISIBLE, "minLength": 1}
        self.metadata = {"maxLength": longest, **rules, **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> str:
        if not isinstance(value, str):
            raise self.make_error("invalid")
        if len(value) > self.longest:
            raise self.make_error("too_long", longest=self.longest)
        if "\0" in value or (not value.isascii() and re.search("[\ud800-\udfff]", value)):
            raise self.make_error("unstorable")
        if not self.blank and not VISIBLE.search(value):
            raise self.make_error("blank")
        return value


class WholeNumber(fields.Integer):
    """A query parameter of ASCII digits with an optional minus: no spaces, fractions, or digits of other scripts."""

    default_error_messages = {"invalid": "must be a whole number"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,4000}", value):
            raise self.make_error("invalid")
        return int(value)


class Identifier(fields.UUID):
    """A UUID in its 8-4-4-4-12 form: uuid.UUID() would also accept braces and missing hyphens."""

    default_error_messages = {"invalid_uuid": "must be a UUID such as 3b241101-e2bb-4255-8caf-4136c566a962"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not self.matches(value):
            raise self.make_error("invalid_uuid")
        return super()._deserialize(value, attr, data, **options)

    @staticmethod
    def matches(value: str) -> bool:
        """Whether the value is a UUID in that form."""
        return UUID_PATTERN.fullmatch(value) is not None


class Code(fields.String):
    """One of the words of CODES[component], or always `only`."""

    def __init__(self, component: str, *, only: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.component = component
        self.only = only


class Strict(Schema):
    """Refuses unknown fields."""

    class Meta:
        unknown = RAISE

    error_messages = {"unknown": UNKNOWN, "type": "must be a JSON object"}


class Query(Strict):
    """The parameters of a query string."""

    EMPTY_IS_ABSENT: ClassVar[frozenset[str]] = frozenset()
    """Parameters that a form may send empty: `offset=` counts as not given. Any other parameter must not be empty."""


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


class IdempotencyKeySchema(Strict):
    """The header that makes a repeated write safe."""

    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        metadata={
            "description": "Makes a repetition safe: the same request with the same key writes once, and answers the"
            " same again, with `Idempotency-Replayed: true`.",
            "example": "5f0c6a1e-6d0e-4e0c-9e0a-2f6a4d1c7b11",
            "minLength": 1,
            "maxLength": LONGEST_KEY,
            "pattern": "^[ -~]*$",
        },
    )


def _time(description: str, **options: Any) -> fields.DateTime:
    return fields.DateTime(required=True, metadata={"description": description}, **options)


class Answer(Schema):
    """An answer. A later version may add fields; clients ignore fields that they do not know."""

    class Meta:
        unknown = EXCLUDE


class TaskSchema(Answer):
    """A task. Times are RFC 3339 in UTC, with microseconds."""

    id = fields.UUID(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    is_completed = fields.Boolean(required=True)
    created_at = _time("When it was created.")
    updated_at = _time("When it last changed.")
    completed_at = _time("When it was completed; null while it is not.", allow_none=True)


class HistoryEntrySchema(Answer):
    """One change of one task."""

    history_id = fields.UUID(required=True)
    task_id = fields.UUID(required=True)
    action_type = Code("ActionType", required=True)
    description = fields.String(required=True, metadata={"description": "What changed, for people."})
    timestamp = _time("The task's `updated_at` after the change.")


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


class WeeklyStatsSchema(Answer):
    """The figures of the week, of tasks that exist, from one snapshot."""

    tasks_created_this_week = fields.Integer(required=True)
    tasks_completed_this_week = fields.Integer(required=True)
    total_completed = fields.Integer(required=True)
    total_incomplete = fields.Integer(required=True)
    total_tasks = fields.Integer(required=True)
    week_start = _time("Monday, 00:00:00Z.")
    week_end = _time("Sunday of the same week, 23:59:59Z.")


class HealthSchema(Answer):
    """The service itself."""

    status = fields.String(required=True)
    service = fields.String(required=True)
    version = fields.String(required=True)


class ReadySchema(Answer):
    """The service and its database."""

    status = fields.String(required=True)
    schema = fields.String(required=True, metadata={"description": "The migration that the database is at."})


def _always(value: bool | None) -> fields.Raw:
    """A key that always has the same value."""
    return fields.Raw(
        required=True, metadata={"type": "null"} if value is None else {"type": "boolean", "const": value}
    )


class Success(Answer):
    """A success. In a write, `popup` has a code instead of null."""

    success = _always(True)
    data: fields.Field[Any] = fields.Raw(required=True)
    popup: fields.Field[Any] = _always(None)
    error = _always(None)


def _popup(code: str) -> Code:
    return Code("Popup", only=code, required=True)


class TaskAnswerSchema(Success):
    """One task."""

    data = fields.Nested(TaskSchema, required=True)


class TaskListAnswerSchema(Success):
    """Every task."""

    data = fields.List(fields.Nested(TaskSchema), required=True)


class TaskCreatedAnswerSchema(TaskAnswerSchema):
    """The new task."""

    popup = _popup("TASK_CREATED")


class TaskUpdatedAnswerSchema(TaskAnswerSchema):
    """The task after the change."""

    popup = _popup("TASK_UPDATED")


class TaskCompletedAnswerSchema(TaskAnswerSchema):
    """The completed task."""

    popup = _popup("TASK_COMPLETED")


class TaskIncompleteAnswerSchema(TaskAnswerSchema):
    """The reopened task."""

    popup = _popup("TASK_INCOMPLETE")


class TaskDeletedAnswerSchema(Success):
    """No data: the task is gone."""

    data = _always(None)
    popup = _popup("TASK_DELETED")


class HistoryAnswerSchema(Success):
    """A page of the history."""

    data = fields.Nested(HistoryPageSchema, required=True)


class StatsAnswerSchema(Success):
    """The week's figures."""

    data = fields.Nested(WeeklyStatsSchema, required=True)


class HealthAnswerSchema(Success):
    """The service is up."""

    data = fields.Nested(HealthSchema, required=True)


class ReadyAnswerSchema(Success):
    """The service can serve."""

    data = fields.Nested(ReadySchema, required=True)


class FailureSchema(Answer):
    """A failure."""

    success = _always(False)
    data = _always(None)
    popup = _always(None)
    error = fields.String(required=True, metadata={"description": "One sentence for people: what is wrong."})
