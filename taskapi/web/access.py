"""Access to the REST API: requests need a host name of TRUSTED_HOSTS and, under /api/v1, a valid token."""

from typing import cast

from flask import Flask, Response, request

from taskapi.access import CHALLENGE, Access, HostNames
from taskapi.callers import ANYBODY, Caller
from taskapi.errors import KeysUnavailable, NoAccess
from taskapi.settings import Settings
from taskapi.web.envelope import failure

PROBES = ("/api/v1/health", "/api/v1/health/ready")
"""The paths for monitors, which have no token. Many of them send an IP address as Host."""

TAKES_JWTS = "TASKAPI_TAKES_JWTS"
"""Key in the application's configuration: whether callers may sign in with a JWT."""

CALLER = "taskapi.caller"
"""Key in the WSGI environment: the Caller of a request under /api/v1."""


def init_access(app: Flask, settings: Settings) -> None:
    """Check the host name and the token of each request, if the settings name any."""
    app.config[TAKES_JWTS] = settings.takes_jwts
    names, access = HostNames(settings.trusted_hosts), Access(settings)

    def check_host() -> Response | None:
        if request.path in PROBES or names.trusts(request.headers.get("Host", "")):
            return None
        return failure(400, "Host: the service does not answer to this name; TRUSTED_HOSTS has those that it does.")

    def let_in() -> None:
        request.environ[CALLER] = ANYBODY

    def check_token() -> Response | None:
        # Once: each look at Flask's request takes longer than one into its environment.
        environ = request.environ
        # A browser's preflight never carries a token, and its answer reveals nothing secret.
        if not needs_token(request.path) or environ["REQUEST_METHOD"] == "OPTIONS":
            return None
        try:
            environ[CALLER] = access.caller(environ.get("HTTP_AUTHORIZATION", ""))
        except NoAccess as error:
            return failure(401, str(error), CHALLENGE)
        except KeysUnavailable as error:
            return failure(503, str(error), {"Retry-After": str(error.retry_after)})
        return None

    if settings.trusted_hosts:
        app.before_request(check_host)
    app.before_request(let_in if access.is_open else check_token)


def caller() -> Caller:
    """Who sends the current request. Raises KeyError where nobody has looked, such as for the probes."""
    return cast(Caller, request.environ[CALLER])


def needs_token(path: str) -> bool:
    """Whether requests for the path need a token, if the service has tokens."""
    return path.startswith("/api/v1") and path not in PROBES
