"""Who may ask, whatever the protocol: the checks of host names and bearer tokens (RFC 6750), and the words of a 401."""

import hmac

from taskapi.addresses import host_name

UNAUTHORIZED = "Send a valid token in the header: Authorization: Bearer …"
"""What a 401 says."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="taskapi"'}
"""The header that a 401 has."""


class HostNames:
    """The names of TRUSTED_HOSTS, so that no page gets here by a name of its own."""

    def __init__(self, trusted: tuple[str, ...]) -> None:
        """`trusted`: names in the form of host_name(); with a dot before it, also all names that end with it."""
        self._names = {name.removeprefix(".") for name in trusted}
        self._suffixes = tuple(name for name in trusted if name.startswith("."))

    def trusts(self, host: str) -> bool:
        """Whether a Host header's value is one of the names, whatever its case, its port, or a dot at its end."""
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
        """Whether an Authorization header's value carries one. Takes the same time wherever a wrong one differs."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("latin-1", "replace")
        # All are compared, so that the time does not tell which one was near.
        matches = [hmac.compare_digest(given, right) for right in self._tokens]
        return scheme.lower() == "bearer" and any(matches)
