"""A flask-smorest Blueprint that parses strictly, documents every error, and adds no work to a request."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import flask_smorest
from flask import current_app, request
from marshmallow import Schema
from werkzeug.exceptions import UnprocessableEntity

from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.schemas.answers import FailureSchema
from taskapi.schemas.changes import EventHeadersSchema
from taskapi.schemas.fields import LONGEST_NAME, MAX_ERRORS, UNKNOWN, Identifier
from taskapi.schemas.headers import IfMatchSchema, IfNoneMatchSchema, WriteHeadersSchema
from taskapi.web import body, conditions, examples, parsing
from taskapi.web.access import caller
from taskapi.web.events import EVENTS
from taskapi.web.observation import REQUEST_ID

View = TypeVar("View", bound=Callable[..., Any])

TAKES_IF_MATCH = "_takes_if_match"
"""Attribute of a view that looks at If-Match itself, or refuses it after what comes before in the order of checks."""

READERS: dict[str, Callable[[Any], Any]] = {"json": parsing.body, "query": parsing.query}


def everybodys() -> Repository:
    """The repository of the current application, for what is about no owner."""
    return cast(Repository, current_app.extensions["taskapi"])


class Blueprint(flask_smorest.Blueprint):
    """Views that get validated arguments and return a complete Response."""

    def __init__(self, name: str, import_name: str, **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self.before_request(body.receive)
        self.before_request(_check)

    @property
    def repository(self) -> Repository:
        """The repository of whoever sends the current request."""
        return everybodys().of(caller().owner)

    def arguments(self, schema: Schema, *, location: str = "json", **options: Any) -> Callable[[View], View]:
        """Pass what `schema` loads from the `location` (json, query) to the view, and document it."""
        read = READERS[location]
        document = super().arguments(schema, location=location, **options)

        def decorator(view: View) -> View:
            @wraps(view)
            def wrapper(*arguments: Any, **parameters: Any) -> Any:
                return view(*arguments, read(schema), **parameters)

            # Read by _refuse_query() below and by taskapi.web.body.
            setattr(wrapper, f"_takes_{location}", schema)
            return cast(View, _documented(wrapper, document(view)))

        return decorator

    def writes(self, view: View) -> View:
        """Pass the Idempotency-Key (None without one) to the view as `key`, who asks for the change and as part of what
        as `origin`, and document both. It is the last to look at the request, unless the view is `conditional`.
        """
        takes_if_match = getattr(view, TAKES_IF_MATCH, False)

        @wraps(view)
        def wrapper(*arguments: Any, **parameters: Any) -> Any:
            environ = request.environ
            if not takes_if_match:
                conditions.refuse_if_match(environ)
            key, change_set = parsing.idempotency_key(), parsing.change_set()
            origin = Origin(caller().name, environ[REQUEST_ID], change_set)
            return view(*arguments, key=key, origin=origin, **parameters)

        setattr(wrapper, TAKES_IF_MATCH, True)
        return cast(View, _documented(wrapper, super().arguments(WriteHeadersSchema, location="headers")(view)))

    def conditional(self, view: View) -> View:
        """Pass the tags of If-Match (None: any version will do) to the view as `expected`; document it and the 412."""

        @wraps(view)
        def wrapper(*arguments: Any, **parameters: Any) -> Any:
            return view(*arguments, expected=conditions.expected_tags(), **parameters)

        document = super().arguments(IfMatchSchema, location="headers")
        refused = self.alt_response(412, schema=FailureSchema, **examples.ERRORS[412])
        setattr(wrapper, TAKES_IF_MATCH, True)
        return cast(View, _documented(wrapper, refused(document(view))))

    def cached(self, view: View) -> View:
        """Pass the versions that the client has to the view as `known`, and document If-None-Match and the 304."""

        @wraps(view)
        def wrapper(*arguments: Any, **parameters: Any) -> Any:
            return view(*arguments, known=conditions.known_versions(), **parameters)

        document = super().arguments(IfNoneMatchSchema, location="headers")
        unchanged = self.alt_response(304, **examples.NOT_MODIFIED)
        return cast(View, _documented(wrapper, unchanged(document(view))))

    def streamed(self, *, example: str) -> Callable[[View], View]:
        """Document that the answer may also be a stream of events. The view itself looks whether they are wanted."""
        headers = super().arguments(EventHeadersSchema, location="headers")
        stream = self.alt_response(200, content_type=EVENTS, schema={"type": "string"}, example=example, success=True)

        def decorator(view: View) -> View:
            return cast(View, _documented(view, stream(headers(view))))

        return decorator

    def answers(
        self,
        status: int,
        schema: type[Schema],
        *,
        example: Any,
        errors: tuple[int, ...] = (),
        needs_database: bool = True,
        **options: Any,
    ) -> Callable[[View], View]:
        """Document the view's answers: its success with an example, and each of its errors.

        `needs_database`: it may also answer 503.
        """
        document = self.response(status, schema, example=example, **options)

        def decorator(view: View) -> View:
            documented = document(view)
            for code in sorted({401, 422, 500, *errors} | ({503} if needs_database else set())):
                documented = self.alt_response(code, schema=FailureSchema, **examples.ERRORS[code])(documented)
            operation = {"operationId": view.__name__}
            return cast(View, _documented(view, self.doc(**operation)(documented)))

        return decorator

    def also_answers(self, status: int, schema: type[Schema], **options: Any) -> Callable[[View], View]:
        """Document another answer of the view. Stands below answers()."""
        document = self.alt_response(status, schema=schema, **options)

        def decorator(view: View) -> View:
            return cast(View, _documented(view, document(view)))

        return decorator


def _documented(view: Callable[..., Any], decorated: Callable[..., Any]) -> Any:
    """The view with the documentation that flask-smorest's decorator adds, but without its wrapper."""
    view._apidoc = decorated._apidoc  # type: ignore[attr-defined]
    return view


def _check() -> None:
    """Look at what no view looks at. A preflight is not checked: it has the address of the request that follows, but
    stands for all methods (the Fetch standard, section 4.8).
    """
    if request.method != "OPTIONS":
        _refuse_path()
        _refuse_query()
        _refuse_if_match()


def _refuse_path() -> None:
    """Reject a task_id that is no UUID."""
    if request.view_args and isinstance(request.view_args.get("task_id"), str):
        raise _refusal(f"task_id: {Identifier.default_error_messages['invalid_uuid']}")


def _refuse_query() -> None:
    """Reject unknown query parameters instead of ignoring them. A view without parameters rejects all."""
    if request.query_string and not _marked("_takes_query"):
        names = "; ".join(f"{name[:LONGEST_NAME]}: {UNKNOWN}" for name in list(request.args)[:MAX_ERRORS])
        raise _refusal(names or f"query: {UNKNOWN}")


def _refuse_if_match() -> None:
    if not _marked(TAKES_IF_MATCH):
        conditions.refuse_if_match(request.environ)


def _refusal(sentence: str) -> UnprocessableEntity:
    """The 422; but first of all, a body must be JSON. Raises BadRequest if it is not."""
    if schema := _marked("_takes_json"):
        parsing.json_body(schema)
    return UnprocessableEntity(sentence)


def _marked(name: str) -> Any:
    """What the current view is marked with by this name; None: nothing."""
    return getattr(current_app.view_functions[request.endpoint or ""], name, None)
