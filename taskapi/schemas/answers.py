"""The four keys of every answer."""

from typing import Any

from marshmallow import EXCLUDE, Schema, fields

from taskapi.schemas.fields import Code


class Answer(Schema):
    """An answer. A later version may add fields; clients ignore fields that they do not know."""

    class Meta:
        unknown = EXCLUDE


def always(value: bool | None) -> fields.Raw:
    """A key that always has the same value."""
    return fields.Raw(
        required=True, metadata={"type": "null"} if value is None else {"type": "boolean", "const": value}
    )


class Success(Answer):
    """A success. In a write, `popup` has a code instead of null."""

    success = always(True)
    data: fields.Field[Any] = fields.Raw(required=True)
    popup: fields.Field[Any] = always(None)
    error = always(None)


def popup_of(code: str) -> Code:
    return Code("Popup", only=code, required=True)


class FailureSchema(Answer):
    """A failure."""

    success = always(False)
    data = always(None)
    popup = always(None)
    error = fields.String(required=True, metadata={"description": "One sentence for people: what is wrong."})


def moment(description: str, **options: Any) -> fields.DateTime:
    return fields.DateTime(required=True, metadata={"description": description}, **options)
