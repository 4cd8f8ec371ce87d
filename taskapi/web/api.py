"""flask-smorest with our answers to errors, the OpenAPI document, and the ReDoc page that shows it."""

from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

import flask
import flask_smorest
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, PreconditionFailed
from werkzeug.routing import BaseConverter

from taskapi.schemas.answers import FailureSchema
from taskapi.schemas.fields import Identifier
from taskapi.settings import Settings
from taskapi.web import document
from taskapi.web.errors import http_failure

DOCS_FOLDER = Path(__file__).parent / "docs"

DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src blob:; connect-src 'self'; style-src 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What ReDoc needs: its script, a search worker loaded from a blob, and inline styles."""

REVALIDATED = {"Cache-Control": "no-cache"}
"""Caches may keep it, but must revalidate it each time, as Flask says for files."""


class TaskIdConverter(BaseConverter):
    """The task_id in a path. An invalid UUID stays a string, which the blueprint refuses with 422 in its turn; with
    Werkzeug's own converter it would get 404.

    `bulk` is no task_id but a path of its own, which takes only one method.
    """

    regex = "(?!bulk$)[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> UUID | str:
        """The UUID, or the text as it is."""
        return UUID(value) if Identifier.matches(value) else value


class Api(flask_smorest.Api):
    """flask-smorest's Api, with our answers to errors."""

    ERROR_SCHEMA = FailureSchema
    # Each operation lists its own errors.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        """The envelope: flask-smorest's own handler would drop headers such as Allow."""
        return http_failure(error)


def init_api(app: Flask, settings: Settings, blueprints: Iterable[flask_smorest.Blueprint]) -> None:
    """Register the `blueprints`, /api/openapi.json and /api/docs."""
    app.url_map.converters["task_id"] = TaskIdConverter
    # Werkzeug would build the redirect to the path without its doubled or last slash from the Host header.
    app.url_map.merge_slashes = False
    api = Api(app, spec_kwargs=document.configure(app, settings))
    api.register_converter(TaskIdConverter, lambda _: {"type": "string", "format": "uuid"})
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.register_blueprint(_docs(document.render(api)))


def _docs(spec: bytes) -> flask.Blueprint:
    docs = flask.Blueprint("docs", __name__, static_folder=DOCS_FOLDER, static_url_path="/api/docs")

    @docs.before_request
    def whole() -> None:
        # A server may ignore Range (RFC 9110, section 14.2). Werkzeug would evaluate it before the conditions.
        flask.request.environ.pop("HTTP_RANGE", None)

    @docs.get("/api/openapi.json")
    def openapi() -> Response:
        return Response(spec, mimetype="application/json", headers=REVALIDATED)

    @docs.get("/api/docs")
    def redoc() -> Response:
        page = flask.send_from_directory(DOCS_FOLDER, "redoc.html")
        page.headers["Content-Security-Policy"] = DOCS_POLICY
        return page

    @docs.after_request
    def in_the_envelope(response: Response) -> Response:
        # Werkzeug's own answer to a condition that cannot be met is empty.
        return http_failure(PreconditionFailed()) if response.status_code == 412 else response

    @docs.get("/")
    def root() -> Response:
        # Only the path, so that it does not depend on the Host header.
        return Response(status=302, headers={"Location": f"{flask.request.script_root}/api/docs", **REVALIDATED})

    return docs
