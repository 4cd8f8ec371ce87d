"""CORS: the origins whose pages may call the API, with credentials (the Fetch standard, section 3.3)."""

from flask import Flask, Response, request
from werkzeug.http import parse_set_header

from taskapi.settings import Settings

EXPOSED = "Location, Retry-After, X-Request-Id, Idempotency-Replayed, ETag, Link, X-Total-Count"
"""Response headers that a page may read."""

ALLOWED = parse_set_header(
    "Authorization, Content-Type, Idempotency-Key, X-Request-Id, If-Match, If-None-Match, Change-Set, Last-Event-ID"
)
"""Request headers that a page may set."""

EVERY_ANSWER = [
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Expose-Headers", EXPOSED),
]

PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE"),
    ("Access-Control-Max-Age", "600"),
]


def init_cors(app: Flask, settings: Settings) -> None:
    """Allow the origins of CORS_ORIGINS. An origin must match exactly."""

    @app.after_request
    def add_cors_headers(response: Response) -> Response:
        # Only a browser on another page sends an Origin.
        origin = request.environ.get("HTTP_ORIGIN")
        if origin in settings.cors_origins:
            response.headers.add("Access-Control-Allow-Origin", origin)
            response.headers.extend(EVERY_ANSWER)
            response.vary.add("Origin")
            if request.method == "OPTIONS":
                asked = request.access_control_request_headers or ()
                allowed = ", ".join(name for name in asked if name in ALLOWED)
                response.headers.extend([*PREFLIGHT, ("Access-Control-Allow-Headers", allowed)])
        return response
