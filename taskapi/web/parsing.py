"""Parses a request strictly: its body, its query string, its Idempotency-Key and its Change-Set."""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import orjson
from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import BadRequest, UnprocessableEntity

from taskapi.schemas.fields import (
    CHANGE_SET_RULE,
    KEY_RULE,
    LONGEST_NAME,
    MAX_ERRORS,
    OptionalBody,
    Query,
    is_change_set,
    is_idempotency_key,
)

SEVERAL = "HTTP_taskapi.several."
"""With the name of a header: key in the WSGI environment of a request that has this header more than once."""

NO_PARAMETERS: dict[Query, Any] = {}
"""What each schema loads from an empty query string."""


def body(schema: Schema) -> Any:
    """The request's JSON body, as `schema` loads it.

    Raises BadRequest where it is not JSON, UnprocessableEntity where it breaks a rule.
    """
    return _loaded(schema, json_body(schema), "body")


def json_body(schema: Schema) -> Any:
    """The request's JSON body, before `schema` looks at it. Raises BadRequest where it is not JSON."""
    # taskapi.web.body has read it, and checked that it is complete.
    text = request.get_data()
    if not text and isinstance(schema, OptionalBody):
        text = b"{}"
    if not text:
        raise BadRequest("The body is empty; send a JSON object.")
    return _json(text)


def query(schema: Query) -> Any:
    """The query string, as `schema` loads it. Raises UnprocessableEntity if it breaks a rule.

    Without one, the answer is always the same object, so that it costs a request nothing: views do not change it.
    """
    if not request.environ.get("QUERY_STRING"):
        if schema not in NO_PARAMETERS:
            NO_PARAMETERS[schema] = _loaded(schema, {}, "query")
        return NO_PARAMETERS[schema]
    values = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise UnprocessableEntity(_sentence({name: "must be given once"}))
        if given[0] or name not in schema.EMPTY_IS_ABSENT:
            values[name] = given[0]
    return _loaded(schema, values, "query")


def idempotency_key() -> str | None:
    """The Idempotency-Key, None without one. Raises UnprocessableEntity if it is invalid, or if there are two."""
    return _header("Idempotency-Key", is_idempotency_key, KEY_RULE)


def change_set() -> str | None:
    """The Change-Set, None without one. Raises UnprocessableEntity if it is invalid, or if there are two."""
    return _header("Change-Set", is_change_set, CHANGE_SET_RULE)


def _header(name: str, is_valid: Callable[[str], bool], rule: str) -> str | None:
    key = name.upper().replace("-", "_")
    value: str | None = request.environ.get(f"HTTP_{key}")
    if value is None:
        return None
    # Set by gunicorn.conf.py. The value does not show it: it may contain a comma.
    if SEVERAL + key in request.environ:
        raise UnprocessableEntity(f"{name}: must be given once")
    if not is_valid(value):
        raise UnprocessableEntity(f"{name}: must be {rule}")
    return value


def _loaded(schema: Schema, values: Any, place: str) -> Any:
    try:
        return schema.load(values)
    except ValidationError as error:
        messages = error.messages_dict
        if "_schema" in messages and not (isinstance(values, dict) and "_schema" in values):
            messages = {place: messages.pop("_schema"), **messages}
        raise UnprocessableEntity(_sentence(messages)) from None


def _sentence(errors: dict[Any, Any]) -> str:
    """`field: message`, joined by `; `."""
    return "; ".join(islice(_faults(errors), MAX_ERRORS))


def _faults(errors: dict[Any, Any], within: str = "") -> Iterator[str]:
    """`field: message` for each of marshmallow's messages, which nest like the values: `create.3.title: message`."""
    for name, messages in errors.items():
        field = str(name)[:LONGEST_NAME]
        if within:
            field = within if name == "_schema" else f"{within}.{field}"
        if isinstance(messages, dict):
            yield from _faults(messages, field)
        else:
            yield f"{field}: {messages if isinstance(messages, str) else '; '.join(messages)}"


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _json_beyond_orjson(text)


def _json_beyond_orjson(text: bytes) -> Any:
    """JSON that orjson cannot hold: lone surrogates, and numbers of any size (here as 0: none is asked for).

    Its values break a rule, which the schema then says. Raises BadRequest for what is not JSON at all.
    """
    try:
        return json.loads(text.decode("utf-8"), parse_int=lambda _: 0, parse_constant=_refuse)
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "NaN and Infinity are not JSON"
        raise BadRequest(f"The body is not JSON: {reason}.") from None


def _refuse(_: str) -> None:
    raise ValueError
