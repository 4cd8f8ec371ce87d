"""What happened, for people and programs: a request id, and one log line for each request."""

import logging
import re
import time
import uuid

from flask import Flask, Response, g, request

from taskapi.database import seconds_spent
from taskapi.settings import Settings

log = logging.getLogger("taskapi.request")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def init_observation(app: Flask, settings: Settings) -> None:
    """Register what runs first and last in each request."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started = time.perf_counter()
    seconds_spent.set(0.0)
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    if log.isEnabledFor(logging.INFO):
        duration = time.perf_counter() - g.started
        log.info(
            "%s %s %d",
            request.method,
            request.path,
            response.status_code,
            extra={
                "method": request.method,
                "route": request.url_rule.rule if request.url_rule else None,
                "path": request.path,
                "status": response.status_code,
                "duration_ms": round(duration * 1000, 3),
                "database_ms": round(seconds_spent.get() * 1000, 3),
                "request_id": g.request_id,
            },
        )
    return response
