"""Reads arguments as common clients send them: what a call leaves out as null, arrays as JSON text, numbers as strings.

Clients that follow OpenAI's strict schemas send every argument, with null or "" for what is not given. Others write an
array as JSON text, drop the brackets of a single item, or send each number as a string or a float. What is meant is
clear in each case, and an agent cannot mend its client.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from marshmallow import fields, pre_load

from taskapi.schemas.fields import Strict, Text

NOTHING: tuple[Any, ...] = (None, "")
"""What stands for "not given"."""


class Lenient(Strict):
    """A schema that reads arguments as they are meant. What has no clear meaning stays, and the rules reject it."""

    @pre_load
    def _as_meant(self, arguments: Any, **_: Any) -> Any:
        arguments = _parsed(arguments, dict)
        if not isinstance(arguments, dict):
            return arguments
        return {
            name: as_meant(self.fields.get(name), value)
            for name, value in arguments.items()
            if not _is_left_out(self.fields.get(name), value)
        }


def as_meant(field: fields.Field[Any] | None, value: Any) -> Any:
    """The value in the type of the field, or unchanged."""
    if isinstance(field, fields.List):
        value = _parsed(value, list)
        # An array of one item, without its brackets.
        return value if isinstance(value, list) or value in NOTHING else [_parsed(value, dict)]
    if isinstance(field, fields.Integer):
        return _whole(value)
    if isinstance(field, fields.Boolean):
        return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value
    return value


def _is_left_out(field: fields.Field[Any] | None, value: Any) -> bool:
    if field is None:
        return False
    # A text may be the word null; nothing else may.
    words = NOTHING if isinstance(field, Text) else (*NOTHING, "null")
    # An empty required text breaks another rule than a missing one.
    return value is None or (not field.required and isinstance(value, str) and value in words)


def _whole(value: Any) -> Any:
    """Digits, or a float without a fraction, as an integer."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parsed(value: Any, kind: type) -> Any:
    """The value in a JSON text, if it has the type."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            inner = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
        return inner if isinstance(inner, (kind, Mapping)) else value
    return value
