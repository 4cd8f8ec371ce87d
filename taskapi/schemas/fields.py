"""The fields that requests and answers are made of, and the rules for their values."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from marshmallow import RAISE, Schema, fields, validate

from taskapi.days import zones

ACTION_TYPES = ("CREATED", "UPDATED", "DELETED", "COMPLETED", "INCOMPLETED", "RESTORED")
POPUPS = ("TASK_CREATED", "TASK_UPDATED", "TASK_COMPLETED", "TASK_INCOMPLETE", "TASK_DELETED", "TASK_RESTORED")

FIRST_DAYS = ("monday", "sunday")

CODES: dict[str, tuple[tuple[str, ...], str]] = {
    "FirstDay": (FIRST_DAYS, "The day that a week begins with."),
    "ActionType": (ACTION_TYPES, "What a change did to its task."),
    "Popup": (POPUPS, "Which SweetAlert2 dialog to show after a write."),
}
"""Lists of words that are components of the OpenAPI document: name, words, description."""

TITLE_LENGTH = 255
DESCRIPTION_LENGTH = 5000
PAGE_SIZE = 10
MAX_PAGE_SIZE = 100
MAX_LIST = 1000
LONGEST_SEARCH = 200
LONGEST_ACTOR, LONGEST_REQUEST_ID = 255, 128
MAX_ELEMENTS = 1000
"""The most tasks that one request may write."""

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

LONGEST_CHANGE_SET = 100
CHANGE_SET_RULE = f"1 to {LONGEST_CHANGE_SET} printable ASCII characters"

CURSOR_PATTERN = "^[A-Za-z0-9_-]+$"
"""How all cursors are written: base64url without padding (RFC 4648, section 5)."""

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


def is_change_set(value: str) -> bool:
    """Whether the value is a valid Change-Set (CHANGE_SET_RULE)."""
    return 1 <= len(value) <= LONGEST_CHANGE_SET and value.isascii() and value.isprintable()


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


NOT_EMPTY = validate.Length(min=1, error="must not be empty")


class WholeNumber(fields.Integer):
    """A query parameter of ASCII digits with an optional minus: no spaces, fractions, or digits of other scripts."""

    default_error_messages = {"invalid": "must be a whole number"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,4000}", value):
            raise self.make_error("invalid")
        return int(value)


MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?((?<=\.[0-9]{6})[0-9]{1,99})?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
"""A time of RFC 3339, section 5.6: to the second, up to microseconds, what is finer, and the offset."""

RESOLUTION = timedelta(microseconds=1)
"""Of the times in Postgres."""


class Moment(fields.DateTime):
    """A time of RFC 3339 with its offset from UTC. It becomes a datetime in UTC, which Postgres can hold.

    Of what is finer than a microsecond, nothing is lost at the start or the end of a range: it is rounded up. With
    `floor`, it is rounded down.
    """

    default_error_messages = {
        "required": "is required",
        "null": "must not be null",
        "invalid": "must be a time with its offset, such as 2026-11-25T07:30:11.000001Z (in a URL, + is %2B)",
    }

    def __init__(self, *, floor: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.floor = floor

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        found = MOMENT.fullmatch(value) if isinstance(value, str) else None
        if found:
            seconds, fraction, finer, offset = found.groups(default="")
            try:
                moment = datetime.fromisoformat(f"{seconds}{fraction}{offset}".upper()).astimezone(UTC)
                return moment + RESOLUTION if finer.strip("0") and not self.floor else moment
            except (ValueError, OverflowError):
                pass  # no such day, or out of range in UTC
        raise self.make_error("invalid")


class Day(fields.Date):
    """A date of the calendar."""

    default_error_messages = {"required": "is required", "invalid": "must be a date such as 2026-11-25"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass  # no such day
        raise self.make_error("invalid")


class Zone(fields.String):
    """The name of a time zone. It becomes the zone."""

    default_error_messages = {"unknown": "must be the name of a time zone, such as Europe/Berlin"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # For the documentation only.
        self.metadata = {"minLength": 1, **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if value not in zones():
            raise self.make_error("unknown")
        zone: tzinfo = ZoneInfo(value)
        return zone


class Truth(fields.Boolean):
    """A query parameter that is true or false, in these words."""

    default_error_messages = {"invalid": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid")
        return bool(value == "true")


class Identifier(fields.UUID):
    """A UUID in its 8-4-4-4-12 form: uuid.UUID() would also accept braces and missing hyphens."""

    default_error_messages = {
        "required": "is required",
        "null": "must not be null",
        "invalid_uuid": "must be a UUID such as 3b241101-e2bb-4255-8caf-4136c566a962",
    }

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> Any:
        if not isinstance(value, str) or not self.matches(value):
            raise self.make_error("invalid_uuid")
        return super()._deserialize(value, attr, data, **options)

    @staticmethod
    def matches(value: Any) -> bool:
        """Whether the value is a string in that form."""
        return isinstance(value, str) and UUID_PATTERN.fullmatch(value) is not None


class VersionNumber(fields.Integer):
    """A task's version, as a JSON integer that Postgres can hold. To JSON Schema, 7.0 is the same integer as 7."""

    LARGEST = 2**31 - 1

    default_error_messages = {
        "required": "is required",
        "null": "must not be null",
        "invalid": f"must be a whole number from 1 to {LARGEST}",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.metadata = {"minimum": 1, "maximum": self.LARGEST, **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> int:
        if type(value) not in (int, float) or not 1 <= value <= self.LARGEST or value != int(value):
            raise self.make_error("invalid")
        return int(value)


class Many(fields.List[Any]):
    """An array of 1 to `most` items. They are counted before they are read: a body has room for half a million."""

    default_error_messages = {
        "required": "is required",
        "null": "must not be null",
        "invalid": "must be an array",
        "length": "must have from 1 to {most} items",
    }

    def __init__(self, item: fields.Field[Any], *, most: int, **options: Any) -> None:
        super().__init__(item, **options)
        self.most = most
        self.metadata = {"minItems": 1, "maxItems": most, **self.metadata}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> list[Any]:
        if isinstance(value, list) and not 1 <= len(value) <= self.most:
            raise self.make_error("length", most=self.most)
        return super()._deserialize(value, attr, data, **options)


def repeated(ids: Iterable[UUID]) -> dict[int, int]:
    """The place of each id that has come before, and the place where that was."""
    first: dict[UUID, int] = {}
    places = ((place, first.setdefault(each, place)) for place, each in enumerate(ids))
    return {place: before for place, before in places if before != place}


class Flag(fields.Boolean):
    """A JSON boolean: no number and no string."""

    default_error_messages = {"null": "must not be null", "invalid": "must be true or false"}

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid")
        return value


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


class OptionalBody(Strict):
    """A JSON object that may be left out: no body counts as `{}`."""


class Query(Strict):
    """The parameters of a query string."""

    EMPTY_IS_ABSENT: ClassVar[frozenset[str]] = frozenset()
    """Parameters that a form may send empty: `offset=` counts as not given. Any other parameter must not be empty."""
