"""Access for REST and MCP: checks of host names and bearer tokens (RFC 6750), and the text of a 401."""

import hmac

from taskapi.addresses import host_name

UNAUTHORIZED = "Send a valid token in the header: Authorization: Bearer …"
"""The message of a 401."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="taskapi"'}
"""The header of a 401."""


class HostNames:
    """The names of TRUSTED_HOSTS. They keep out web pages that point their own host name at this service."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        """`trusted`: names as host_name() returns them. A leading dot also allows all subdomains."""
        self._names = {name.removeprefix(".") for name in trusted}
        self._suffixes = tuple(name for name in trusted if name.startswith("."))

    def trusts(self, host: str) -> bool:
        """Whether a Host header names a trusted host. Case, port and a final dot do not matter."""
        try:
            name = host_name(host)
        except ValueError:
            return False
        return name in self._names or name.endswith(self._suffixes)


class Tokens:
    """The tokens of API_TOKENS."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = [token.encode() for token in tokens]

    def accepts(self, authorization: str) -> bool:
        """Whether an Authorization header has a valid token, in constant time."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1", "replace")
        # Compare with every token, so that the time does not reveal which one is close.
        matches = [hmac.compare_digest(given, right) for right in self._tokens]
        return scheme.lower() == "bearer" and any(matches)
