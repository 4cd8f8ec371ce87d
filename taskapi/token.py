"""Prints a JWT for development, signed with JWT_SECRET: `python -m taskapi.token SUB`, or `make token SUB=…`."""

import argparse
import sys
import time

import jwt

from taskapi.callers import OWNER, OWNER_RULE, owner_name
from taskapi.errors import ConfigurationError
from taskapi.jwt_keys import secret_key
from taskapi.logs import take_over_prints
from taskapi.settings import Settings

LIFETIME = 12 * 3600
"""Seconds."""


def make_token(settings: Settings, sub: str, lifetime: int = LIFETIME) -> str:
    """A token that this service takes: of this `sub`, who is also the owner, for so many seconds.

    Raises ConfigurationError, with what to do, if nobody can be called so, or the service takes no tokens of a secret.
    """
    try:
        if owner_name(sub) == OWNER:
            raise ValueError
    except ValueError:
        raise ConfigurationError(f"SUB must be {OWNER_RULE}, and not {OWNER}.") from None
    if not settings.jwt_secret:
        raise ConfigurationError(
            "JWT_SECRET is not set. Put a line into the file .env, such as JWT_SECRET= and what `openssl rand -hex 32`"
            " prints, and start the service again. Where keys come from JWT_PUBLIC_KEY or JWT_JWKS_URL, only their"
            " owner makes tokens."
        )
    now = int(time.time())
    claims: dict[str, object] = {"sub": sub, settings.jwt_owner_claim: sub, "iat": now, "exp": now + lifetime}
    if settings.jwt_audience:
        claims["aud"] = settings.jwt_audience[0]
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    key = secret_key(settings.jwt_secret)
    return jwt.encode(claims, key.material, key.algorithms[0])


def main() -> int:
    """Print the token, or why there is none. Return the exit code."""
    parser = argparse.ArgumentParser("python -m taskapi.token", description=__doc__)
    parser.add_argument("sub", metavar="SUB", help="whose token it is, such as ann")
    sub = parser.parse_args().sub
    try:
        print(make_token(Settings.from_environment(), sub))
    except ConfigurationError as error:
        print(f"taskapi: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    take_over_prints()
    sys.exit(main())
