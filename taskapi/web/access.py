"""Bearer tokens: with API_TOKENS set, everything under /api/v1 but /health needs one of them (RFC 6750)."""

import hmac
import logging

from flask import Flask, Response, request

from taskapi.settings import Settings
from taskapi.web.envelope import failure

log = logging.getLogger("taskapi.web")

OPEN_PATH = "/api/v1/health"


def init_access(app: Flask, settings: Settings) -> None:
    """Check the token of each request, where tokens are set."""
    if settings.api_tokens:
        app.before_request(Gate(settings.api_tokens))


class Gate:
    """Lets requests with a right token through."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = [token.encode() for token in tokens]

    def __call__(self) -> Response | None:
        """None to go on, else the 401."""
        if not request.path.startswith("/api/v1") or request.path == OPEN_PATH:
            return None
        # A browser's preflight never carries a token, and says nothing that is secret.
        if request.method == "OPTIONS" or self.opens(request.headers.get("Authorization", "")):
            return None
        challenge = {"WWW-Authenticate": 'Bearer realm="taskapi"'}
        return failure(401, "Send a valid token in the header: Authorization: Bearer …", challenge)

    def opens(self, authorization: str) -> bool:
        """Whether the header's value carries a token. Takes the same time wherever a wrong one differs."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1", "replace")
        # All are compared, so that the time does not tell which one was near.
        matches = [hmac.compare_digest(given, right) for right in self._tokens]
        return scheme.lower() == "bearer" and any(matches)
