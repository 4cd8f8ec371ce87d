"""The fields that requests and answers are made of, and the rules for their values."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, fields

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
