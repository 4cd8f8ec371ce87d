"""The OpenAPI document, made once at the start, and the ReDoc page that shows it."""

from pathlib import Path
from typing import Any
from uuid import UUID

import flask
import flask_smorest
import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, PreconditionFailed, UnprocessableEntity
from werkzeug.routing import BaseConverter

from taskapi import __version__
from taskapi.blueprints import BLUEPRINTS
from taskapi.schemas import ErrorSchema, Identifier
from taskapi.settings import Settings
from taskapi.web.access import OPEN_PATHS
from taskapi.web.errors import http_failure
from taskapi.web.parsing import EMPTY_IS_ABSENT

DOCS_FOLDER = Path(__file__).parent / "docs"

DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src blob:; connect-src 'self'; style-src 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What ReDoc needs: its own script, a search worker made from a blob, and inline styles."""

REVALIDATED = {"Cache-Control": "no-cache"}
"""For what may be kept, and asked for again each time, as Flask says it of the files."""

DESCRIPTION = """\
Tasks, their complete history, and the figures of the week.

Every answer has the same four keys:

| key | success | failure |
|---|---|---|
| `success` | `true` | `false` |
| `data` | an object, an array or null | null |
| `popup` | the SweetAlert2 code of a write, null for a read | null |
| `error` | null | one sentence; for invalid input `field: message`, joined by `; ` |

Times are RFC 3339 in UTC with microseconds. Unknown fields and parameters are refused, wrong types never converted.

**Safe retries.** A write may carry an `Idempotency-Key`. Sent again with the same key, the same request writes nothing,
and is answered as it was the first time.
"""


class TaskIdConverter(BaseConverter):
    """A task's id in a path. What is no UUID is answered with 422, where Werkzeug's own converter would say 404."""

    def to_python(self, value: str) -> UUID:
        """Raises UnprocessableEntity for what is no UUID."""
        if not Identifier.matches(value):
            raise UnprocessableEntity(f"id: {Identifier.default_error_messages['invalid_uuid']}")
        return UUID(value)


class Api(flask_smorest.Api):
    """flask-smorest's Api, with our answers to errors."""

    ERROR_SCHEMA = ErrorSchema
    # Each operation lists its own errors.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Response:
        """The envelope: flask-smorest's own handler would drop headers such as Allow."""
        return http_failure(error)


def init_api(app: Flask, settings: Settings) -> None:
    """Register the blueprints, /api/openapi.json and /api/docs."""
    app.config.update(API_TITLE="taskapi", API_VERSION=__version__, OPENAPI_VERSION="3.1.0")
    app.url_map.converters["task_id"] = TaskIdConverter
    # A redirect to the path without its doubled or last slash would be built from the Host header.
    app.url_map.merge_slashes = False
    api = Api(
        app, spec_kwargs={"info": {"description": DESCRIPTION}, "servers": [{"url": settings.script_name or "/"}]}
    )
    api.register_converter(TaskIdConverter, lambda _: {"type": "string", "format": "uuid"})
    for blueprint in BLUEPRINTS:
        api.register_blueprint(blueprint)
    app.register_blueprint(_docs(_spec(api)))


def _spec(api: Api) -> bytes:
    api.spec.components.security_scheme(
        "bearer", {"type": "http", "scheme": "bearer", "description": "Only where the service has API_TOKENS."}
    )
    spec: dict[str, Any] = api.spec.to_dict()
    # marshmallow has no word for "at least one of them", nor for a parameter without a value.
    spec["components"]["schemas"]["TaskUpdate"]["minProperties"] = 1
    for parameter in spec["paths"]["/api/v1/history"]["get"]["parameters"]:
        if parameter["name"] in EMPTY_IS_ABSENT:
            parameter["allowEmptyValue"] = True
    for path, operations in spec["paths"].items():
        for name in operations.keys() & {"get", "post", "put", "patch", "delete"}:
            operations[name]["security"] = [{}] if path in OPEN_PATHS else [{}, {"bearer": []}]
            if path in OPEN_PATHS:
                del operations[name]["responses"]["401"]
    return orjson.dumps(spec)


def _docs(spec: bytes) -> flask.Blueprint:
    docs = flask.Blueprint("docs", __name__, static_folder=DOCS_FOLDER, static_url_path="/api/docs")

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
        # Only the path, so that the Host header has no part in it.
        return Response(status=302, headers={"Location": f"{flask.request.script_root}/api/docs", **REVALIDATED})

    return docs
