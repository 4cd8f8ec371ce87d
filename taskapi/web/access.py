"""Who may ask: clients that know a host name of TRUSTED_HOSTS, and under /api/v1 a bearer token (RFC 6750)."""

import hmac

from flask import Flask, Response, request

from taskapi.addresses import host_name
from taskapi.settings import Settings
from taskapi.web.envelope import failure

OPEN_PATHS = frozenset({"/api/v1/health", "/api/v1/health/ready"})
"""What probes ask: they have no token, and many send an address as Host."""


def init_access(app: Flask, settings: Settings) -> None:
    """Check the host name and the token of each request, where the settings have any."""
    if settings.trusted_hosts:
        app.before_request(Names(settings.trusted_hosts))
    if settings.api_tokens:
        app.before_request(Gate(settings.api_tokens))


class Names:
    """Lets requests to one of our host names through, so that no page gets here by a name of its own."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._names = {name.removeprefix(".") for name in trusted}
        self._suffixes = tuple(name for name in trusted if name.startswith("."))

    def __call__(self) -> Response | None:
        """None to go on, else the 400."""
        if request.path in OPEN_PATHS or self.trusts(request.headers.get("Host", "")):
            return None
        return failure(400, "Host: the service does not answer to this name; TRUSTED_HOSTS has those that it does.")

    def trusts(self, host: str) -> bool:
        """Whether the header's value is one of the names, whatever its case, its port, or a dot at its end."""
        try:
            name = host_name(host)
        except ValueError:
            return False
        return name in self._names or name.endswith(self._suffixes)


class Gate:
    """Lets requests with a right token through."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = [token.encode() for token in tokens]

    def __call__(self) -> Response | None:
        """None to go on, else the 401."""
        if not request.path.startswith("/api/v1") or request.path in OPEN_PATHS:
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
