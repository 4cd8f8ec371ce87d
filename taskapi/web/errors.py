"""Turns every exception into an answer: the envelope, a status, and a sentence that says what to do."""

import logging
from functools import partial
from urllib.parse import quote

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, NotFound

from taskapi.errors import (
    ChangeNotFound,
    CursorGone,
    DatabaseUnavailable,
    DeletionChosen,
    IdempotencyKeyReused,
    MomentToCome,
    TaskapiError,
    TaskNotFound,
    TooManyTasks,
    UndoConflict,
    VersionMismatch,
)
from taskapi.web.conditions import tagged
from taskapi.web.envelope import failure

log = logging.getLogger("taskapi.web")

TOO_LARGE = "The body is larger than {} bytes."
DEFECT = "Something went wrong here; please report it with the X-Request-Id of this answer."


STATUSES: dict[int, tuple[type[TaskapiError], ...]] = {
    404: (TaskNotFound, ChangeNotFound),
    409: (UndoConflict,),
    410: (CursorGone,),
    422: (IdempotencyKeyReused, DeletionChosen, MomentToCome, TooManyTasks),
}
"""The status of each refusal of a request that is well formed."""


def init_errors(app: Flask) -> None:
    """Register the handlers, except for HTTPException: the Api has that one, or flask-smorest would add its own."""
    for status, kinds in STATUSES.items():
        for kind in kinds:
            app.register_error_handler(kind, partial(_refused, status))
    app.register_error_handler(VersionMismatch, _mismatch)
    app.register_error_handler(DatabaseUnavailable, _unavailable)
    app.register_error_handler(Exception, _defect)


def http_failure(error: HTTPException) -> Response:
    """The answer to a request that Flask, Werkzeug or our parsers reject. It keeps the headers, such as Allow."""
    if error.code is None or error.code < 400:
        # A redirect, which Werkzeug builds from the Host header.
        return http_failure(NotFound())
    if error.code >= 500:
        return _defect(error)
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return failure(error.code, _sentence(error), headers)


def _sentence(error: HTTPException) -> str:
    if error.description and error.description != type(error).description:
        return error.description
    if error.code == 404:
        path, docs = quote(request.path[:100], errors="replace"), f"{request.script_root}/api/docs"
        return f"There is no path {path}; {docs} lists those that there are."
    if error.code == 405:
        return f"This path does not take {request.method[:20]}; the Allow header names what it takes."
    if error.code == 413:
        return TOO_LARGE.format(current_app.config["MAX_CONTENT_LENGTH"])
    return f"{error.name}."


def _refused(status: int, error: TaskapiError) -> Response:
    return failure(status, str(error))


def _mismatch(error: VersionMismatch) -> Response:
    return failure(412, str(error), None if error.version is None else tagged(error.version))


def _unavailable(error: DatabaseUnavailable) -> Response:
    return failure(503, str(error), {"Retry-After": str(error.retry_after)})


def _defect(error: Exception) -> Response:
    log.error("%s failed (request id %s)", request.endpoint, request.environ["taskapi.request_id"], exc_info=error)
    return failure(500, DEFECT)
