"""Parses a request strictly: its body, its query string and its Idempotency-Key."""

import json
from typing import Any

import orjson
from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import BadRequest, UnprocessableEntity

from taskapi.schemas.fields import KEY_RULE, LONGEST_NAME, MAX_ERRORS, Query, is_idempotency_key

SEVERAL_KEYS = "HTTP_taskapi.several_keys"
"""Key in the WSGI environment of a request with more than one Idempotency-Key header."""


def body(schema: Schema) -> Any:
    """The request's JSON body, as `schema` loads it.

    Raises BadRequest where it is not JSON, UnprocessableEntity where it breaks a rule.
    """
    # taskapi.web.body has read it, and checked that it is complete.
    text = request.get_data()
    if not text:
        raise BadRequest("The body is empty; send a JSON object.")
    return _loaded(schema, _json(text), "body")


def query(schema: Query) -> Any:
    """The query string, as `schema` loads it. Raises UnprocessableEntity if it breaks a rule."""
    values = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise UnprocessableEntity(_sentence({name: "must be given once"}))
        if given[0] or name not in schema.EMPTY_IS_ABSENT:
            values[name] = given[0]
    return _loaded(schema, values, "query")


def idempotency_key() -> str | None:
    """The Idempotency-Key, None without one. Raises UnprocessableEntity if it is invalid, or if there are two."""
    key: str | None = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    # Set by gunicorn.conf.py. The value does not show it: a key may contain a comma.
    if SEVERAL_KEYS in request.environ:
        raise UnprocessableEntity("Idempotency-Key: must be given once")
    if not is_idempotency_key(key):
        raise UnprocessableEntity(f"Idempotency-Key: must be {KEY_RULE}")
    return key


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
    parts = []
    for field, messages in list(errors.items())[:MAX_ERRORS]:
        parts.append(f"{str(field)[:LONGEST_NAME]}: {messages if isinstance(messages, str) else '; '.join(messages)}")
    return "; ".join(parts)


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
