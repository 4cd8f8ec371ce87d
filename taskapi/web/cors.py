"""CORS: which other origins' pages may call the API, with credentials (the Fetch standard, section 3.2)."""

from flask import Flask, Response, request
from flask_cors.core import get_cors_options, set_cors_headers

from taskapi.settings import Settings

EXPOSED = ["Location", "Retry-After", "X-Request-Id", "Idempotency-Replayed"]
ALLOWED = ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PREFLIGHT_SECONDS = 600


def init_cors(app: Flask, settings: Settings) -> None:
    """Tell browsers about the origins of CORS_ORIGINS."""
    options = get_cors_options(
        app,
        {
            "origins": list(settings.cors_origins),
            "supports_credentials": True,
            "allow_headers": ALLOWED,
            "expose_headers": EXPOSED,
            "methods": METHODS,
            "max_age": PREFLIGHT_SECONDS,
        },
    )

    @app.after_request
    def add_cors_headers(response: Response) -> Response:
        # Only a browser on another page sends an Origin: flask_cors.CORS would work for everybody else, too.
        return set_cors_headers(response, options) if "HTTP_ORIGIN" in request.environ else response
