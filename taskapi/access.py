"""Access for REST and MCP: checks of host names, of bearer tokens (RFC 6750) and of JWTs; who a caller is."""

import hmac
import re
from typing import Protocol

from taskapi.addresses import host_name
from taskapi.callers import ANYBODY, Caller
from taskapi.errors import NoAccess
from taskapi.settings import Settings

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


class Verifier(Protocol):
    """What is needed of a sign-in: see taskapi.sign_in."""

    def verify(self, token: str, *, waits: bool = True) -> Caller: ...


class Access:
    """Who may use the service, by API_TOKENS and the JWT settings."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = Tokens(settings.api_tokens) if settings.api_tokens else None
        self._jwts: Verifier | None = None
        if settings.takes_jwts:
            # PyJWT and what it needs take a tenth of a second and 10 MB.
            from taskapi.sign_in import SignIn

            self._jwts = SignIn(settings)
        self.is_open = not (settings.api_tokens or settings.takes_jwts)
        """Whether everybody may use it."""

    def caller(self, authorization: str, *, waits: bool = True) -> Caller:
        """Who sends an Authorization header.

        Raises NoAccess, and KeysUnavailable if the token's key cannot be had. Without `waits`, raises MustWait rather
        than waiting for it.
        """
        if self.is_open:
            return ANYBODY
        caller = self._tokens.caller(authorization) if self._tokens else None
        if caller is None:
            scheme, _, token = authorization.partition(" ")
            if not self._jwts or scheme.lower() != "bearer":
                raise NoAccess
            caller = self._jwts.verify(token.strip(), waits=waits)
        return caller


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
