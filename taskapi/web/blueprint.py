"""A flask-smorest Blueprint that parses strictly, documents every error, and adds no work to a request."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import flask_smorest
from flask import current_app, request
from marshmallow import Schema
from werkzeug.exceptions import UnprocessableEntity

from taskapi.repository import Repository
from taskapi.schemas.answers import FailureSchema
from taskapi.schemas.fields import LONGEST_NAME, MAX_ERRORS, UNKNOWN
from taskapi.schemas.headers import IdempotencyKeySchema
from taskapi.web import body, conditions, examples, parsing

View = TypeVar("View", bound=Callable[..., Any])

READERS: dict[str, Callable[[Any], Any]] = {"json": parsing.body, "query": parsing.query}


class Blueprint(flask_smorest.Blueprint):
    """Views that get validated arguments and return a complete Response."""

    def __init__(self, name: str, import_name: str, **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self.before_request(body.receive)
        self.before_request(_refuse_query)

    @property
    def repository(self) -> Repository:
        """The repository of the current application."""
        return cast(Repository, current_app.extensions["taskapi"])

    def arguments(self, schema: Schema, *, location: str = "json", **options: Any) -> Callable[[View], View]:
        """Pass what `schema` loads from the `location` (json, query) to the view, and document it."""
        read = READERS[location]
        document = super().arguments(schema, location=location, **options)

        def decorator(view: View) -> View:
            @wraps(view)
            def wrapper(*arguments: Any, **parameters: Any) -> Any:
                return view(*arguments, read(schema), **parameters)

            # Read by _refuse_query() below and by taskapi.web.body.
            setattr(wrapper, f"_takes_{location}", True)
            return cast(View, _documented(wrapper, document(view)))

        return decorator

    def idempotent(self, view: View) -> View:
        """Pass the Idempotency-Key (None without one) to the view as `key`, and document it."""

        @wraps(view)
        def wrapper(*arguments: Any, **parameters: Any) -> Any:
            return view(*arguments, key=parsing.idempotency_key(), **parameters)

        return cast(View, _documented(wrapper, super().arguments(IdempotencyKeySchema, location="headers")(view)))

    def conditional(self, view: View) -> View:
        """Check If-Match and If-None-Match last, right before the view, and document the 412."""

        @wraps(view)
        def wrapper(*arguments: Any, **parameters: Any) -> Any:
            conditions.check(self.repository, parameters.get("task_id"))
            return view(*arguments, **parameters)

        document = self.alt_response(412, schema=FailureSchema, **examples.ERRORS[412])
        return cast(View, _documented(wrapper, document(view)))

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


def _documented(view: Callable[..., Any], decorated: Callable[..., Any]) -> Any:
    """The view with the documentation that flask-smorest's decorator adds, but without its wrapper."""
    view._apidoc = decorated._apidoc  # type: ignore[attr-defined]
    return view


def _refuse_query() -> None:
    """Reject unknown query parameters instead of ignoring them. A view without parameters rejects all."""
    if request.query_string and not getattr(current_app.view_functions[request.endpoint or ""], "_takes_query", False):
        names = "; ".join(f"{name[:LONGEST_NAME]}: {UNKNOWN}" for name in list(request.args)[:MAX_ERRORS])
        raise UnprocessableEntity(names or f"query: {UNKNOWN}")
