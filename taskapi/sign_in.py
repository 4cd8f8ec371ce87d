"""Sign-in by JWT (RFC 7519): verifies a token, and tells whose it is and how long it lasts."""

import logging
import time
from collections import OrderedDict
from hashlib import sha256
from typing import Any

import jwt

from taskapi.callers import OWNER, OWNER_RULE, Caller, owner_name
from taskapi.errors import NoAccess
from taskapi.jwt_keys import Keys, OneKey, UnknownKey, public_key, secret_key
from taskapi.key_server import KeyServer
from taskapi.settings import Settings

log = logging.getLogger("taskapi.access")

REMEMBERED = 10_000
"""How many verified tokens are remembered: to verify one takes up to half a millisecond."""

LONGEST = 8190
"""Characters of a token: gunicorn takes no longer header."""

REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "The token has expired: sign in again, and send the new one.",
    jwt.ImmatureSignatureError: "The token is not valid yet: look at the clocks of its issuer and of this service.",
    jwt.InvalidAudienceError: "The token is for another audience (aud) than this service.",
    jwt.InvalidIssuerError: "The token is of another issuer (iss) than this service trusts.",
}
"""What a caller may know who has a token with a good signature. PyJWT looks at the signature first."""


FAULTS: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "its signature is not that of the key",
    jwt.InvalidAlgorithmError: "its algorithm does not go with the key",
    UnknownKey: "no key has its kid",
}
"""What a log says of a token without a good signature."""


class SignIn:
    """Verifies tokens by the JWT settings."""

    def __init__(self, settings: Settings) -> None:
        self._keys = _keys(settings)
        self._claim = settings.jwt_owner_claim
        self._checks: dict[str, Any] = {
            "audience": settings.jwt_audience or None,
            "issuer": settings.jwt_issuer,
            "leeway": settings.jwt_leeway,
            "options": {"require": ["exp", *(["iss"] if settings.jwt_issuer else [])]},
        }
        self._leeway = settings.jwt_leeway
        self._generation = -1
        self._verified: OrderedDict[bytes, Caller] = OrderedDict()

    def verify(self, token: str, *, waits: bool = True) -> Caller:
        """Who has a token: its `sub` (None: it has none), its owner, and when it expires.

        Raises NoAccess, and KeysUnavailable if the key server cannot be asked for the token's key. Without `waits`,
        raises MustWait rather than asking it.
        """
        # Also for a token that is remembered: its key may have been removed.
        self._keys.refresh(waits=waits)
        generation = self._keys.generation
        if self._generation != generation:
            # What a key has signed that is gone counts no longer.
            self._verified, self._generation = OrderedDict(), generation
        # Of before the key is looked for: if that goes meanwhile, what it has signed is not among what counts then.
        verified = self._verified
        name = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = verified.get(name)
        if known is None:
            known = self._read(token, waits)
            if len(verified) >= REMEMBERED:
                verified.popitem(last=False)
            verified[name] = known
        if known.expires <= time.time():
            verified.pop(name, None)
            raise NoAccess(REASONS[jwt.ExpiredSignatureError])
        return known

    def _read(self, token: str, waits: bool) -> Caller:
        if len(token) > LONGEST or not token.isascii():
            raise NoAccess
        try:
            key = self._keys.find(_text(jwt.get_unverified_header(token).get("kid")), waits=waits)
            claims: dict[str, Any] = jwt.decode(token, key.material, key.algorithms, **self._checks)
            sub, owner = claims.get("sub"), self._owner(claims)
            return Caller(None if sub is None else owner_name(sub), owner, float(int(claims["exp"]) + self._leeway))
        except jwt.MissingRequiredClaimError as error:
            raise NoAccess(f"The token has no {error.claim}, which this service needs.") from None
        except (jwt.PyJWTError, UnknownKey) as error:
            if type(error) not in REASONS:
                # Only here: a caller without a good signature learns nothing.
                log.info("a token was refused: %s", FAULTS.get(type(error), "it is no JWT that can be read"))
            raise NoAccess(REASONS.get(type(error))) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            # What a stranger has written may have any form.
            log.info("a token was refused: its header or its claims have another form")
            raise NoAccess from None

    def _owner(self, claims: dict[str, Any]) -> str:
        try:
            owner = owner_name(claims.get(self._claim))
        except ValueError:
            raise NoAccess(f"The token's {self._claim} cannot be an owner: it must be {OWNER_RULE}.") from None
        if owner == OWNER:
            raise NoAccess(f"The token's {self._claim} is {OWNER}, which is the owner of what needs no JWT.")
        return owner


def _text(name: object) -> str | None:
    if not isinstance(name, str | None):
        raise TypeError("a key's name is a text")
    return name


def _keys(settings: Settings) -> Keys:
    if settings.jwt_secret:
        return OneKey(secret_key(settings.jwt_secret))
    if settings.jwt_public_key:
        return OneKey(public_key(settings.jwt_public_key))
    assert settings.jwt_jwks_url
    return KeyServer(settings.jwt_jwks_url)
