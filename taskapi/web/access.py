"""Access to the REST API: requests need a host name of TRUSTED_HOSTS and, under /api/v1, one of API_TOKENS."""

from flask import Flask, Response, request

from taskapi.access import CHALLENGE, UNAUTHORIZED, HostNames, Tokens
from taskapi.settings import Settings
from taskapi.web.envelope import failure

PROBES = ("/api/v1/health", "/api/v1/health/ready")
"""The paths for monitors, which have no token. Many of them send an IP address as Host."""

ACTOR = "taskapi.actor"
"""Key in the WSGI environment: the name of the request's token. Missing if the service asks for none."""


def init_access(app: Flask, settings: Settings) -> None:
    """Check the host name and the token of each request, if the settings name any."""
    names, tokens = HostNames(settings.trusted_hosts), Tokens(settings.api_tokens)

    def check_host() -> Response | None:
        if request.path in PROBES or names.trusts(request.headers.get("Host", "")):
            return None
        return failure(400, "Host: the service does not answer to this name; TRUSTED_HOSTS has those that it does.")

    def check_token() -> Response | None:
        # A browser's preflight never carries a token, and its answer reveals nothing secret.
        if not needs_token(request.path) or request.method == "OPTIONS":
            return None
        caller = tokens.caller(request.headers.get("Authorization", ""))
        if caller is None:
            return failure(401, UNAUTHORIZED, CHALLENGE)
        request.environ[ACTOR] = caller.name
        return None

    if settings.trusted_hosts:
        app.before_request(check_host)
    if settings.api_tokens:
        app.before_request(check_token)


def needs_token(path: str) -> bool:
    """Whether requests for the path need a token, if the service has tokens."""
    return path.startswith("/api/v1") and path not in PROBES
