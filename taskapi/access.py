"""Access for REST and MCP: checks of host names and bearer tokens (RFC 6750), and the text of a 401."""

import hmac
import re
from dataclasses import dataclass

from taskapi.addresses import host_name

UNAUTHORIZED = "Send a valid token in the header: Authorization: Bearer …"
"""The message of a 401."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="taskapi"'}
"""The header of a 401."""


NAME = re.compile(r"[A-Za-z0-9._-]+")
"""The name of a token."""


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


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the name of its token, or None for a token without a name."""

    name: str | None


class Tokens:
    """The tokens of API_TOKENS. What stands before the first colon is the token's name, unless it cannot be one; what
    comes after it is the secret. Several secrets may have one name."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        """`tokens`: each is `secret`, or `name:secret`."""
        self._callers: list[tuple[bytes, Caller]] = []
        for token in tokens:
            name, colon, secret = token.partition(":")
            if colon and secret and NAME.fullmatch(name):
                # Also as a whole, since it was one secret once.
                self._callers += [(secret.encode(), Caller(name)), (token.encode(), Caller(name))]
            else:
                self._callers.append((token.encode(), Caller(None)))

    def caller(self, authorization: str) -> Caller | None:
        """Who sends an Authorization header, in constant time; None if it has no valid token."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1", "replace")
        # Compare with every token, so that the time does not reveal which one is close.
        matches = [caller for secret, caller in self._callers if hmac.compare_digest(given, secret)]
        return matches[0] if matches and scheme.lower() == "bearer" else None
