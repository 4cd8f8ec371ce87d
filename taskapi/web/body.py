"""Reads a request's whole body before its view runs, so that a request that was cut off changes nothing."""

import re
from collections.abc import Callable
from typing import Any

from flask import current_app, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, ClientDisconnected, RequestEntityTooLarge, UnsupportedMediaType

NO_JSON = "The body needs the header Content-Type: application/json."


class UnknownCoding(UnsupportedMediaType):
    """A 415 that names the supported codings in Accept-Encoding (RFC 9110, section 15.5.16)."""

    def get_headers(self, *arguments: Any, **options: Any) -> list[tuple[str, str]]:
        """The headers of the answer."""
        return [*super().get_headers(*arguments, **options), ("Accept-Encoding", "identity")]


def receive() -> None:
    """Read the body, also for a view that ignores it. `request.get_data()` gives it to the view.

    Raises RequestEntityTooLarge beyond MAX_BODY_BYTES, UnsupportedMediaType where the view takes JSON and the body is
    not, and BadRequest where it is incomplete (RFC 9112, section 8): in this order.
    """
    environ = request.environ
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    text, problem = b"", None
    try:
        text = request.get_data()
        # Werkzeug ends a chunked body at the limit, without an error.
        if len(text) == request.max_content_length and environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        # Werkzeug accepts a body that is shorter than its Content-Length.
        if len(text) < (request.content_length or 0):
            problem = "The body is shorter than its Content-Length; send the request again."
    except ClientDisconnected as error:
        # Werkzeug raises this for every OSError of the connection.
        late = isinstance(error.__context__, TimeoutError)
        problem = f"The body {'did not arrive in time' if late else 'is incomplete'}; send the request again."
    except ParseException:
        problem = "The body's chunks are not in order; see RFC 9112, section 7.1."
    if (text or problem) and takes_json(current_app.view_functions[request.endpoint or ""]):
        _check_type()
    if problem:
        raise BadRequest(problem)


def takes_json(view: Callable[..., Any]) -> bool:
    """Whether the view reads its body, which must be JSON then: blueprint.arguments() marks such views."""
    return getattr(view, "_takes_json", None) is not None


def _check_type() -> None:
    coding = request.environ.get("HTTP_CONTENT_ENCODING")
    if coding and coding.lower() != "identity":
        raise UnknownCoding("The body must not be encoded: send it without the header Content-Encoding.")
    # Nearly always this. Parsing the header costs as much as reading the body.
    is_json = request.content_type == "application/json"
    if not is_json and not re.fullmatch(r"application/(json|[\w.!#$&^-]+\+json)", request.mimetype):
        raise UnsupportedMediaType(NO_JSON)
