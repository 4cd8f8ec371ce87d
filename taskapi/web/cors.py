"""CORS: which other origins' pages may call the API, with credentials (the Fetch standard, section 3.2)."""

import re

from flask import Flask, Response, request
from flask_cors.core import get_cors_options, set_cors_headers

from taskapi.settings import Settings

EXPOSED = ["Location", "Retry-After", "X-Request-Id", "Idempotency-Replayed"]
ALLOWED = ["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PREFLIGHT_SECONDS = 600


def init_cors(app: Flask, settings: Settings) -> None:
    """Tell browsers about the origins of CORS_ORIGINS. Only the very same text is one of them."""
    options = {
        origin: get_cors_options(
            app,
            {
                # As text, flask-cors would ignore its case, and take the brackets of an IPv6 address for a pattern.
                "origins": re.compile(re.escape(origin) + r"\Z"),
                "supports_credentials": True,
                "allow_headers": ALLOWED,
                "expose_headers": EXPOSED,
                "methods": METHODS,
                "max_age": PREFLIGHT_SECONDS,
            },
        )
        for origin in settings.cors_origins
    }

    @app.after_request
    def add_cors_headers(response: Response) -> Response:
        # Only a browser on another page sends an Origin: flask_cors.CORS would work for everybody else, too.
        allowed = options.get(request.environ.get("HTTP_ORIGIN", ""))
        return set_cors_headers(response, allowed) if allowed else response
