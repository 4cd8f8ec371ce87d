"""CORS, and the headers that tell browsers and caches how to treat an answer."""

from flask import Flask, Response, current_app, request
from flask_cors import CORS

from taskapi.settings import Settings
from taskapi.web.envelope import success

EXPOSED = ["Location", "Retry-After", "X-Request-Id", "Idempotency-Replayed"]
ALLOWED = ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"]
PREFLIGHT_SECONDS = 600

API_POLICY = "default-src 'none'; frame-ancestors 'none'"


def init_headers(app: Flask, settings: Settings) -> None:
    """Set the headers of every answer, and answer OPTIONS in the envelope."""
    CORS(
        app,
        origins=list(settings.cors_origins),
        supports_credentials=True,
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        max_age=PREFLIGHT_SECONDS,
    )
    app.after_request(_secure)
    app.make_default_options_response = _options  # type: ignore[method-assign]


def _secure(response: Response) -> Response:
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    if "Content-Security-Policy" not in headers:
        headers["Content-Security-Policy"] = API_POLICY
    if request.path.startswith("/api/v1"):
        headers["Cache-Control"] = "no-store"
    return response


def _options() -> Response:
    methods = sorted(current_app.create_url_adapter(request).allowed_methods())  # type: ignore[union-attr]
    return success(b"null", headers={"Allow": ", ".join(methods)})
