"""Reads what a request brings, strictly: its body, its query string and its key."""

import json
import re
from typing import Any

import orjson
from flask import request
from gunicorn.http.errors import ParseException
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnprocessableEntity, UnsupportedMediaType

from taskapi.schemas import LONGEST_KEY, Query, is_idempotency_key

LONGEST_NAME = 60
"""Characters of a field's name that an error repeats."""

MOST_ERRORS = 10
"""Fields that an error names."""

SEVERAL_KEYS = "HTTP_taskapi.several_keys"
"""In the WSGI environment of a request with more than one Idempotency-Key header."""


def body(schema: Schema) -> Any:
    """The request's JSON body, as `schema` loads it.

    Raises BadRequest where it is not JSON, UnsupportedMediaType where it does not say that it is,
    UnprocessableEntity where it breaks a rule, RequestEntityTooLarge beyond MAX_BODY_BYTES.
    """
    try:
        text = request.get_data(cache=False)
        # Werkzeug ends a chunked body at the limit, without an error.
        if len(text) == request.max_content_length and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
    except TimeoutError:
        raise BadRequest("The body did not arrive in time; send the request again.") from None
    except ParseException:
        raise BadRequest("The body's chunks are not in order; see RFC 9112, section 7.1.") from None
    if len(text) < (request.content_length or 0):
        raise BadRequest("The body is shorter than its Content-Length; send the request again.")
    if not text:
        raise BadRequest("The body is empty; send a JSON object.")
    # Nearly always that; to take the header apart costs as much as to read the body.
    is_json = request.content_type == "application/json"
    if not is_json and not re.fullmatch(r"application/(json|[\w.!#$&^-]+\+json)", request.mimetype):
        raise UnsupportedMediaType("The body needs the header Content-Type: application/json.")
    return _loaded(schema, _json(text), "body")


def query(schema: Query) -> Any:
    """The query string, as `schema` loads it. Raises UnprocessableEntity where it breaks a rule."""
    values = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise UnprocessableEntity(_sentence({name: "must be given once"}))
        if given[0] or name not in schema.EMPTY_IS_ABSENT:
            values[name] = given[0]
    return _loaded(schema, values, "query")


def idempotency_key() -> str | None:
    """The Idempotency-Key, None without one. Raises UnprocessableEntity where it is not one, or where there are two."""
    key: str | None = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    # Set by gunicorn.conf.py: the key itself does not tell, since it may hold a comma.
    if SEVERAL_KEYS in request.environ:
        raise UnprocessableEntity("Idempotency-Key: must be given once")
    if not is_idempotency_key(key):
        raise UnprocessableEntity(f"Idempotency-Key: must be 1 to {LONGEST_KEY} printable ASCII characters")
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
    for field, messages in list(errors.items())[:MOST_ERRORS]:
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
